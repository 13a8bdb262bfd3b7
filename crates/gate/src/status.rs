//! Answers that the gate gives itself: Kubernetes `Status` objects and plain JSON.

use http::{Response, StatusCode, header};
use kube::client::Body;
use serde_json::{Value, json};

use crate::denial::Denial;
use crate::{Attributes, BadRequest};

/// The `reason` of the first cause in a denial to a failure, script or host; clients tell the gate's 403 by it.
pub const GATE_DENIED: &str = "GateDenied";

/// A request that is not forwarded because it cannot be read or served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_REQUEST, reason: "BadRequest", message: message.into() }
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self { code: StatusCode::UNSUPPORTED_MEDIA_TYPE, reason: "UnsupportedMediaType", message: message.into() }
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the request body is larger than {limit} bytes");
        Self { code: StatusCode::PAYLOAD_TOO_LARGE, reason: "RequestEntityTooLarge", message }
    }

    pub(crate) fn slow_body() -> Self {
        let message = "the request body did not arrive in time".to_owned();
        Self { code: StatusCode::REQUEST_TIMEOUT, reason: "Timeout", message }
    }

    pub(crate) fn unauthorized() -> Self {
        Self { code: StatusCode::UNAUTHORIZED, reason: "Unauthorized", message: "Unauthorized".to_owned() }
    }

    pub(crate) fn upgrade() -> Self {
        let message = "this connection cannot be switched to another protocol".to_owned();
        Self { code: StatusCode::NOT_IMPLEMENTED, reason: "NotImplemented", message }
    }

    pub(crate) fn timed_out() -> Self {
        let message = "the API server did not answer in time".to_owned();
        Self { code: StatusCode::GATEWAY_TIMEOUT, reason: "Timeout", message }
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_GATEWAY, reason: "ServiceUnavailable", message: message.into() }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self { code: StatusCode::INTERNAL_SERVER_ERROR, reason: "InternalError", message: message.into() }
    }

    /// Nobody knows what became of a write.
    pub(crate) fn unknown() -> Self {
        let message = "the API server did not say whether the request was carried out".to_owned();
        Self { code: StatusCode::SERVICE_UNAVAILABLE, reason: "ServiceUnavailable", message }
    }

    pub(crate) fn response(&self) -> Response<Body> {
        status(self.code, self.reason, &self.message, json!({}))
    }
}

impl From<BadRequest> for Refusal {
    fn from(bad: BadRequest) -> Self {
        match bad {
            BadRequest::Method(_) => Self {
                code: StatusCode::METHOD_NOT_ALLOWED,
                reason: "MethodNotAllowed",
                message: "the server does not allow this method on the requested resource".to_owned(),
            },
            BadRequest::TooLong => {
                Self { code: StatusCode::URI_TOO_LONG, reason: "BadRequest", message: bad.to_string() }
            }
            _ => Self::bad_request(bad.to_string()),
        }
    }
}

/// A 403 with the message, and for those who can act on it the mark of the gate.
pub(crate) fn denied(denial: &Denial, attributes: &Attributes, message: &str, marked: bool) -> Response<Body> {
    let mut details = json!({});
    let members = [("name", &attributes.name), ("group", &attributes.group), ("kind", &attributes.resource)];
    for (key, value) in members.into_iter().filter(|(_, v)| !v.is_empty()) {
        details[key] = json!(value);
    }
    if marked {
        details["causes"] = json!([{"reason": GATE_DENIED, "message": denial.reason()}]);
    }
    status(StatusCode::FORBIDDEN, "Forbidden", message, details)
}

fn status(code: StatusCode, reason: &str, message: &str, details: Value) -> Response<Body> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code.as_u16(),
    });
    answer(code, &body)
}

/// A `Status` of success.
pub(crate) fn success(details: Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// A JSON answer.
pub(crate) fn answer(code: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string().into_bytes()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache, private"));
    response
}
