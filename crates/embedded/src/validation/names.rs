//! Names, labels and numbers that many objects have.

use serde_json::{Value, json};

use crate::error::Cause;
use crate::registry::Info;

pub(crate) const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

pub(crate) fn is_label(text: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(ok) && text.ends_with(ok) && text.chars().all(|c| ok(c) || c == '-')
}

pub(crate) fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_qualified_part(text: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(ok) && text.ends_with(ok) && text.chars().all(|c| ok(c) || "-_.".contains(c))
}

/// `metadata.name`, by what the resource allows.
pub(super) fn object_name(info: &Info, name: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut push = |why: &str| causes.push(Cause::invalid("metadata.name", &json!(name), why));
    match info.resource.plural {
        "namespaces" => {
            if name.len() > 63 {
                push("must be no more than 63 bytes");
            }
            if !is_label(name) {
                push(LABEL);
            }
        }
        "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings" => {
            if name == "." || name == ".." || name.contains(['/', '%']) {
                push(if name.contains('%') { "may not contain '%'" } else { "may not contain '/'" });
            }
        }
        _ => {
            if name.len() > 253 {
                push("must be no more than 253 bytes");
            }
            if !is_subdomain(name) {
                push(SUBDOMAIN);
            }
        }
    }
    causes
}

/// Names of containers, volumes and ports.
pub(super) fn label_name(field: &str, name: &Value) -> Vec<Cause> {
    let text = name.as_str().unwrap_or_default();
    if text.is_empty() {
        return vec![Cause::required(field, "")];
    }
    let mut causes = Vec::new();
    if text.len() > 63 {
        causes.push(Cause::invalid(field, name, "must be no more than 63 bytes"));
    }
    if !is_label(text) {
        causes.push(Cause::invalid(field, name, LABEL));
    }
    causes
}

/// The key of a label or an annotation.
pub(crate) fn qualified(field: &str, key: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if prefix.is_some_and(|prefix| !is_subdomain(prefix)) {
        causes.push(Cause::invalid(field, &json!(key), &format!("prefix part {SUBDOMAIN}")));
    }
    if name.is_empty() {
        causes.push(Cause::invalid(field, &json!(key), "name part must be non-empty"));
    } else if name.len() > 63 {
        causes.push(Cause::invalid(field, &json!(key), "name part must be no more than 63 bytes"));
    }
    if !is_qualified_part(name) {
        causes.push(Cause::invalid(field, &json!(key), QUALIFIED));
    }
    causes
}

pub(super) fn labels(field: &str, labels: &Value) -> Vec<Cause> {
    let mut keys = Vec::new();
    let mut values = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        keys.extend(qualified(field, key));
        values.extend(label_value(field, value));
    }
    keys.extend(values);
    keys
}

/// The value of a label.
pub(crate) fn label_value(field: &str, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let text = value.as_str().unwrap_or_default();
    if text.len() > 63 {
        causes.push(Cause::invalid(field, value, "must be no more than 63 bytes"));
    }
    if !text.is_empty() && !is_qualified_part(text) {
        causes.push(Cause::invalid(field, value, LABEL_VALUE));
    }
    causes
}

pub(super) fn annotations(field: &str, annotations: &Value) -> Vec<Cause> {
    let keys = annotations.as_object().into_iter().flat_map(|map| map.keys());
    let mut causes: Vec<Cause> = keys.flat_map(|key| qualified(field, &key.to_lowercase())).collect();
    let size: usize =
        annotations.as_object().into_iter().flatten().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
    if size > 256 * 1024 {
        let message = "Too long: may not be more than 262144 bytes".to_owned();
        causes.push(Cause { reason: "FieldValueTooLong", message, field: field.to_owned() });
    }
    causes
}

pub(super) fn port_number(field: &str, port: &Value) -> Option<Cause> {
    let valid = port.as_i64().is_some_and(|port| (1..=65_535).contains(&port));
    (!valid).then(|| Cause::invalid(field, port, "must be between 1 and 65535, inclusive"))
}

pub(super) fn not_negative(field: &str, value: &Value) -> Option<Cause> {
    let negative = value.as_i64().is_some_and(|number| number < 0);
    negative.then(|| Cause::invalid(field, value, "must be greater than or equal to 0"))
}
