//! Request bodies: read with a limit, decoded, and checked against the path. What cannot be decoded is not forwarded.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use crate::Attributes;
use crate::status::Refusal;

pub(crate) const JSON: &str = "application/json";
const UNKNOWN_FORMAT: &str = "the body of the request was in an unknown format - accepted media types include: \
     application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// A body as it was understood.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    /// The content.
    pub(crate) value: Value,
    /// The media type under which [`Decoded::value`] is forwarded as JSON.
    pub(crate) media_type: String,
}

impl Decoded {
    /// The gate's own serialisation.
    pub(crate) fn to_bytes(&self) -> Bytes {
        Bytes::from(self.value.to_string())
    }
}

/// Reads a whole body.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<tower::BoxError>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(Refusal::too_large(limit)),
        Err(_) => Err(Refusal::bad_request("the request body ended early")),
    }
}

/// Decodes the body of a write; none when there is none.
pub(crate) fn decode(attributes: &Attributes, headers: &HeaderMap, bytes: &Bytes) -> Result<Option<Decoded>, Refusal> {
    let content_type = match headers.get(CONTENT_TYPE) {
        None => JSON,
        Some(value) => value.to_str().map_err(|_| Refusal::unsupported_media_type(UNKNOWN_FORMAT))?,
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if attributes.verb == "patch" {
        return decode_patch(&essence, bytes).map(Some);
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    // Types that only patches have: `wire` would read them, the API server would not.
    if essence.contains('+') {
        return Err(Refusal::unsupported_media_type(UNKNOWN_FORMAT));
    }
    Ok(Some(Decoded { value: decode_as(&essence, bytes)?, media_type: JSON.to_owned() }))
}

fn decode_patch(essence: &str, bytes: &Bytes) -> Result<Decoded, Refusal> {
    let value = match essence {
        "application/json-patch+json" | "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            decode_as(JSON, bytes)?
        }
        "application/apply-patch+yaml" => decode_as("application/yaml", bytes)?,
        _ => return Err(Refusal::unsupported_media_type("415: Unsupported Media Type")),
    };
    Ok(Decoded { value, media_type: essence.to_owned() })
}

fn decode_as(media_type: &str, bytes: &Bytes) -> Result<Value, Refusal> {
    wire::decode(media_type, bytes).map_err(|error| match error.status() {
        413 => Refusal::too_large(wire::MAX_BODY),
        415 if matches!(error, wire::WireError::MediaType(_)) => Refusal::unsupported_media_type(UNKNOWN_FORMAT),
        415 => Refusal::unsupported_media_type(error.to_string()),
        _ => Refusal::bad_request(error.to_string()),
    })
}

/// Name and namespace in the body must be those of the path, where both are there.
pub(crate) fn agrees(attributes: &Attributes, body: &Value) -> Result<(), Refusal> {
    if attributes.verb == "delete" || attributes.verb == "deletecollection" || !body.is_object() {
        return Ok(());
    }
    let member = |key: &str| body.get("metadata").and_then(|m| m.get(key)).and_then(Value::as_str).unwrap_or_default();
    let (name, namespace) = (member("name"), member("namespace"));
    if !name.is_empty() && !attributes.name.is_empty() && name != attributes.name {
        let wanted = &attributes.name;
        let message = format!("the name of the object ({name}) does not match the name on the URL ({wanted})");
        return Err(Refusal::bad_request(message));
    }
    if !namespace.is_empty() && namespace != attributes.namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// The name in the body of a create, or none when the server is to make one up.
pub(crate) fn object_name(body: &Value) -> Option<&str> {
    body.get("metadata")?.get("name")?.as_str().filter(|n| !n.is_empty())
}

/// Whether the request only asks what would happen. Of a delete the server reads the query only when there is no body.
pub(crate) fn is_dry_run(attributes: &Attributes, body: Option<&Value>) -> bool {
    let in_query = || attributes.parameter("dryRun").is_some_and(|v| !v.is_empty());
    match body.filter(|_| attributes.verb.starts_with("delete")) {
        Some(options) => options.get("dryRun").and_then(Value::as_array).is_some_and(|a| !a.is_empty()),
        None => in_query(),
    }
}
