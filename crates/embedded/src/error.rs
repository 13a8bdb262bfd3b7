//! Answers that are not what was asked for: `Status` bodies, worded as the API server words them.

use serde_json::{Map, Value, json};
use simulation::Refusal;

use crate::registry::Info;

/// A `Status` of failure.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
    /// `metadata.continue`, of an expired list.
    pub(crate) continuation: Option<String>,
}

impl ApiError {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, continuation: None }
    }

    pub(crate) fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn not_found(info: &Info, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", info.qualified())).with_details(details(info, name))
    }

    /// 404 of a path that is not served.
    pub(crate) fn unknown_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_details(json!({}))
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_details(json!({}))
    }

    pub(crate) fn already_exists(info: &Info, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", info.qualified()))
            .with_details(details(info, name))
    }

    pub(crate) fn conflict(info: &Info, name: &str, why: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {} {name:?}: {why}", info.qualified()))
            .with_details(details(info, name))
    }

    pub(crate) fn modified(info: &Info, name: &str) -> Self {
        Self::conflict(
            info,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub(crate) fn forbidden(info: &Info, name: &str, why: &str) -> Self {
        let subject = if name.is_empty() { info.qualified() } else { format!("{} {name:?}", info.qualified()) };
        Self::new(403, "Forbidden", format!("{subject} is forbidden: {why}")).with_details(details(info, name))
    }

    /// 422 with its causes.
    pub(crate) fn invalid(info: &Info, name: &str, causes: &[Cause]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for text in causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let kind = info.resource.kind;
        let qualified =
            if info.resource.group.is_empty() { kind.to_owned() } else { format!("{kind}.{}", info.resource.group) };
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), json!(name));
        }
        if !info.resource.group.is_empty() {
            details.insert("group".into(), json!(info.resource.group));
        }
        details.insert("kind".into(), json!(kind));
        details.insert("causes".into(), Value::Array(causes.iter().map(Cause::to_json).collect()));
        Self::new(422, "Invalid", format!("{qualified} {name:?} is invalid: {text}"))
            .with_details(Value::Object(details))
    }

    pub(crate) fn to_json(&self) -> Value {
        let metadata = self.continuation.as_ref().map_or(json!({}), |token| json!({"continue": token}));
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Refusal { code: error.code, reason: error.reason.to_owned(), message: error.message }
    }
}

/// `details` of a Status about one object.
pub(crate) fn details(info: &Info, name: &str) -> Value {
    let mut details = Map::new();
    if !name.is_empty() {
        details.insert("name".into(), json!(name));
    }
    if !info.resource.group.is_empty() {
        details.insert("group".into(), json!(info.resource.group));
    }
    details.insert("kind".into(), json!(info.resource.plural));
    Value::Object(details)
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Cause {
    pub(crate) fn required(field: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self { reason: "FieldValueRequired", message, field: field.into() }
    }

    /// `value` as Go prints it with `%#v` of a JSON-like value: strings quoted, numbers bare.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self { reason: "FieldValueInvalid", message, field: field.into() }
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: "FieldValueDuplicate", message: format!("Duplicate value: {value}"), field: field.into() }
    }

    pub(crate) fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: "FieldValueNotFound", message: format!("Not found: {value}"), field: field.into() }
    }

    pub(crate) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {why}"), field: field.into() }
    }

    pub(crate) fn unsupported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", list.join(", "));
        Self { reason: "FieldValueNotSupported", message, field: field.into() }
    }

    fn to_json(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}
