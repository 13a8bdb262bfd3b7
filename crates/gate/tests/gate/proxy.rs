//! The loopback proxy with a real TLS client, from the kubeconfig that it writes.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use gate::{Access, Endpoint, Gate, Limits, Upstream};
use http::{Request, Response};
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, LogParams, PostParams, WatchEvent, WatchParams};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use model::Party;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::BoxError;

use crate::mock::{CASE, gate, gate_before, gate_within, json_response};

fn open(gate: &Gate) -> Endpoint {
    gate.serve(Party::Agent, Arc::new(Access::EditCase.policy(CASE))).expect("an endpoint")
}

async fn client(kubeconfig: &str) -> kube::Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a configuration");
    kube::Client::try_from(config).expect("a client")
}

async fn list(client: &kube::Client) -> Result<(), kube::Error> {
    Api::<Pod>::default_namespaced(client.clone()).list(&ListParams::default()).await.map(|_| ())
}

/// An API server whose answers are streams that the test feeds.
fn streaming(lines: tokio::sync::mpsc::Receiver<&'static str>) -> Upstream {
    let lines = Arc::new(std::sync::Mutex::new(Some(lines)));
    let server = tower::service_fn(move |_: Request<Body>| {
        let lines = lines.lock().expect("lock").take();
        async move {
            let lines = lines.ok_or("asked twice")?;
            let frames = futures::stream::unfold(lines, |mut lines| async move {
                let line = lines.recv().await?;
                Some((Ok::<_, BoxError>(Frame::data(bytes::Bytes::from(line))), lines))
            });
            Ok::<_, BoxError>(Response::new(StreamBody::new(frames)))
        }
    });
    gate::upstream(kube::Client::new(server, "default"))
}

#[tokio::test]
async fn a_client_with_the_kubeconfig_gets_in() {
    let (gate, seen) = gate();
    let endpoint = open(&gate);
    let client = client(endpoint.kubeconfig()).await;
    assert_eq!(client.default_namespace(), CASE);
    list(&client).await.expect("a list");
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let made = serde_json::from_value(json!({"metadata": {"name": "m"}})).expect("a map");
    maps.create(&PostParams::default(), &made).await.expect("created");
    let arrived = seen.arrived();
    assert_eq!(arrived.len(), 2);
    assert!(arrived.iter().all(|a| !a.headers.contains_key("authorization")), "the token ends here");
    assert!(seen.records().iter().all(|r| r.party == Party::Agent));

    let other = Api::<Pod>::namespaced(client, "kube-system").list(&ListParams::default()).await;
    assert!(matches!(other, Err(kube::Error::Api(status)) if status.code == 403));
    endpoint.shutdown().await;
}

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    let (gate, seen) = gate();
    let endpoint = open(&gate);
    let text = endpoint.kubeconfig();
    let token = text.lines().find_map(|l| l.trim().strip_prefix("token: ")).expect("a token").to_owned();
    assert_eq!(token.len(), 64);
    let second = open(&gate);
    let foreign =
        second.kubeconfig().lines().find_map(|l| l.trim().strip_prefix("token: ")).expect("a token").to_owned();
    for wrong in ["0".repeat(64), foreign, token[..63].to_owned()] {
        let client = client(&text.replace(&token, &wrong)).await;
        let error = list(&client).await.expect_err("refused");
        assert!(matches!(&error, kube::Error::Api(status) if status.code == 401), "{error}");
    }
    let without = text.replace(&format!("token: {token}"), "username: a\n    password: b");
    assert!(matches!(list(&client(&without).await).await, Err(kube::Error::Api(s)) if s.code == 401));
    assert!(seen.arrived().is_empty());
    assert!(seen.records().iter().all(|r| r.status == 401), "{:?}", seen.records());
}

#[tokio::test]
async fn watches_are_not_held_back() {
    let (lines, receiver) = tokio::sync::mpsc::channel(1);
    let (gate, _seen) = gate_before(streaming(receiver));
    let endpoint = open(&gate);
    let pods: Api<Pod> = Api::default_namespaced(client(endpoint.kubeconfig()).await);
    let mut events = pods.watch(&WatchParams::default(), "0").await.expect("a watch").boxed();
    for name in ["a", "b"] {
        let line = match name {
            "a" => {
                "{\"type\":\"ADDED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}}\n"
            }
            _ => {
                "{\"type\":\"ADDED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"b\"}}}\n"
            }
        };
        lines.send(line).await.expect("the server waits");
        // The next line is sent only after this one has arrived: buffering anywhere would hang here.
        let event = events.try_next().await.expect("no error").expect("an event");
        assert!(matches!(event, WatchEvent::Added(pod) if pod.metadata.name.as_deref() == Some(name)));
    }
    // The server holds the watch open; closing the endpoint ends it.
    endpoint.shutdown().await;
    assert!(!matches!(events.try_next().await, Ok(Some(_))));
    assert!(lines.send("late").await.is_err(), "the request to the API server has ended too");
}

#[tokio::test]
async fn logs_stream_line_by_line() {
    let (lines, receiver) = tokio::sync::mpsc::channel(1);
    let (gate, _seen) = gate_before(streaming(receiver));
    let endpoint = open(&gate);
    let pods: Api<Pod> = Api::default_namespaced(client(endpoint.kubeconfig()).await);
    let follow = LogParams { follow: true, ..LogParams::default() };
    let mut log = pods.log_stream("a", &follow).await.expect("a log").lines();
    for line in ["one\n", "two\n"] {
        lines.send(line).await.expect("the server waits");
        assert_eq!(log.try_next().await.expect("no error").as_deref(), Some(line.trim_end()));
    }
}

#[tokio::test]
async fn a_closed_endpoint_takes_nobody() {
    let (gate, _seen) = gate();
    let endpoint = open(&gate);
    let address = endpoint.address();
    let client = client(endpoint.kubeconfig()).await;
    list(&client).await.expect("a list");
    // A connection that never speaks must not hold the endpoint up.
    let mut idle = tokio::net::TcpStream::connect(address).await.expect("connected");
    tokio::time::timeout(Duration::from_secs(10), endpoint.shutdown()).await.expect("closed soon");
    assert!(list(&client).await.is_err());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert!(matches!(idle.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn plain_http_gets_no_answer() {
    let (gate, seen) = gate();
    let endpoint = open(&gate);
    let mut stream = tokio::net::TcpStream::connect(endpoint.address()).await.expect("connected");
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    assert!(seen.records().is_empty());
}

pub(crate) fn credentials(kubeconfig: &str) -> (CertificateDer<'static>, String) {
    let value = |key: &str| kubeconfig.lines().find_map(|l| l.trim().strip_prefix(key)).expect("a value").to_owned();
    let ca = STANDARD.decode(value("certificate-authority-data: ")).expect("base64");
    (CertificateDer::from_pem_slice(&ca).expect("a certificate"), value("token: "))
}

pub(crate) async fn connect(endpoint: &Endpoint, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(credentials(endpoint.kubeconfig()).0).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(endpoint.address()).await?;
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn http2_carries_many_requests_at_once() {
    let (gate, seen) = gate();
    let endpoint = open(&gate);
    let stream = connect(&endpoint, b"h2").await.expect("connected");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("a handshake");
    let connection = tokio::spawn(connection);
    let token = credentials(endpoint.kubeconfig()).1;
    let one = |n: usize| {
        let mut sender = sender.clone();
        let request = Request::get(format!("https://x/api/v1/namespaces/c-1/pods/p{n}"))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default())
            .expect("a request");
        async move { sender.send_request(request).await.expect("an answer").status() }
    };
    let statuses = futures::future::join_all((0..50).map(one)).await;
    assert!(statuses.iter().all(|s| *s == 200), "{statuses:?}");
    assert_eq!(seen.records().len(), 50);
    assert!(seen.arrived().iter().all(|a| a.target.starts_with("/api/")), "only path and query go on");
    endpoint.shutdown().await;
    let _ = connection.await;
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_a_place() {
    let upstream = Upstream::new(tower::service_fn(|_: Request<Body>| async {
        Ok::<_, BoxError>(json_response(http::StatusCode::OK, &json!({"items": []})))
    }));
    let (gate, _seen) = gate_within(upstream, Limits { connections: 1, ..Limits::default() });
    let endpoint = open(&gate);
    let first = connect(&endpoint, b"http/1.1").await.expect("connected");
    let second = connect(&endpoint, b"http/1.1");
    let mut second = std::pin::pin!(second);
    assert!(tokio::time::timeout(Duration::from_millis(200), second.as_mut()).await.is_err(), "there is no place");
    drop(first);
    second.await.expect("now there is");
}

#[tokio::test]
async fn slow_and_oversized_requests_are_ended() {
    let upstream = Upstream::new(tower::service_fn(|_: Request<Body>| async {
        Ok::<_, BoxError>(json_response(http::StatusCode::OK, &json!({"items": []})))
    }));
    let limits =
        Limits { headers: Duration::from_millis(200), answer: Duration::from_millis(200), ..Limits::default() };
    let (gate, seen) = gate_within(upstream, limits);
    let endpoint = open(&gate);
    let token = credentials(endpoint.kubeconfig()).1;
    let line = format!("HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let heads = [
        // Headers that never end, a body that never comes, one that is announced too large, and heads without measure.
        (format!("GET /version {line}X-Slow: "), ""),
        (format!("POST /api/v1/namespaces/c-1/pods {line}Content-Length: 10\r\n\r\n{{"), " 408 "),
        (
            format!("POST /api/v1/namespaces/c-1/pods {line}Content-Length: 4000000\r\n\r\n{}", " ".repeat(4_000_000)),
            " 413 ",
        ),
        (format!("GET /version {line}X-Large: {}\r\n\r\n", "y".repeat(100_000)), " 431 "),
        (format!("GET /version {line}{many}\r\n"), " 431 "),
        (format!("GET /{} {line}\r\n", "a/".repeat(1500)), " 414 "),
    ];
    for (head, expected) in heads {
        let what: String = head.chars().take(120).collect();
        let (from, mut to) = tokio::io::split(connect(&endpoint, b"http/1.1").await.expect("connected"));
        // What is not read any more cannot be written to its end.
        let writing = tokio::spawn(async move {
            let _ = to.write_all(head.as_bytes()).await;
            to
        });
        let mut first = String::new();
        let mut from = tokio::io::BufReader::new(from);
        let read = tokio::io::AsyncBufReadExt::read_line(&mut from, &mut first);
        let ended = tokio::time::timeout(Duration::from_secs(10), read).await;
        assert!(ended.is_ok() && first.contains(expected), "{what}: {ended:?} {first:?}");
        drop(writing.await);
    }
    assert!(seen.records().iter().all(|r| r.decision == model::Decision::Refused), "{:?}", seen.records());
}

#[tokio::test]
async fn a_followed_log_ends_with_the_endpoint() {
    let (lines, receiver) = tokio::sync::mpsc::channel(1);
    let (gate, _seen) = gate_before(streaming(receiver));
    let endpoint = open(&gate);
    let pods: Api<Pod> = Api::default_namespaced(client(endpoint.kubeconfig()).await);
    let follow = LogParams { follow: true, ..LogParams::default() };
    let mut log = pods.log_stream("a", &follow).await.expect("a log").lines();
    lines.send("one\n").await.expect("the server waits");
    assert_eq!(log.try_next().await.expect("no error").as_deref(), Some("one"));
    endpoint.shutdown().await;
    assert!(!matches!(log.try_next().await, Ok(Some(_))));
    assert!(lines.send("late").await.is_err(), "the request to the API server has ended too");
}

#[tokio::test]
async fn a_certificate_of_another_gate_is_not_trusted() {
    let ((ours, _), (theirs, _)) = (gate(), gate());
    let (ours, theirs) = (open(&ours), open(&theirs));
    let mixed = ours.kubeconfig().replace(&ours.address().to_string(), &theirs.address().to_string());
    assert!(matches!(list(&client(&mixed).await).await, Err(kube::Error::HyperError(_) | kube::Error::Service(_))));
}
