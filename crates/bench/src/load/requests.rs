//! Requests as a client makes them: kube's client over TLS, JSON out and in.

use http::Request;
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;

/// A client; clones share its connections.
#[derive(Clone)]
pub(crate) struct Requests(kube::Client);

impl Requests {
    pub(crate) async fn new(kubeconfig: &str) -> Result<Self, String> {
        let file = Kubeconfig::from_yaml(kubeconfig).map_err(|error| error.to_string())?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let mut config = config.map_err(|error| error.to_string())?;
        // A watch may be silent for long.
        config.read_timeout = None;
        kube::Client::try_from(config).map(Self).map_err(|error| error.to_string())
    }

    /// One request and its answer in JSON.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let bytes = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let request = Request::builder().method(method).uri(path).header("content-type", media_type).body(bytes);
        let request = request.map_err(|error| error.to_string())?;
        self.0.request(request).await.map_err(|error| format!("{method} {path}: {error}"))
    }

    /// The body of an answer that goes on.
    pub(crate) async fn stream(&self, path: &str) -> Result<Body, String> {
        let request = Request::get(path).body(Body::empty()).map_err(|error| error.to_string())?;
        let response = self.0.send(request).await.map_err(|error| format!("GET {path}: {error}"))?;
        match response.status() {
            status if status.is_success() => Ok(response.into_body()),
            status => Err(format!("GET {path}: {status}")),
        }
    }
}
