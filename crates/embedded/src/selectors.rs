//! Label and field selectors.

use serde_json::Value;

use crate::error::ApiError;
use crate::object;
use crate::registry::Info;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

/// A label selector; without requirements it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector {
    tests: Vec<(String, Test)>,
}

impl LabelSelector {
    pub(crate) fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// `app=web,tier in (a,b),!old`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let mut tests = Vec::new();
        for part in split(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let test = parse_requirement(part).ok_or_else(|| ApiError::bad_request(complaint(part)))?;
            tests.push(test);
        }
        Ok(Self { tests })
    }

    /// A `LabelSelector` object.
    pub(crate) fn from_object(selector: &Value) -> Result<Self, ApiError> {
        let mut tests = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            tests.push((key.clone(), Test::In(vec![value.as_str().unwrap_or_default().to_owned()])));
        }
        for requirement in object::list(selector, &["matchExpressions"]) {
            let values = || {
                object::list(requirement, &["values"]).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
            };
            let test = match object::text(requirement, &["operator"]) {
                "In" => Test::In(values()),
                "NotIn" => Test::NotIn(values()),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Absent,
                other => {
                    return Err(ApiError::bad_request(format!("{other:?} is not a valid label selector operator")));
                }
            };
            tests.push((object::text(requirement, &["key"]).to_owned(), test));
        }
        Ok(Self { tests })
    }

    pub(crate) fn matches_labels(&self, labels: &Value) -> bool {
        self.tests.iter().all(|(key, test)| {
            let value = labels.get(key).and_then(Value::as_str);
            match test {
                Test::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
                Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::Greater(bound) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *bound),
                Test::Less(bound) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *bound),
            }
        })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.is_empty() || self.matches_labels(object::at(object, &["metadata", "labels"]))
    }
}

/// What is wrong with a requirement, as the server's parser tells it.
fn complaint(part: &str) -> String {
    if part.contains('(') && !part.contains(')') {
        return "unable to parse requirement: found '', expected: ',' or ')'".to_owned();
    }
    if let Some((_, value)) = part.split_once('=')
        && let Some(at) = value.trim_start_matches('=').find(['=', '!', '<', '>'])
    {
        let found = &value.trim_start_matches('=')[at..=at];
        return format!("found '{found}', expected: ',' or 'end of string'");
    }
    format!("unable to parse requirement: found {part:?}, expected: a label selector")
}

/// At commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_requirement(part: &str) -> Option<(String, Test)> {
    let is_key = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let key = |text: &str| Some(text.trim().to_owned()).filter(|key| is_key(key));
    if let Some(rest) = part.strip_prefix('!') {
        return Some((key(rest)?, Test::Absent));
    }
    if let Some(open) = part.find('(') {
        let values = part[open + 1..].strip_suffix(')')?.split(',').map(|v| v.trim().to_owned()).collect();
        let head = part[..open].trim();
        return match head.strip_suffix("notin") {
            Some(name) => Some((key(name)?, Test::NotIn(values))),
            None => Some((key(head.strip_suffix("in")?)?, Test::In(values))),
        };
    }
    for (operator, negative) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((name, value)) = part.split_once(operator) {
            let value = value.trim();
            let valid = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            let values = vec![value.to_owned()];
            return valid.then_some((key(name)?, if negative { Test::NotIn(values) } else { Test::In(values) }));
        }
    }
    if let Some((name, bound)) = part.split_once('>') {
        return Some((key(name)?, Test::Greater(bound.trim().parse().ok()?)));
    }
    if let Some((name, bound)) = part.split_once('<') {
        return Some((key(name)?, Test::Less(bound.trim().parse().ok()?)));
    }
    Some((key(part)?, Test::Exists))
}

/// A field selector: paths that must have, or must not have, a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector {
    tests: Vec<(String, bool, String)>,
}

impl FieldSelector {
    pub(crate) fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// `status.phase=Running,metadata.name!=x`, of fields that the resource can be selected by.
    pub(crate) fn parse(info: &Info, text: &str) -> Result<Self, ApiError> {
        let mut tests = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (path, true, value)
            } else {
                return Err(ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            if !is_supported(info, path) {
                let why = if is_builtin_message(info) {
                    format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                } else {
                    format!("field label not supported: {path}")
                };
                return Err(ApiError::bad_request(why));
            }
            tests.push((path.to_owned(), equal, value.to_owned()));
        }
        Ok(Self { tests })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.tests.iter().all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

/// Kinds that declare no fields of their own answer with the general message.
fn is_builtin_message(info: &Info) -> bool {
    !matches!(
        (info.resource.group, info.resource.plural),
        ("", "pods" | "nodes" | "events" | "namespaces" | "secrets" | "replicationcontrollers" | "services")
            | ("batch", "jobs")
            | ("apps", "replicasets")
    )
}

fn is_supported(info: &Info, path: &str) -> bool {
    if path == "metadata.name" || path == "metadata.namespace" && info.resource.namespaced {
        return true;
    }
    let fields: &[&str] = match (info.resource.group, info.resource.plural) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("" | "events.k8s.io", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "reportingController",
            "source",
            "type",
            "regarding.kind",
            "regarding.name",
            "regarding.namespace",
            "regarding.uid",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    };
    fields.contains(&path)
}

fn field(object: &Value, path: &str) -> String {
    let path = match path {
        "source" => "source.component",
        "reportingController" => "reportingComponent",
        "status.successful" => "status.succeeded",
        other => other.strip_prefix("regarding.").map_or(other, |_| other),
    };
    let regarding;
    let path = if let Some(rest) = path.strip_prefix("regarding.") {
        regarding = format!("involvedObject.{rest}");
        regarding.as_str()
    } else {
        path
    };
    let value = path.split('.').fold(object, |value, key| value.get(key).unwrap_or(&Value::Null));
    match value {
        Value::String(text) => text.clone(),
        Value::Null if path == "spec.unschedulable" || path == "spec.hostNetwork" => "false".to_owned(),
        Value::Null if path.starts_with("status.replicas") || path == "status.succeeded" => "0".to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors_select() {
        let labels = json!({"app": "web", "tier": "a", "n": "5"});
        for (text, expected) in [
            ("app=web", true),
            ("app==web,tier in (a, b)", true),
            ("app!=web", false),
            ("!gone", true),
            ("gone", false),
            ("tier notin (a)", false),
            ("app", true),
            ("n>4", true),
            ("n<4", false),
            ("", true),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches_labels(&labels), expected, "{text}");
        }
        assert!(LabelSelector::parse("a=b=c").is_err());
        assert!(LabelSelector::parse("a b").is_err());
    }
}
