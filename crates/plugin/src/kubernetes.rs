//! Requests to the API server, and what its answers mean in the words of the contract.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::client::Body;
use serde_json::Value;

use crate::bindings::{Error, ObjectRef, Selection};
use crate::context::Context;
use crate::resources::{self, Resource};

/// Writes are stamped as kubectl's are: a manager of another name would tell an agent which fields a failure has changed.
const FIELD_MANAGER: &str = "kubectl";

/// Where a request goes.
pub(crate) struct Place {
    pub(crate) group_path: String,
    pub(crate) resource: Resource,
    pub(crate) namespace: String,
}

impl Place {
    pub(crate) fn object(&self, name: &str) -> String {
        resources::path(&self.group_path, &self.resource, &self.namespace, Some(name))
    }

    pub(crate) fn collection(&self) -> String {
        resources::path(&self.group_path, &self.resource, &self.namespace, None)
    }
}

/// Ends the component (outer) or is told to it (inner).
pub(crate) type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// Unpacks an [`Answer`]: the component's error goes back to the component.
macro_rules! answered {
    ($answer:expr) => {
        match $answer? {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}
pub(crate) use answered;

impl Context {
    pub(crate) async fn place(&mut self, api_version: &str, kind: &str, namespace: Option<&str>) -> Answer<Place> {
        let namespace = namespace.unwrap_or(&self.call()?.namespace).to_owned();
        let Some(group_path) = resources::group_path(api_version) else {
            return Ok(Err(Error::Invalid(format!("`{api_version}` is not an apiVersion, such as `apps/v1` or `v1`"))));
        };
        if let Some(resource) = resources::known(api_version, kind) {
            return Ok(Ok(Place { group_path, resource, namespace }));
        }
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(resource) = self.discovered.get(&key).cloned() {
            return Ok(Ok(Place { group_path, resource, namespace }));
        }
        let list: Value = match serde_json::from_str(&answered!(self.read(&group_path).await)) {
            Ok(list) => list,
            Err(error) => return Ok(Err(Error::Other(format!("{group_path}: {error}")))),
        };
        let found = list["resources"].as_array().into_iter().flatten().find_map(|entry| {
            let plural = entry["name"].as_str().filter(|name| !name.contains('/') && entry["kind"] == *kind)?;
            Some(Resource { plural: plural.to_owned(), namespaced: entry["namespaced"] == true })
        });
        let Some(resource) = found else {
            return Ok(Err(Error::NotFound(format!("the cluster has no kind {kind} in {api_version}"))));
        };
        self.discovered.insert(key, resource.clone());
        Ok(Ok(Place { group_path, resource, namespace }))
    }

    pub(crate) async fn place_of(&mut self, target: &ObjectRef) -> Answer<Place> {
        if target.name.is_empty() {
            return Ok(Err(Error::Invalid(format!("the {} has no name", target.kind))));
        }
        self.place(&target.api_version, &target.kind, target.namespace.as_deref()).await
    }

    /// A GET of this path, with its query.
    pub(crate) async fn read(&mut self, path: &str) -> Answer<String> {
        let client = self.call()?.client.clone();
        let request = match request(Method::GET, path, None, Bytes::new()) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let limit = self.meter.limits().response_bytes;
        Ok(self.judge(exchange(client, request, limit).await))
    }

    /// A request that changes something. It is carried out whatever becomes of the component.
    pub(crate) async fn change(
        &mut self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: String,
    ) -> Answer<String> {
        let client = self.call()?.client.clone();
        if let Err(limit) = self.meter.mutation() {
            return Ok(Err(Error::LimitExceeded(limit.to_string())));
        }
        let request = match request(method, path, Some(content_type), body.into()) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let limit = self.meter.limits().response_bytes;
        Ok(match self.in_flight.run(exchange(client, request, limit)).await {
            Ok(received) => self.judge(received),
            Err(error) => Err(error),
        })
    }

    fn judge(&mut self, received: Received) -> Result<String, Error> {
        let answer = self.read_answer(received);
        self.was_unavailable |= matches!(answer, Err(Error::Unavailable(_)));
        answer
    }

    fn read_answer(&mut self, received: Received) -> Result<String, Error> {
        match received {
            Received::Whole(status, body) => {
                if let Err(limit) = self.meter.response(body.len() as u64) {
                    return Err(Error::LimitExceeded(limit.to_string()));
                }
                if status.is_success() {
                    String::from_utf8(body.into()).map_err(|error| Error::Other(error.to_string()))
                } else {
                    Err(refusal(status, &body))
                }
            }
            Received::TooLarge => Err(Error::LimitExceeded(self.meter.response_too_large().to_string())),
            Received::Broken(message) => Err(Error::Unavailable(message)),
        }
    }
}

enum Received {
    Whole(StatusCode, Bytes),
    TooLarge,
    Broken(String),
}

async fn exchange(client: kube::Client, request: Request<Body>, limit: u64) -> Received {
    let response = match client.send(request).await {
        Ok(response) => response,
        Err(error) => return Received::Broken(format!("the cluster does not answer: {error}")),
    };
    let (parts, body) = response.into_parts();
    let limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    match limited.collect().await {
        Ok(body) => Received::Whole(parts.status, body.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Received::TooLarge,
        Err(error) => Received::Broken(format!("the cluster's answer broke off: {error}")),
    }
}

fn request(method: Method, path: &str, content_type: Option<&str>, body: Bytes) -> Result<Request<Body>, Error> {
    let mut builder = Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
    if let Some(content_type) = content_type {
        builder = builder.header(header::CONTENT_TYPE, content_type);
    }
    builder.body(Body::from(body)).map_err(|error| Error::Invalid(format!("`{path}` is not a path: {error}")))
}

/// Opens a watch; the answer's body is a stream of lines.
pub(crate) async fn open_watch(client: &kube::Client, path: &str, limit: u64) -> Result<Response<Body>, Error> {
    let response = client
        .send(request(Method::GET, path, None, Bytes::new())?)
        .await
        .map_err(|error| Error::Unavailable(format!("the cluster does not answer: {error}")))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    let body = limited.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Err(refusal(parts.status, &body))
}

/// What a Status of the API server means.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = match parsed["message"].as_str() {
        Some(message) if !message.is_empty() => message.to_owned(),
        _ => format!("the cluster answered {status}: {}", String::from_utf8_lossy(&body[..body.len().min(200)])),
    };
    let by_gate = parsed["details"]["causes"]
        .as_array()
        .is_some_and(|causes| causes.iter().any(|cause| cause["reason"] == "GateDenied"));
    match status.as_u16() {
        403 if by_gate => Error::Denied(message),
        401 | 403 => Error::Forbidden(message),
        404 => Error::NotFound(message),
        409 => Error::Conflict(message),
        400 | 405 | 406 | 413 | 415 | 422 => Error::Invalid(message),
        410 | 429 | 502..=504 => Error::Unavailable(message),
        _ => Error::Other(message),
    }
}

/// The query of a list or watch.
pub(crate) fn list_query(what: &Selection, more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(selector) = &what.label_selector {
        query.append_pair("labelSelector", selector);
    }
    if let Some(selector) = &what.field_selector {
        query.append_pair("fieldSelector", selector);
    }
    query.extend_pairs(more);
    query.finish()
}

/// The query of a write.
pub(crate) fn write_query(force: bool) -> String {
    let force = if force { "&force=true" } else { "" };
    format!("fieldManager={FIELD_MANAGER}{force}")
}
