//! A cluster over the network: TLS on loopback, HTTP/1.1 and HTTP/2, one token. For kubectl, scripts and clusters as
//! processes of their own. While it is served, cluster time follows the wall.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clock::WallGuard;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::body::Body;
use crate::cluster::Cluster;
use crate::driver::{Held, Holds};
use crate::error::ApiError;
use crate::{Identity, respond};

/// Why a cluster could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// No certificate could be made.
    #[error("cannot make a certificate for the API server: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate was not taken.
    #[error("cannot set up TLS for the API server: {0}")]
    Tls(#[from] rustls::Error),
}

/// A served cluster. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    authority: String,
    token: String,
    stop: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
    _wall: WallGuard,
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bearer token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The certificate of its authority, in PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A kubeconfig with the token in it, in YAML.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: embedded\nclusters:\n- name: embedded\n  cluster:\n    server: https://{}\n    certificate-authority-data: {}\ncontexts:\n- name: embedded\n  context:\n    cluster: embedded\n    namespace: default\n    user: admin\nusers:\n- name: admin\n  user:\n    token: {}\n",
            self.address,
            STANDARD.encode(&self.authority),
            self.token
        )
    }

    /// Ends the listener and every connection.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        // An error means that it has ended already.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.accepting.abort();
    }
}

struct Certificates {
    authority: String,
    config: ServerConfig,
}

fn certificates() -> Result<Certificates, ServeError> {
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "kubernetes");
    authority.key_usages.extend([KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign]);
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);
    let names = ["localhost", "127.0.0.1", "::1", "kubernetes"].map(str::to_owned);
    let mut server = CertificateParams::new(names.to_vec())?;
    server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    server.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &issuer)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certificates { authority: authority_certificate.pem(), config })
}

/// Who may ask without a token: probes, and clients that look for the version.
fn is_public(path: &str) -> bool {
    ["/version", "/healthz", "/livez", "/readyz"].iter().any(|public| path == *public || path == format!("{public}/"))
}

/// Compares without telling by the time it takes how much is right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

async fn answer(cluster: Cluster, token: Arc<str>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let given = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec());
    let given = given.as_deref().and_then(|value| value.strip_prefix(b"Bearer "));
    let identity = match given {
        Some(given) if same(given, token.as_bytes()) => Identity::admin(),
        Some(given) => match std::str::from_utf8(given).ok().and_then(|token| cluster.identity_of(token)) {
            Some(identity) => identity,
            None => return Ok(respond::failure(&ApiError::new(401, "Unauthorized", "Unauthorized"))),
        },
        None if is_public(request.uri().path()) => {
            Identity { name: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
        }
        _ => return Ok(respond::failure(&ApiError::new(401, "Unauthorized", "Unauthorized"))),
    };
    Ok(cluster.handle(request, identity).await)
}

async fn connection(
    cluster: Cluster,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    token: Arc<str>,
    mut stop: watch::Receiver<bool>,
) {
    let _held = Held::new(cluster.shared(), Holds::External);
    // Small answers must not wait for more: watch events go out one by one.
    let _ = stream.set_nodelay(true);
    let served = async {
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let service = service_fn(|request| answer(cluster.clone(), Arc::clone(&token), request));
        let builder = Builder::new(TokioExecutor::new());
        if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "connection ended");
        }
    };
    tokio::select! {
        () = served => {}
        () = stopped(&mut stop) => {}
    }
}

/// Resolves when the server is to stop, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(
    cluster: Cluster,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    token: Arc<str>,
    stop: watch::Receiver<bool>,
) {
    let mut stopping = stop.clone();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (cluster, acceptor, token) = (cluster.clone(), acceptor.clone(), Arc::clone(&token));
                    connections.spawn(connection(cluster, acceptor, stream, token, stop.clone()));
                }
                // Out of descriptors, for the most part: those that end make room.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    connections.shutdown().await;
}

impl Cluster {
    /// Serves the cluster on `address` (port 0: any) until the server is dropped. Brings cluster time to the wall first
    /// and keeps it there.
    ///
    /// # Errors
    /// The address cannot be listened on; no certificate could be made.
    pub async fn serve(&self, address: SocketAddr) -> Result<Server, ServeError> {
        let Certificates { authority, config } = certificates()?;
        let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
        let address = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
        let wall = self.clock().keep_wall_time().await;
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let stop = watch::Sender::new(false);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let accepting =
            tokio::spawn(accept(self.clone(), listener, acceptor, Arc::from(token.as_str()), stop.subscribe()));
        Ok(Server { address, authority, token, stop, accepting, _wall: wall })
    }
}
