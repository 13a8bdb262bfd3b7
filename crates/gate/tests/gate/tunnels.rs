//! Upgraded connections over real loopback connections: a client with TLS, the gate, and an API server that switches.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gate::{Access, Endpoint, Gate, GateConfig, Hazard, Journal as _, Limits, MemoryJournal, Policy, Power, Rule};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use model::{Decision, Party};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::client::TlsStream;

use crate::mock::{CASE, Seen};
use crate::proxy::{connect, credentials};

type Stream = TlsStream<tokio::net::TcpStream>;

const EXEC: &str = "/api/v1/namespaces/c-1/pods/a/exec?command=sh&command=-c";

/// An API server that switches every connection that asks for it, and then says back what it hears, in capitals.
/// Answers without switching what addresses the pod `refused`. Its answers carry the headers that it was asked with.
async fn server() -> kube::Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .with_upgrades();
            tokio::spawn(serving);
        }
    });
    let config = kube::Config::new(format!("http://{address}").parse().expect("a URI"));
    kube::Client::try_from(config).expect("a client")
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let asked: Vec<String> =
        request.headers().iter().map(|(k, v)| format!("{k}={}", v.to_str().unwrap_or("?"))).collect();
    if request.uri().path().contains("refused") {
        let mut response = Response::new(Full::from("no such container"));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
        let mut chunk = [0; 1024];
        while let Ok(n @ 1..) = from.read(&mut chunk).await {
            chunk[..n].make_ascii_uppercase();
            if to.write_all(&chunk[..n]).await.is_err() || to.flush().await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in
        [("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4.channel.k8s.io")]
    {
        response.headers_mut().insert(name, value.parse().expect("a value"));
    }
    // The one free header that the gate lets through.
    response.headers_mut().insert("sec-websocket-extensions", asked.join("|").parse().expect("a value"));
    Ok(response)
}

struct Scene {
    gate: Gate,
    seen: Seen,
    journal: Arc<MemoryJournal>,
}

async fn scene(limits: Limits) -> Scene {
    let (seen, journal) = (Seen::default(), Arc::new(MemoryJournal::default()));
    let records = Arc::clone(&seen.records);
    let sink = Arc::new(move |record| records.lock().expect("lock").push(record));
    let config = GateConfig::new(gate::upstream(server().await), CASE, sink);
    Scene { gate: Gate::new(GateConfig { limits, journal: journal.clone(), ..config }), seen, journal }
}

fn open(scene: &Scene) -> Endpoint {
    scene.gate.serve(Party::Agent, Arc::new(Access::EditCase.policy(CASE))).expect("an endpoint")
}

/// Sends the head of a request and reads the head of the answer.
async fn ask(endpoint: &Endpoint, method: &str, target: &str, headers: &[&str]) -> (Vec<String>, BufReader<Stream>) {
    let mut stream = connect(endpoint, b"http/1.1").await.expect("connected");
    let token = credentials(endpoint.kubeconfig()).1;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("a line");
        match line.trim_end() {
            "" => return (lines, stream),
            line => lines.push(line.to_owned()),
        }
    }
}

const SPDY: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    "X-Stream-Protocol-Version: v5.channel.k8s.io",
    "X-Stream-Protocol-Version: v4.channel.k8s.io",
];

async fn exec(endpoint: &Endpoint) -> BufReader<Stream> {
    let (head, stream) = ask(endpoint, "POST", EXEC, &SPDY).await;
    assert!(head[0].contains("101"), "{head:?}");
    stream
}

async fn says_back(stream: &mut BufReader<Stream>, word: &str) {
    stream.write_all(word.as_bytes()).await.expect("written");
    let mut answer = vec![0; word.len()];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), word.to_ascii_uppercase());
}

#[tokio::test]
async fn a_tunnel_carries_both_ways_and_is_recorded_at_its_end() {
    let scene = scene(Limits::default()).await;
    let endpoint = open(&scene);
    let (head, mut stream) = ask(&endpoint, "POST", EXEC, &SPDY).await;
    assert!(head[0].contains("101"), "{head:?}");
    let echoed = head.iter().find(|line| line.starts_with("sec-websocket-extensions")).expect("what the server saw");
    assert!(echoed.contains("v5.channel") && echoed.contains("v4.channel") && !echoed.contains("Bearer"), "{echoed}");
    assert!(head.iter().any(|line| line.contains("x-stream-protocol-version: v4")), "{head:?}");
    for word in ["one", "two"] {
        says_back(&mut stream, word).await;
    }
    assert!(scene.seen.records().is_empty(), "it is under way");
    stream.shutdown().await.expect("closed");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    scene.gate.settled().await;
    let record = scene.seen.last();
    assert_eq!((record.decision, record.status, record.mutation), (Decision::Allowed, 101, true));
    assert_eq!((record.subresource.as_str(), record.because.as_str()), ("exec", ""));
    let entries = scene.journal.entries().await.expect("in memory");
    assert!(entries.len() == 1 && entries[0].intent.irreversible, "{entries:?}");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn websockets_leave_their_token_here() {
    let scene = scene(Limits::default()).await;
    let endpoint = open(&scene);
    let headers = [
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0",
        "Cookie: a=b",
    ];
    let (head, mut stream) = ask(&endpoint, "GET", EXEC, &headers).await;
    let echoed = head.iter().find(|line| line.starts_with("sec-websocket-extensions")).expect("what the server saw");
    assert!(echoed.contains("sec-websocket-key=dGhl") && echoed.contains("sec-websocket-protocol=v5"), "{echoed}");
    assert!(!echoed.contains("bearer") && !echoed.contains("cookie"), "{echoed}");
    says_back(&mut stream, "through").await;
}

#[tokio::test]
async fn what_is_not_granted_is_refused_before_the_switch() {
    let scene = scene(Limits::default()).await;
    let power = |hazards: &[Hazard]| Power {
        rules: vec![Rule::resources(&[""], &["pods/exec"], &["*"], &[CASE])],
        hazards: hazards.iter().copied().collect(),
    };
    for (hazards, code) in [
        (&[][..], "403"),
        (&[Hazard::Exec][..], "403"),
        (&[Hazard::Irreversible][..], "403"),
        (&[Hazard::Exec, Hazard::Irreversible][..], "101"),
    ] {
        let policy = Arc::new(Policy::from_power(power(hazards)));
        let endpoint = scene.gate.serve(Party::Script, policy).expect("an endpoint");
        let (head, _stream) = ask(&endpoint, "GET", EXEC, &SPDY).await;
        assert!(head[0].contains(code), "{hazards:?}: {head:?}");
    }
    let endpoint = open(&scene);
    for (target, code) in [
        ("/api/v1/namespaces/kube-system/pods/a/exec", "403"),
        ("/api/v1/namespaces/c-1/pods/a/portforward", "101"),
        ("/api/v1/namespaces/c-1/services/a/proxy/socket", "101"),
        // A watch over a WebSocket is none of these.
        ("/api/v1/namespaces/c-1/pods?watch=1", "501"),
    ] {
        let (head, _stream) = ask(&endpoint, "GET", target, &SPDY).await;
        assert!(head[0].contains(code), "{target}: {head:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_switch_is_passed_on() {
    let scene = scene(Limits::default()).await;
    let endpoint = open(&scene);
    let (head, mut stream) = ask(&endpoint, "POST", "/api/v1/namespaces/c-1/pods/refused/exec", &SPDY).await;
    assert!(head[0].contains("400"), "{head:?}");
    let mut body = vec![0; "no such container".len()];
    stream.read_exact(&mut body).await.expect("a body");
    assert_eq!(String::from_utf8_lossy(&body), "no such container");
    assert_eq!(scene.seen.last().status, 400);
}

/// Reads until the other side ends; that it does is what is asserted.
async fn ends(mut stream: BufReader<Stream>) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the tunnel is still open");
}

#[tokio::test]
async fn tunnels_end_with_the_endpoint() {
    let scene = scene(Limits::default()).await;
    let endpoint = open(&scene);
    let mut stream = exec(&endpoint).await;
    says_back(&mut stream, "alive").await;
    tokio::time::timeout(Duration::from_secs(10), endpoint.shutdown()).await.expect("closed soon");
    scene.gate.settled().await;
    assert_eq!(scene.seen.last().because, "closed with the endpoint");
    ends(stream).await;
}

#[tokio::test]
async fn tunnels_are_bounded_in_idle_time_and_bytes() {
    let idle = Limits { tunnel_idle: Duration::from_millis(200), ..Limits::default() };
    let scene_of_idle = scene(idle).await;
    let endpoint = open(&scene_of_idle);
    ends(exec(&endpoint).await).await;
    scene_of_idle.gate.settled().await;
    assert!(scene_of_idle.seen.last().because.starts_with("closed: idle"), "{:?}", scene_of_idle.seen.last());

    let small = scene(Limits { tunnel_bytes: 1000, ..Limits::default() }).await;
    let endpoint = open(&small);
    let mut stream = exec(&endpoint).await;
    says_back(&mut stream, &"x".repeat(400)).await;
    stream.write_all(&[b'y'; 400]).await.expect("written");
    ends(stream).await;
    small.gate.settled().await;
    assert_eq!(small.seen.last().because, "closed: it had carried 1000 bytes");
}

#[tokio::test]
async fn a_tunnel_holds_the_place_of_its_connection() {
    let scene = scene(Limits { connections: 1, ..Limits::default() }).await;
    let endpoint = open(&scene);
    let mut stream = exec(&endpoint).await;
    says_back(&mut stream, "alive").await;
    let second = connect(&endpoint, b"http/1.1");
    let mut second = std::pin::pin!(second);
    assert!(tokio::time::timeout(Duration::from_millis(200), second.as_mut()).await.is_err(), "there is no place");
    drop(stream);
    tokio::time::timeout(Duration::from_secs(10), second).await.expect("soon").expect("now there is");
}

#[tokio::test]
async fn without_a_connection_to_switch_there_is_no_tunnel() {
    let scene = scene(Limits::default()).await;
    let client = scene.gate.client(Party::Plugin, Arc::new(Policy::everything()));
    let request = Request::post(EXEC).header("upgrade", "SPDY/3.1").body(Body::empty()).expect("a request");
    assert_eq!(client.send(request).await.expect("an answer").status(), StatusCode::NOT_IMPLEMENTED);
}
