//! Label selectors.

use serde_json::Value;

use crate::fields::{entries, items, text};

/// Whether a `LabelSelector` (matchLabels, matchExpressions) matches. An empty one matches everything.
pub(crate) fn matches(selector: &Value, labels: Option<&Value>) -> bool {
    let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
    entries(selector, "/matchLabels").all(|(key, value)| label(key) == value.as_str())
        && items(selector, "/matchExpressions").iter().all(|e| expression(e, label(text(e, "/key"))))
}

/// Whether a plain map (a Service's selector) matches.
pub(crate) fn map_matches(selector: &Value, labels: Option<&Value>) -> bool {
    selector.as_object().is_some_and(|map| {
        map.iter().all(|(key, value)| labels.and_then(|l| l.get(key)).and_then(Value::as_str) == value.as_str())
    })
}

/// One requirement, of pod selectors and node selectors alike.
pub(crate) fn expression(requirement: &Value, value: Option<&str>) -> bool {
    let among = || items(requirement, "/values").iter().any(|v| v.as_str() == value);
    let compared = |wanted: fn(i64, i64) -> bool| {
        let bound = items(requirement, "/values").first().and_then(Value::as_str).and_then(|v| v.parse().ok());
        matches!((value.and_then(|v| v.parse().ok()), bound), (Some(a), Some(b)) if wanted(a, b))
    };
    match text(requirement, "/operator") {
        "In" => value.is_some() && among(),
        "NotIn" => value.is_none() || !among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(|a, b| a > b),
        "Lt" => compared(|a, b| a < b),
        _ => false,
    }
}
