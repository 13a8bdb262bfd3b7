//! Patches: JSON patch, merge patch, strategic merge patch. Server-side apply has its own module.

use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::registry::Info;
use crate::request::Call;

/// The kinds of patch, by content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Merge,
    Strategic,
    Apply,
}

pub(crate) fn kind(content_type: &str, custom: bool) -> Result<Kind, ApiError> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    match essence {
        "application/json-patch+json" => Ok(Kind::Json),
        "application/merge-patch+json" => Ok(Kind::Merge),
        "application/strategic-merge-patch+json" if !custom => Ok(Kind::Strategic),
        "application/apply-patch+yaml" | "application/apply-patch+cbor" => Ok(Kind::Apply),
        "application/strategic-merge-patch+json" => {
            let why = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            Err(ApiError::new(415, "UnsupportedMediaType", why))
        }
        _ => Err(ApiError::new(415, "UnsupportedMediaType", "415: Unsupported Media Type").with_details(json!({}))),
    }
}

fn rejected() -> ApiError {
    ApiError::new(422, "Invalid", "the server rejected our request due to an error in our request")
        .with_details(json!({}))
}

/// The patch's text as JSON.
pub(crate) fn body(call: &Call) -> Result<wire::json::Parsed, ApiError> {
    wire::json::parse(&call.body).map_err(|error| {
        ApiError::bad_request(format!("error decoding patch: {}", crate::typed::json_error(&call.body, &error)))
    })
}

/// The object with the patch applied.
pub(crate) fn apply(kind: Kind, info: &Info, object: &Value, patch: Value) -> Result<Value, ApiError> {
    match kind {
        Kind::Json => json_patch(object, patch),
        Kind::Merge => {
            if !patch.is_object() {
                return Err(ApiError::bad_request("error decoding patch: Invalid JSON document"));
            }
            let mut patched = object.clone();
            json_patch::merge(&mut patched, &patch);
            Ok(patched)
        }
        Kind::Strategic => crate::strategic::merge(info, object, &patch),
        Kind::Apply => Err(rejected()),
    }
}

/// Whether a path leads to no member of an object that there is.
fn is_missing(object: &Value, path: &str) -> bool {
    let parent = path.rsplit_once('/').and_then(|(parent, _)| object.pointer(parent));
    parent.is_some_and(Value::is_object) && object.pointer(path).is_none()
}

fn json_patch(object: &Value, patch: Value) -> Result<Value, ApiError> {
    if !patch.is_array() {
        let kind = if patch.is_object() { "object" } else { "value" };
        return Err(ApiError::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {kind} into Go value of type []handlers.jsonPatchOp"
        )));
    }
    let Patch(operations) = serde_json::from_value(patch).map_err(|_| rejected())?;
    if operations.len() > 10_000 {
        let message = format!("The allowed maximum operations in a JSON patch is 10000, got {}", operations.len());
        return Err(ApiError::new(413, "RequestEntityTooLarge", message));
    }
    let mut patched = object.clone();
    // As the API server's library does it.
    for operation in operations {
        let operation = match operation {
            // To that library what is not there is null, in an object that is there.
            PatchOperation::Test(test) if test.value.is_null() && is_missing(&patched, test.path.as_str()) => continue,
            // It adds what is to be replaced and is not there.
            PatchOperation::Replace(replace) if patched.pointer(replace.path.as_str()).is_none() => {
                PatchOperation::Add(AddOperation { path: replace.path, value: replace.value })
            }
            other => other,
        };
        json_patch::patch(&mut patched, &[operation]).map_err(|_| rejected())?;
    }
    Ok(patched)
}
