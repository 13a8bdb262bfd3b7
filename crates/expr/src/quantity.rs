//! Kubernetes quantities: `40Mi`, `100m`, `1.5`, `2e3` (apimachinery, `resource.Quantity`).

use cel::{ExecutionError, Value};

const SUFFIXES: &[(&str, f64)] = &[
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// The number that a quantity stands for; none when it is not a quantity.
pub fn parse_quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    if !number.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    if suffix.is_empty() {
        return Some(number);
    }
    if let Some((_, factor)) = SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Some(number * factor);
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some(number * 10f64.powi(exponent)).filter(|value| value.is_finite())
}

/// `quantity("1Gi")`; numbers are quantities too.
pub(crate) fn function(value: Value) -> Result<Value, ExecutionError> {
    let fail = |message: String| Err(ExecutionError::function_error("quantity", message));
    match &value {
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => {
            #[allow(clippy::cast_precision_loss, reason = "quantities of more than 2^53 need no exactness")]
            let number = match value {
                Value::Int(int) => int as f64,
                Value::UInt(uint) => uint as f64,
                Value::Float(float) => float,
                _ => 0.0,
            };
            Ok(Value::Float(number))
        }
        Value::String(text) => match parse_quantity(text) {
            Some(number) => Ok(Value::Float(number)),
            None => fail(format!(
                "`{}` is not a quantity such as `40Mi` or `100m`",
                text.chars().take(40).collect::<String>()
            )),
        },
        other => fail(format!("a quantity is text or a number, not {}", crate::evaluate::kind(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_quantity;

    #[test]
    fn quantities_as_kubernetes_reads_them() {
        for (text, value) in [
            ("1Gi", 1_073_741_824.0),
            ("100m", 0.1),
            ("2", 2.0),
            ("1.5k", 1500.0),
            ("2e3", 2000.0),
            ("1E", 1e18),
            ("-5", -5.0),
            (".5", 0.5),
        ] {
            assert_eq!(parse_quantity(text), Some(value), "{text}");
        }
        for text in ["", "Mi", "1GB", "1 Gi", "x", "--1", "1e", "1e999", "+", "NaN", "inf"] {
            assert_eq!(parse_quantity(text), None, "{text}");
        }
    }
}
