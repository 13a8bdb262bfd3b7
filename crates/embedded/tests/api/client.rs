//! A small client: one request, its status and its JSON.

use bytes::Bytes;
use embedded::{Body, Cluster, Identity};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

/// A cluster without workload controllers: objects stay as they are written.
pub(crate) fn still() -> Cluster {
    Cluster::with_controllers(7, Vec::new())
}

pub(crate) async fn send(
    cluster: &Cluster,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Body> {
    send_as(cluster, Identity::admin(), method, path, headers, body).await
}

pub(crate) async fn send_as(
    cluster: &Cluster,
    who: Identity,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    cluster.handle(request, who).await
}

/// A request by somebody who is impersonated; the answer as JSON.
pub(crate) async fn call_as(cluster: &Cluster, user: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
    let headers = [("content-type", "application/json"), ("impersonate-user", user)];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (code, text) = text(send(cluster, method, path, &headers, &body).await).await;
    (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) async fn text(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

pub(crate) async fn call(cluster: &Cluster, method: &str, path: &str, body: Value) -> (u16, Value) {
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, text) = text(send(cluster, method, path, &[("content-type", content_type)], &body).await).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) async fn get(cluster: &Cluster, path: &str) -> (u16, Value) {
    call(cluster, "GET", path, Value::Null).await
}

/// Creates an object and expects that it is created.
pub(crate) async fn create(cluster: &Cluster, path: &str, object: Value) -> Value {
    let (status, created) = call(cluster, "POST", path, object).await;
    assert_eq!(status, 201, "{created}");
    created
}

pub(crate) async fn namespace(cluster: &Cluster, name: &str) {
    create(cluster, "/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
}

/// Watch events, one a line.
pub(crate) struct Events {
    body: Body,
    rest: Vec<u8>,
}

impl Events {
    pub(crate) fn new(response: Response<Body>) -> Self {
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event, or none when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(frame.data_ref().unwrap());
        }
    }

    /// Type and name of the next event.
    pub(crate) async fn summary(&mut self) -> Option<(String, String)> {
        let event = self.next().await?;
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Some((event["type"].as_str().unwrap_or_default().to_owned(), name))
    }
}
