//! Kubernetes quantities, as far as scheduling and limits need them.

use serde_json::Value;

/// In thousandths, rounded up; `64`, `100m`, `16Mi`, `1e3`, also JSON numbers.
pub(crate) fn milli(value: &Value) -> Option<i128> {
    if let Some(number) = value.as_i64() {
        return Some(i128::from(number) * 1000);
    }
    if let Some(number) = value.as_f64() {
        return Some((number * 1000.0).ceil() as i128);
    }
    let text = value.as_str()?.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor: i128 = match suffix {
        "" => 1000,
        "m" => 1,
        "u" | "n" => 0,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        exponent => {
            let power: u32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10_i128.checked_pow(power)?.checked_mul(1000)?
        }
    };
    match number.split_once('.') {
        None => number.parse::<i128>().ok()?.checked_mul(factor),
        Some((whole, part)) => {
            let part = &part[..part.len().min(12)];
            let scale = 10_i128.pow(part.len() as u32);
            let whole = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? };
            let part = if part.is_empty() { 0 } else { part.parse::<i128>().ok()? };
            whole.checked_mul(factor)?.checked_add((part.checked_mul(factor)? + scale - 1) / scale)
        }
    }
}

/// In whole units, rounded up.
pub(crate) fn whole(value: &Value) -> Option<i128> {
    milli(value).map(|milli| (milli + 999).div_euclid(1000))
}
