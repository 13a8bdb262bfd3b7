//! Sends what was judged to the API server. Headers are an allow list: credentials, impersonation and names of clients
//! stay here; the same client name is stamped on everybody's requests, so that field managers tell nothing.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderMap, Method, Request, Response};
use kube::client::Body;
use tower::{BoxError, ServiceExt as _};

use crate::Attributes;
use crate::body::Decoded;
use crate::status::Refusal;

/// The API server, with the harness's own credentials.
pub type Upstream = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// An upstream that sends through a client. Whatever can serve HTTP becomes a client by [`kube::Client::new`].
pub fn upstream(client: kube::Client) -> Upstream {
    Upstream::new(tower::service_fn(move |request| {
        let client = client.clone();
        async move { client.send(request).await.map_err(BoxError::from) }
    }))
}

/// Request headers that go on. Content-Type is set by what the body has become.
const PASSED: [HeaderName; 3] = [ACCEPT, IF_MATCH, IF_NONE_MATCH];

/// Kubernetes takes the field manager from what stands before the slash.
pub(crate) const CLIENT_NAME: HeaderValue = HeaderValue::from_static("kubectl/v1.36.2 (linux/amd64) kubernetes");

/// Headers of a connection, not of an answer (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// A request that was judged and may go out.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    pub(crate) attributes: &'a Attributes,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Option<&'a Decoded>,
}

impl Outgoing<'_> {
    fn request(&self, target: &str) -> Result<Request<Body>, Refusal> {
        let body = self.body.map(Decoded::to_bytes).unwrap_or_default();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = target.parse().map_err(|_| Refusal::bad_request("the path cannot be forwarded"))?;
        let headers = request.headers_mut();
        for name in PASSED {
            if let Some(value) = self.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(USER_AGENT, CLIENT_NAME);
        if let Some(body) = self.body {
            let media_type = HeaderValue::from_str(&body.media_type)
                .map_err(|_| Refusal::unsupported_media_type("the media type cannot be forwarded"))?;
            headers.insert(CONTENT_TYPE, media_type);
        }
        Ok(request)
    }

    /// Sends it as it is.
    pub(crate) async fn send(&self, upstream: &Upstream, timeout: Option<Duration>) -> Result<Response<Body>, Refusal> {
        exchange(upstream, self.request(&self.attributes.target())?, timeout).await
    }

    /// The attributes of the same request that only asks what it would do.
    pub(crate) fn tried(&self) -> Attributes {
        let mut attributes = self.attributes.clone();
        attributes.query.retain(|(k, _)| k != "dryRun");
        attributes.query.push(("dryRun".to_owned(), "All".to_owned()));
        attributes
    }
}

/// The headers of a request whose answer the gate itself reads.
pub(crate) fn plain_json() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))])
}

async fn exchange(
    upstream: &Upstream,
    request: Request<Body>,
    timeout: Option<Duration>,
) -> Result<Response<Body>, Refusal> {
    ask(upstream, request, timeout).await.map(without_hops)
}

/// Sends a request and answers what came back, as it is.
pub(crate) async fn ask(
    upstream: &Upstream,
    request: Request<Body>,
    timeout: Option<Duration>,
) -> Result<Response<Body>, Refusal> {
    let answer = upstream.clone().oneshot(request);
    let answer = match timeout {
        None => answer.await,
        Some(limit) => tokio::time::timeout(limit, answer).await.map_err(|_| Refusal::timed_out())?,
    };
    answer.map_err(|error| {
        // The text may hold addresses of the cluster; it is for the harness's log only.
        tracing::warn!(%error, "the API server could not be reached");
        Refusal::unreachable("the API server could not be reached")
    })
}

/// The answer without what concerns the connection that it came by.
pub(crate) fn without_hops(mut response: Response<Body>) -> Response<Body> {
    for name in HOP_BY_HOP {
        response.headers_mut().remove(name);
    }
    response
}

/// The whole body of an answer.
pub(crate) async fn collect(response: Response<Body>, limit: usize) -> Result<(http::response::Parts, Bytes), Refusal> {
    let (parts, body) = response.into_parts();
    let bytes = crate::body::read(body, limit)
        .await
        .map_err(|_| Refusal::unreachable("the API server's answer could not be read"))?;
    Ok((parts, bytes))
}
