//! Answers: objects and lists in the form that was asked for, Status bodies, headers.

use http::{HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::error::ApiError;
use crate::registry::Info;
use crate::request::{Accept, Shape};
use crate::table;

/// An answer on its way: a status, a JSON body, warnings.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    pub(crate) fn new(code: u16, body: Value) -> Self {
        Self { code, body, warnings: Vec::new() }
    }
}

pub(crate) fn build(code: u16, content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    response
}

/// A JSON (or YAML) document.
pub(crate) fn document(answer: Answer, yaml: bool) -> Response<Body> {
    // Writing a Value to memory cannot fail.
    let mut bytes = serde_json::to_vec(&answer.body).unwrap_or_default();
    let content_type = if yaml {
        bytes = crate::yaml::to_yaml(&answer.body).into_bytes();
        "application/yaml"
    } else {
        bytes.push(b'\n');
        "application/json"
    };
    let mut response = build(answer.code, content_type, Body::whole(bytes));
    for warning in answer.warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

pub(crate) fn text(code: u16, text: impl Into<String>) -> Response<Body> {
    let mut response = build(code, "text/plain; charset=utf-8", Body::whole(text.into()));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(crate) fn plain_text(code: u16, text: impl Into<bytes::Bytes>) -> Response<Body> {
    build(code, "text/plain", Body::whole(text))
}

pub(crate) fn stream(content_type: &str, body: Body) -> Response<Body> {
    build(200, content_type, body)
}

pub(crate) fn failure(error: &ApiError) -> Response<Body> {
    document(Answer::new(error.code, error.to_json()), false)
}

/// One object in the form that was asked for.
pub(crate) fn object(
    state: &crate::state::State,
    info: &Info,
    object: &Value,
    accept: &Accept,
    include: &str,
) -> Value {
    match accept.shape {
        Shape::Plain => shown(info, object),
        Shape::Table => {
            let version = object["metadata"]["resourceVersion"].clone();
            table::of(state, info, &[object], json!({"resourceVersion": version}), &accept.shape_version, include, true)
        }
        Shape::Metadata => metadata_only(object, &accept.shape_version),
    }
}

/// An object as this version of its resource shows it.
pub(crate) fn shown(info: &Info, object: &Value) -> Value {
    crate::versions::to_version(info, object)
}

/// `PartialObjectMetadata`.
pub(crate) fn metadata_only(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": object["metadata"],
    })
}

/// A list in the form that was asked for.
pub(crate) fn list(
    state: &crate::state::State,
    info: &Info,
    items: &[&Value],
    metadata: Value,
    accept: &Accept,
    include: &str,
) -> Value {
    match accept.shape {
        Shape::Table => table::of(state, info, items, metadata, &accept.shape_version, include, true),
        Shape::Metadata => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{}", accept.shape_version),
            "metadata": metadata,
            "items": items.iter().map(|item| metadata_only(item, &accept.shape_version)).collect::<Vec<_>>(),
        }),
        Shape::Plain => {
            let items: Vec<Value> = items.iter().map(|item| without_type(info, shown(info, item))).collect();
            json!({
                "kind": info.list_kind(), "apiVersion": info.resource.api_version(), "metadata": metadata,
                "items": items,
            })
        }
    }
}

/// Items of a list of built-in resources carry no type of their own.
fn without_type(info: &Info, item: Value) -> Value {
    match item {
        Value::Object(mut map) if !info.custom => {
            map.remove("kind");
            map.remove("apiVersion");
            Value::Object(map)
        }
        other => other,
    }
}

/// A Status of success.
pub(crate) fn success(details: Map<String, Value>) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": Value::Object(details),
    })
}
