//! Pieces of text in cells: ages, selectors, lists.

use jiff::Timestamp;
use serde_json::Value;

use crate::object;

/// How long ago, as kubectl says it: `45s`, `3m20s`, `5h`, `2d3h`.
pub(crate) fn age(at: &Value, now: Timestamp) -> String {
    match at.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(at) => duration(at.duration_until(now).as_secs()),
        None => "<unknown>".to_owned(),
    }
}

/// A number of seconds in the same words.
pub(super) fn duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let two = |amount: i64, rest: i64, unit: &str, small: &str| {
        if rest == 0 { format!("{amount}{unit}") } else { format!("{amount}{unit}{rest}{small}") }
    };
    match seconds {
        s if s < -1 => "<invalid>".to_owned(),
        s if s < 0 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, s % MINUTE, "m", "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, s / MINUTE % 60, "h", "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, s / HOUR % 24, "d", "h"),
        s if s < 2 * 365 * DAY => format!("{}d", s / DAY),
        s if s < 8 * 365 * DAY => two(s / (365 * DAY), s / DAY % 365, "y", "d"),
        s => format!("{}y", s / (365 * DAY)),
    }
}

/// `app=web,tier in (a,b)`; nothing for an empty selector.
pub(crate) fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for requirement in object::list(selector, &["matchExpressions"]) {
        let key = object::text(requirement, &["key"]);
        let mut values: Vec<&str> = object::list(requirement, &["values"]).iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        parts.push(match object::text(requirement, &["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.sort();
    parts.join(",")
}

/// `<none>` for nothing.
pub(super) fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// Labels as `key=value` pairs, or `<none>`.
pub(super) fn labels(map: &Value) -> String {
    let parts: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or_none(parts.join(","))
}

/// A value as text: numbers bare, strings without quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        for (seconds, text) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (720, "12m"), (4 * 3600, "4h"), (3 * 86_400, "3d")]
        {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(selector_text(&json!({"matchLabels": {"b": "1", "a": "2"}})), "a=2,b=1");
    }
}
