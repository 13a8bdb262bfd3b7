//! Upgraded connections: exec, attach, port-forward, WebSockets behind a proxy. Judged before this module is asked; here
//! the API server is asked to switch protocols, and from then on bytes are copied both ways, SPDY and WebSocket alike,
//! until one side ends, a limit is reached, or the endpoint closes. What is said in there is neither read nor kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use model::Decision;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::Attributes;
use crate::flow::{allow, fail, refuse};
use crate::forward;
use crate::gate::{Caller, Gate, Limits};
use crate::journal::{Intent, State};
use crate::record::Entry;
use crate::status::Refusal;

/// Until both sides have switched protocols after the API server has said that it does.
const SWITCH: Duration = Duration::from_secs(10);
/// Bytes that are copied at once.
const CHUNK: usize = 16 * 1024;

/// The names of the streams in a SPDY connection are agreed upon in this header, which comes once for each proposal.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ASKED: [HeaderName; 4] = [STREAM_PROTOCOL, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SEC_WEBSOCKET_EXTENSIONS];
const ANSWERED: [HeaderName; 4] =
    [STREAM_PROTOCOL, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_EXTENSIONS];
/// How clients that can set no other header hand in a token: it stays here, as in `Authorization`.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// What a request needs of its connection to become a tunnel; the endpoint hands it in with every request.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Turns true when the endpoint closes.
    pub(crate) stopped: watch::Receiver<bool>,
    /// The connection's place: given back when the tunnel ends, not when HTTP ends.
    pub(crate) place: Arc<OwnedSemaphorePermit>,
}

/// The way back to the client, where its request came by one that can be switched.
pub(crate) struct Connection(Option<(OnUpgrade, Line)>);

impl Connection {
    /// Taken out of every request at once: whoever holds it holds the connection's place.
    pub(crate) fn of(extensions: &mut http::Extensions) -> Self {
        let line = extensions.remove::<Line>();
        Self(extensions.remove::<OnUpgrade>().zip(line))
    }
}

/// Whether what is asked for is served through a tunnel only.
pub(crate) fn is_needed(attributes: &Attributes) -> bool {
    let through_tunnels = matches!(attributes.subresource.as_str(), "exec" | "attach" | "portforward");
    attributes.is_resource && attributes.group.is_empty() && attributes.resource == "pods" && through_tunnels
}

/// Whether a request asks for another protocol where one may be had.
pub(crate) fn is_wanted(attributes: &Attributes, headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && (is_needed(attributes) || attributes.subresource == "proxy")
}

/// Whether it runs something in a container, whatever its HTTP method.
pub(crate) fn runs_something(attributes: &Attributes) -> bool {
    attributes.is_resource
        && attributes.resource == "pods"
        && matches!(attributes.subresource.as_str(), "exec" | "attach")
}

impl Gate {
    /// Answers when the API server has agreed or refused; the tunnel then goes on by itself, and is recorded at its end.
    pub(crate) async fn tunnel(
        &self,
        caller: &Caller,
        entry: Entry,
        attributes: &Attributes,
        parts: &Parts,
        connection: Connection,
    ) -> Response<Body> {
        let Some((client, line)) = connection.0 else { return refuse(entry, &Refusal::upgrade()) };
        let request = match switch_request(attributes, parts) {
            Ok(request) => request,
            Err(refusal) => return refuse(entry, &refusal),
        };
        let under_way = self.in_flight.begin();
        let note = match self.note(caller, attributes).await {
            Ok(note) => note,
            Err(refusal) => return fail(entry, &refusal),
        };
        let answer = forward::ask(&self.config.upstream, request, Some(self.config.limits.answer)).await;
        let state = match &answer {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => State::Done { after: None },
            Ok(_) => State::Refused,
            Err(_) => State::Unknown,
        };
        if let Some(note) = note
            && let Err(error) = self.config.journal.settle(note, state).await
        {
            tracing::warn!(%error, "what became of a tunnel could not be written down");
        }
        let mut response = match answer {
            Ok(response) => response,
            Err(refusal) => return fail(entry, &refusal),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return allow(entry, forward::without_hops(response));
        }
        let Some(server) = response.extensions_mut().remove::<OnUpgrade>() else {
            return fail(entry, &Refusal::unreachable("the API server switched protocols and gave no connection"));
        };
        let limits = self.config.limits;
        tokio::spawn(async move {
            let _under_way = under_way;
            let because = carry(client, server, limits, line).await;
            entry.finish(Decision::Allowed, because, StatusCode::SWITCHING_PROTOCOLS.as_u16());
        });
        switched(response.headers(), &parts.headers)
    }

    /// Notes in the journal what cannot be undone, so that it is shown.
    async fn note(&self, caller: &Caller, attributes: &Attributes) -> Result<Option<u64>, Refusal> {
        if !caller.journaled || !runs_something(attributes) {
            return Ok(None);
        }
        let intent = Intent {
            party: caller.party,
            verb: "create".to_owned(),
            subresource: attributes.subresource.clone(),
            key: attributes.key(),
            before: None,
            nonce: None,
            irreversible: true,
        };
        let noted = self.config.journal.intend(intent).await;
        noted.map(Some).map_err(|error| Refusal::unreachable(error.to_string()))
    }
}

fn switch_request(attributes: &Attributes, parts: &Parts) -> Result<Request<Body>, Refusal> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() =
        attributes.target().parse().map_err(|_| Refusal::bad_request("the path cannot be forwarded"))?;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(USER_AGENT, forward::CLIENT_NAME);
    for name in [UPGRADE].iter().chain(&ASKED) {
        for value in parts.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    let proposals = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let proposals: Vec<&str> = proposals.flat_map(|value| value.split(',')).map(str::trim).collect();
    let passed = proposals.iter().filter(|p| !p.is_empty() && !p.starts_with(TOKEN_PROTOCOL));
    let passed = passed.copied().collect::<Vec<_>>().join(", ");
    if !passed.is_empty() {
        let value = HeaderValue::from_str(&passed).map_err(|_| Refusal::bad_request("the protocols cannot be read"))?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(request)
}

fn switched(answered: &HeaderMap, asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Some(protocol) = answered.get(UPGRADE).or_else(|| asked.get(UPGRADE)) {
        headers.insert(UPGRADE, protocol.clone());
    }
    for name in &ANSWERED {
        for value in answered.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    response
}

/// Copies until the end; says why when it was not an end by one of the two sides.
async fn carry(client: OnUpgrade, server: OnUpgrade, limits: Limits, mut line: Line) -> String {
    // The place is held until here.
    let _place = Arc::clone(&line.place);
    let work = async {
        let both = async { tokio::try_join!(client, server) };
        let Ok(Ok((client, server))) = tokio::time::timeout(SWITCH, both).await else {
            return "the connection ended before the protocols were switched".to_owned();
        };
        let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
        let (from_server, to_server) = tokio::io::split(TokioIo::new(server));
        let meter = Meter { left: AtomicU64::new(limits.tunnel_bytes), moved: watch::Sender::new(()) };
        let moved = meter.moved.subscribe();
        let both = async {
            tokio::join!(pump(from_client, to_server, &meter), pump(from_server, to_client, &meter));
        };
        tokio::select! {
            () = both => meter.verdict(limits),
            () = idle(moved, limits.tunnel_idle) => format!("closed: idle for {} s", limits.tunnel_idle.as_secs()),
            () = meter.used_up() => meter.verdict(limits),
        }
    };
    tokio::select! {
        because = work => because,
        // An error means that the endpoint was dropped.
        _ = line.stopped.wait_for(|stopped| *stopped) => "closed with the endpoint".to_owned(),
    }
}

/// What a tunnel may still carry, and a sign of every chunk that it carried.
struct Meter {
    left: AtomicU64,
    moved: watch::Sender<()>,
}

impl Meter {
    /// Whether so many bytes may go on.
    fn take(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            self.left.store(0, Ordering::Relaxed);
        }
        self.moved.send_replace(());
        taken.is_ok()
    }

    async fn used_up(&self) {
        let mut moved = self.moved.subscribe();
        while self.left.load(Ordering::Relaxed) > 0 {
            // The sender is ours: it cannot be gone.
            let _ = moved.changed().await;
        }
    }

    fn verdict(&self, limits: Limits) -> String {
        if self.left.load(Ordering::Relaxed) > 0 {
            return String::new();
        }
        format!("closed: it had carried {} bytes", limits.tunnel_bytes)
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, meter: &Meter) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk).await {
            Ok(n) if n > 0 && meter.take(n) => {
                if to.write_all(&chunk[..n]).await.is_err() || to.flush().await.is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    // The other direction may go on; an error means that it cannot either.
    let _ = to.shutdown().await;
}

async fn idle(mut moved: watch::Receiver<()>, max: Duration) {
    while tokio::time::timeout(max, moved.changed()).await.is_ok() {}
}
