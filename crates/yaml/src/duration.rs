//! Durations as people write them: `30s`, `1m30s`, `500ms`, `2h`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads `30s`, `1m30s`, `1.5h`, `500ms`.
///
/// # Errors
/// What is wrong with it and what would be right, one sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const EXAMPLE: &str = "write a number with a unit, as in `30s`, `1m30s`, `500ms` or `2h`";
    if text.is_empty() {
        return Err(format!("a duration must not be empty; {EXAMPLE}"));
    }
    let (mut rest, mut total) = (text, 0f64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let bad = || format!("`{text}` is not a duration; {EXAMPLE}");
        let number: f64 = number.parse().map_err(|_| bad())?;
        if unit.is_empty() {
            return Err(format!("`{text}` has no unit; write `{text}s` for seconds"));
        }
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        #[allow(clippy::cast_precision_loss, reason = "units are far below 2^53")]
        let millis = *millis as f64;
        total += number * millis;
        rest = next;
    }
    if !total.is_finite() || total > 1e13 {
        return Err(format!("`{text}` is too long for a duration"));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
    Ok(Duration::from_millis(total.round() as u64))
}

/// The shortest way to write a duration, to the millisecond; [`parse_duration`] reads it back.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS.iter().rev().skip(1) {
        if rest >= *millis {
            text.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in
            [("30s", 30_000), ("1m30s", 90_000), ("500ms", 500), ("2h", 7_200_000), ("1.5h", 5_400_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, part) in [
            ("", "empty"),
            ("30", "`30s`"),
            ("s", "not a duration"),
            ("10 m", "no unit"),
            ("-1s", "not a"),
            ("1x", "not a"),
            ("1e9h", "not a"),
            ("99999999999h", "too long"),
        ] {
            let error = parse_duration(text).expect_err("an error");
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0u64..10_000_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in "\\PC{0,12}") {
            let _ = parse_duration(&text);
        }
    }
}
