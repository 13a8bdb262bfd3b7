//! One call of a webhook over HTTPS, and what came of it. Failures are worded as Go's client words them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The longest answer that is read.
const LONGEST: usize = 3 * 1024 * 1024;

/// A call to make.
#[derive(Debug)]
pub(crate) struct Call {
    /// By which the word is found again.
    pub(crate) key: String,
    pub(crate) url: String,
    pub(crate) seconds: u64,
    /// The `caBundle`, in base64.
    pub(crate) ca: String,
    /// The `request` of the review.
    pub(crate) request: Value,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The `response` of the review.
    pub(crate) response: Value,
    /// Why there is none.
    pub(crate) error: Option<String>,
}

impl Outcome {
    pub(crate) fn failed(why: String) -> Self {
        Self { response: Value::Null, error: Some(why) }
    }
}

/// Makes a call; takes no longer than it may.
pub(crate) async fn make(call: &Call) -> Outcome {
    let limit = Duration::from_secs(call.seconds);
    match tokio::time::timeout(limit, post(call)).await {
        Ok(Ok(response)) => Outcome { response, error: None },
        Ok(Err(why)) => Outcome::failed(why),
        Err(_) => Outcome::failed("context deadline exceeded".to_owned()),
    }
}

async fn post(call: &Call) -> Result<Value, String> {
    let uri: Uri = call.url.parse().map_err(|error| format!("parse {:?}: {error}", call.url))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(443);
    let stream = connect(&host, port).await?;
    let connector = TlsConnector::from(Arc::new(trust(&call.ca)?));
    let name = ServerName::try_from(host.clone()).map_err(|_| format!("tls: invalid server name {host:?}"))?;
    let stream = connector.connect(name, stream).await.map_err(|error| tls_error(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let body = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": call.request});
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let request = Request::post(path)
        .header(header::HOST, uri.authority().map(http::uri::Authority::as_str).unwrap_or_default())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, */*")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|_| "EOF".to_owned());
    let result = match answer {
        Ok(answer) => read(answer, call).await,
        Err(error) => Err(error),
    };
    connection.abort();
    result
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|_| format!("dial tcp: lookup {host}: no such host"))?
        .collect();
    let mut last = format!("dial tcp: lookup {host}: no such host");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let why = match error.kind() {
                    ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                    ErrorKind::TimedOut => "connection timed out".to_owned(),
                    ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
                    ErrorKind::HostUnreachable => "no route to host".to_owned(),
                    _ => error.to_string(),
                };
                last = format!("dial tcp {address}: connect: {why}");
            }
        }
    }
    Err(last)
}

/// Trusts the bundle of the configuration alone.
fn trust(bundle: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let pem = base64::engine::general_purpose::STANDARD
        .decode(bundle)
        .map_err(|error| format!("unable to load root certificates: {error}"))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("unable to load root certificates: {error}"))?;
        roots.add(certificate).map_err(|error| format!("unable to load root certificates: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn tls_error(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(why)) => format!("tls: failed to verify certificate: x509: {why}"),
        Some(rustls::Error::InvalidMessage(_)) => "http: server gave HTTP response to HTTPS client".to_owned(),
        Some(other) => format!("tls: {other}"),
        None if error.kind() == ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => error.to_string(),
    }
}

async fn read(answer: http::Response<hyper::body::Incoming>, call: &Call) -> Result<Value, String> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST);
    let bytes = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    if !status.is_success() {
        let shown: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        return Err(if status.as_u16() == 404 {
            "the server could not find the requested resource".to_owned()
        } else {
            format!("an error on the server ({shown:?}) has prevented the request from succeeding")
        });
    }
    let review: Value = serde_json::from_slice(&bytes)
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    if response["uid"] != call.request["uid"] {
        return Err(format!("expected response.uid={}, got {}", call.request["uid"], response["uid"]));
    }
    Ok(response.clone())
}
