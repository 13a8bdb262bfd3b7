//! Requests for another protocol from callers in this process. What is switched is a connection, and in process there is
//! none: such a request goes through a pipe that HTTP is spoken over, and its two ends are the connection.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::body::Body;
use crate::cluster::Shared;
use crate::error::ApiError;
use crate::{Identity, respond, server};

/// What the pipe holds before its writer waits.
const CAPACITY: usize = 64 * 1024;

/// Whether a request asks for another protocol and brings no connection.
pub(crate) fn is_needed(parts: &Parts) -> bool {
    parts.headers.contains_key(header::UPGRADE) && parts.extensions.get::<OnUpgrade>().is_none()
}

/// Answers it; with 101 the caller's end of the connection is in the answer's extensions, as with any HTTP client.
pub(crate) async fn answer(shared: &Arc<Shared>, parts: Parts, body: Bytes, identity: Identity) -> Response<Body> {
    match ask(shared, parts, body, identity).await {
        Ok(response) => response,
        Err(error) => {
            respond::failure(&ApiError::new(500, "InternalError", format!("Internal error occurred: {error}")))
        }
    }
}

async fn ask(
    shared: &Arc<Shared>,
    parts: Parts,
    body: Bytes,
    identity: Identity,
) -> Result<Response<Body>, hyper::Error> {
    let (near, far) = tokio::io::duplex(CAPACITY);
    let shared = Arc::clone(shared);
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, identity) = (Arc::clone(&shared), identity.clone());
        async move {
            let (parts, body) = request.into_parts();
            // It has been limited before it was sent through here.
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Ok::<_, Infallible>(server::answer(&shared, parts, body, identity).await)
        }
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
    tokio::spawn(serving.with_upgrades());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
    tokio::spawn(connection.with_upgrades());
    let (parts, body) = sender.send_request(Request::from_parts(parts, Full::new(body))).await?.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Response::from_parts(parts, Body::whole(Bytes::new())));
    }
    let body = body.collect().await?.to_bytes();
    Ok(Response::from_parts(parts, Body::whole(body)))
}
