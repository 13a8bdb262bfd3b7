//! Field selectors, by the grammar of apimachinery (`fields.ParseSelector`).

use std::fmt;

use serde_json::Value;

use crate::error::ApiError;
use crate::registry::Info;

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
        for term in terms(text).into_iter().filter(|term| !term.is_empty()) {
            let (path, equal, value) = split(term).ok_or_else(|| {
                ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{term}'"))
            })?;
            let value =
                unescaped(value).map_err(|why| ApiError::bad_request(format!("invalid field selector: {why}")))?;
            if !is_supported(info, path) {
                let why = if is_builtin_message(info) {
                    format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                } else {
                    format!("field label not supported: {path}")
                };
                return Err(ApiError::bad_request(why));
            }
            tests.push((path.to_owned(), equal, value));
        }
        Ok(Self { tests })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.tests.iter().all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

/// The canonical spelling.
impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (path, equal, value)) in self.tests.iter().enumerate() {
            let (comma, operator) = (if index == 0 { "" } else { "," }, if *equal { "=" } else { "!=" });
            let value = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{path}{operator}{value}")?;
        }
        Ok(())
    }
}

/// At the commas that are not escaped.
fn terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Field, whether it must be equal, and value as written: at the first operator.
fn split(term: &str) -> Option<(&str, bool, &str)> {
    term.char_indices().find_map(|(at, _)| {
        let rest = &term[at..];
        [("!=", false), ("==", true), ("=", true)]
            .into_iter()
            .find_map(|(operator, equal)| Some((&term[..at], equal, rest.strip_prefix(operator)?)))
    })
}

fn unescaped(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(format!("invalid escape sequence: \\{c}")),
                None => return Err("invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("unescaped character in value: {c}")),
            c => out.push(c),
        }
    }
    Ok(out)
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
    use crate::registry::Registry;
    use serde_json::json;

    fn parse(text: &str) -> Result<FieldSelector, ApiError> {
        FieldSelector::parse(Registry::default().find("", "v1", "pods").unwrap(), text)
    }

    #[test]
    fn fields_select() {
        let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "x,y=z"}});
        for (text, expected) in [
            ("metadata.name=a", true),
            ("metadata.name==a,status.phase!=Running", true),
            ("status.phase=x\\,y\\=z", true),
            ("metadata.name!=a", false),
            (",metadata.name=a,", true),
            ("", true),
        ] {
            assert_eq!(parse(text).unwrap().matches(&pod), expected, "{text}");
        }
        for text in ["metadata.name", "metadata.name=a=b", "metadata.name=a\\", "metadata.name=\\a", "spec.x=1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_spelling_for_what_means_the_same() {
        let text = parse(",status.phase==x\\,y\\=z\\\\,metadata.name!=").unwrap().to_string();
        assert_eq!(text, "status.phase=x\\,y\\=z\\\\,metadata.name!=");
    }
}
