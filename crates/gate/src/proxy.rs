//! A loopback TLS endpoint in front of the gate, for scripts and agents: HTTP/1.1 and 2, one token, one kubeconfig.
//! It authenticates and carries; what a request may do is the gate's business.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kube::client::Body;
use model::Decision;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use crate::authority::Authority;
use crate::gate::{GateError, GateService};
use crate::status::Refusal;
use crate::tunnel::Line;

/// Until a TLS handshake must be done.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes of all headers of a request, and of its first line.
const HEADER_BYTES: u32 = 64 * 1024;
/// Headers of a request.
const HEADER_COUNT: usize = 100;
/// How long answers may still take once the endpoint closes; watches never end by themselves.
const GOODBYE: Duration = Duration::from_millis(300);

/// A running endpoint. Dropping it closes it; [`Endpoint::shutdown`] also waits until its connections are gone.
pub struct Endpoint {
    address: SocketAddr,
    kubeconfig: String,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The kubeconfig holds the token.
        f.debug_struct("Endpoint").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(crate) fn open(service: GateService, authority: &Authority) -> Result<Self, GateError> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let tls = TlsAcceptor::from(Arc::new(authority.server_config()?));
        let token = hex::encode(rand::random::<[u8; 32]>());
        let namespace = service.gate().case_namespace();
        let kubeconfig = kubeconfig(address, authority.certificate_pem(), &token, namespace);
        let door = Door { service, token: Sha256::digest(token.as_bytes()).into(), line: None };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, tls, door, stopped));
        Ok(Self { address, kubeconfig, stop, task: Some(task) })
    }

    /// A kubeconfig for this endpoint with the token in it and the case's namespace as default. A secret.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Revokes the token and closes every connection. Writes that were sent go on: see [`crate::Gate::settled`].
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            // It panics nowhere; and if it did, its connections are gone too.
            let _ = task.await;
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn kubeconfig(address: SocketAddr, ca: &str, token: &str, namespace: &str) -> String {
    let ca = STANDARD.encode(ca);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: cluster\n  cluster:\n    server: https://{address}\n    \
         certificate-authority-data: {ca}\nusers:\n- name: user\n  user:\n    token: {token}\ncontexts:\n- name: default\n  \
         context:\n    cluster: cluster\n    user: user\n    namespace: {namespace}\ncurrent-context: default\n"
    )
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, door: Door, mut stopped: watch::Receiver<bool>) {
    let connections_at_most = door.service.gate().limits().connections;
    let places = Arc::new(Semaphore::new(connections_at_most));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        tokio::select! {
            () = closing(&mut stopped) => break,
            next = next => match next {
                Some((Ok((stream, _)), place)) => {
                    let line = Line { stopped: stopped.clone(), place: Arc::new(place) };
                    let door = Door { line: Some(line), ..door.clone() };
                    connections.spawn(connection(stream, tls.clone(), door, stopped.clone()));
                }
                // Out of file descriptors, most likely: let some be closed first.
                Some((Err(_), _)) => tokio::time::sleep(Duration::from_millis(50)).await,
                None => break,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    // Tunnels outlive what HTTP calls a connection; each gives its place back when it ends.
    let all = u32::try_from(connections_at_most).unwrap_or(u32::MAX);
    let _ = places.acquire_many(all).await;
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, door: Door, mut stopped: watch::Receiver<bool>) {
    // Small frames of a watch must not wait for more.
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream));
    let stream = tokio::select! {
        () = closing(&mut stopped) => return,
        done = handshake => match done {
            Ok(Ok(stream)) => stream,
            _ => return,
        },
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let headers = door.service.gate().limits().headers;
    builder.http1().timer(TokioTimer::new()).header_read_timeout(headers);
    builder.http1().max_buf_size(HEADER_BYTES as usize).max_headers(HEADER_COUNT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30)).max_concurrent_streams(256);
    builder.http2().max_header_list_size(HEADER_BYTES);
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), door));
    tokio::select! {
        _ = serving.as_mut() => {}
        () = closing(&mut stopped) => {
            serving.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(GOODBYE, serving).await;
        }
    }
}

/// Lets in who has the token.
#[derive(Clone)]
struct Door {
    service: GateService,
    token: [u8; 32],
    /// Of the connection that the door is held open for.
    line: Option<Line>,
}

impl Door {
    /// Digests are compared, so that the time tells nothing about the token.
    fn opens(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some((scheme, token)) = value.to_str().ok().and_then(|v| v.split_once(' ')) else { return false };
        let digest: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        scheme.eq_ignore_ascii_case("bearer") && digest == self.token
    }
}

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if self.opens(request.headers()) {
            if let Some(line) = self.line.clone() {
                request.extensions_mut().insert(line);
            }
            return self.service.clone().call(request);
        }
        let mut entry = self.service.gate().entry(self.service.party());
        entry.odd(request.method(), request.uri().path());
        let refusal = Refusal::unauthorized();
        entry.finish(Decision::Refused, "no valid token", refusal.code.as_u16());
        Box::pin(async move { Ok(refusal.response()) })
    }
}

async fn closing(stopped: &mut watch::Receiver<bool>) {
    // An error means that the endpoint was dropped.
    let _ = stopped.wait_for(|s| *s).await;
}
