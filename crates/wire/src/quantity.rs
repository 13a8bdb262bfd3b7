//! `resource.Quantity`: reading, comparing and the canonical spelling.

/// What a quantity was written in; it decides how it is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Decimal,
    Exponent,
    Binary,
}

/// A quantity, exact to a billionth.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    form: Form,
}

const NANO: i128 = 1_000_000_000;

impl Quantity {
    /// Reads `500m`, `1.5Gi`, `1e3`. None when it is not a quantity.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 20 {
            return None;
        }
        let (form, base, power) = suffix_of(suffix)?;
        let mut nanos = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? }.checked_mul(NANO)?;
        // Digits behind the ninth are rounded up, as Kubernetes does.
        let digits = fraction.get(..9).unwrap_or(fraction);
        if !digits.is_empty() {
            nanos += digits.parse::<i128>().ok()? * 10i128.pow(9 - u32::try_from(digits.len()).ok()?);
        }
        if fraction.get(9..).is_some_and(|rest| rest.bytes().any(|b| b != b'0')) {
            nanos += 1;
        }
        nanos = if power >= 0 {
            nanos.checked_mul(base.checked_pow(power.unsigned_abs())?)?
        } else {
            let divisor = base.checked_pow(power.unsigned_abs())?;
            nanos.checked_add(divisor - 1)? / divisor
        };
        Some(Self { nanos: if negative { -nanos } else { nanos }, form })
    }

    /// In billionths.
    pub fn nanos(&self) -> i128 {
        self.nanos
    }

    /// Rounded up to a whole number.
    pub fn ceil(&self) -> i128 {
        self.nanos.div_euclid(NANO) + i128::from(self.nanos.rem_euclid(NANO) != 0)
    }

    /// A number of billionths, spelled like `like`.
    pub fn from_nanos(nanos: i128, like: &Quantity) -> Self {
        Self { nanos, form: like.form }
    }

    /// The canonical spelling.
    pub fn canonical(&self) -> String {
        let sign = if self.nanos < 0 { "-" } else { "" };
        let nanos = self.nanos.unsigned_abs();
        let nano = NANO.unsigned_abs();
        if nanos == 0 {
            return "0".to_owned();
        }
        if self.form == Form::Binary && nanos >= 1024 * nano {
            let mut whole = nanos.div_ceil(nano);
            let mut steps = 0;
            while whole.is_multiple_of(1024) && steps < 6 {
                whole /= 1024;
                steps += 1;
            }
            return format!("{sign}{whole}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][steps]);
        }
        let (mut amount, mut power) = (nanos, -9i32);
        while amount.is_multiple_of(1000) && power < 18 {
            amount /= 1000;
            power += 3;
        }
        if self.form == Form::Exponent {
            return if power == 0 { format!("{sign}{amount}") } else { format!("{sign}{amount}e{power}") };
        }
        let suffix = match power {
            -9 => "n",
            -6 => "u",
            -3 => "m",
            0 => "",
            3 => "k",
            6 => "M",
            9 => "G",
            12 => "T",
            15 => "P",
            _ => "E",
        };
        format!("{sign}{amount}{suffix}")
    }
}

fn suffix_of(suffix: &str) -> Option<(Form, i128, i32)> {
    let decimal = |power| Some((Form::Decimal, 10, power));
    let binary = |power| Some((Form::Binary, 1024, power));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-18..=18).contains(&power).then_some((Form::Exponent, 10, power))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spelled_as_kubernetes_does() {
        for (written, canonical) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("100Mi", "100Mi"),
            ("1e3", "1e3"),
            ("128974848", "128974848"),
            ("0", "0"),
            ("2000", "2k"),
            ("512Ki", "512Ki"),
            ("1Ki", "1Ki"),
            ("-5m", "-5m"),
            (".5", "500m"),
            ("1n", "1n"),
            ("10E", "10E"),
            ("0Mi", "0"),
        ] {
            assert_eq!(Quantity::parse(written).unwrap().canonical(), canonical, "{written}");
        }
        for bad in ["", "x", "1x", "1.2.3", "Mi", "1 Gi", "--1", "1e99"] {
            assert!(Quantity::parse(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn canonical_means_the_same(number in 0u32..2_000_000, suffix in "(m|k|M|Ki|Mi|Gi|)") {
            let quantity = Quantity::parse(&format!("{number}{suffix}")).unwrap();
            let again = Quantity::parse(&quantity.canonical()).unwrap();
            prop_assert_eq!(quantity.nanos(), again.nanos());
            prop_assert_eq!(quantity.canonical(), again.canonical());
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,40}") {
            let _ = Quantity::parse(&text);
        }
    }
}
