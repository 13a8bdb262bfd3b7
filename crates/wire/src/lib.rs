//! Kubernetes bodies: JSON, YAML and protobuf to one form, [`serde_json::Value`], and what the forms of the known kinds
//! are (the schema table). Gate and embedded server both use it; nothing here knows what a request means.

pub mod canonical;
pub mod json;
mod protobuf;
pub mod quantity;
pub mod schema;

use bytes::Bytes;
use serde_json::Value;

/// The media type of Kubernetes protobuf.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The largest body that is looked at: what etcd's own limit lets the API server take.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Answer 415: the media type is none that is known.
    #[error("the body has media type `{0}`; known are application/json, application/yaml and {PROTOBUF}")]
    MediaType(String),
    /// Answer 415: well formed, but with something that is not known and would be lost.
    #[error("the body cannot be decoded without loss: {0}")]
    Undecodable(String),
    /// Answer 400: not well formed.
    #[error("the body is not well formed: {0}")]
    Malformed(String),
    /// Answer 400: nested deeper than any Kubernetes object.
    #[error("the body is nested too deeply")]
    TooDeep,
    /// Answer 413.
    #[error("the body has more than {MAX_BODY} bytes")]
    TooLarge,
}

impl WireError {
    /// The HTTP status that says it.
    pub fn status(&self) -> u16 {
        match self {
            WireError::MediaType(_) | WireError::Undecodable(_) => 415,
            WireError::Malformed(_) | WireError::TooDeep => 400,
            WireError::TooLarge => 413,
        }
    }
}

/// A media type without its parameters, in lower case.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What a body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON, all JSON patch types, and bodies without a content type.
    Json,
    /// YAML, also of server-side apply.
    Yaml,
    /// Kubernetes protobuf.
    Protobuf,
}

/// The format that a `Content-Type` names.
///
/// # Errors
/// [`WireError::MediaType`].
pub fn format(content_type: &str) -> Result<Format, WireError> {
    let essence = essence(content_type);
    match essence.as_str() {
        "" | "application/json" | "text/json" => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Format::Yaml),
        PROTOBUF => Ok(Format::Protobuf),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(Format::Json),
        other if other.starts_with("application/") && other.ends_with("+yaml") => Ok(Format::Yaml),
        _ => Err(WireError::MediaType(essence)),
    }
}

/// Decodes a body by its `Content-Type`.
///
/// # Errors
/// [`WireError`]; its [`status`](WireError::status) is the answer to give.
pub fn decode(content_type: &str, body: &Bytes) -> Result<Value, WireError> {
    Ok(decode_noting(content_type, body)?.value)
}

/// Decodes a body and notes the fields that it names twice.
///
/// # Errors
/// As [`decode`].
pub fn decode_noting(content_type: &str, body: &Bytes) -> Result<json::Parsed, WireError> {
    let format = format(content_type)?;
    if body.len() > MAX_BODY {
        return Err(WireError::TooLarge);
    }
    match format {
        Format::Json => json::parse(body).map_err(|e| WireError::Malformed(e.to_string())),
        Format::Yaml => yaml_value(body).map(|value| json::Parsed { value, duplicates: Vec::new() }),
        Format::Protobuf => protobuf::decode(body).map(|value| json::Parsed { value, duplicates: Vec::new() }),
    }
}

fn yaml_value(body: &[u8]) -> Result<Value, WireError> {
    // JSON is YAML, and most bodies of server-side apply are JSON.
    if let Ok(parsed) = json::parse(body) {
        return Ok(parsed.value);
    }
    let text = std::str::from_utf8(body).map_err(|_| WireError::Malformed("YAML is not UTF-8".into()))?;
    yaml::to_json(&yaml::Source::new("body", text)).map_err(|e| WireError::Malformed(e.to_string()))
}
