//! The way into an existing cluster: TLS and credentials as its kubeconfig says, and a short check that it is there.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use clock::WallClock;
use http::Request;
use kube::config::{Config, KubeConfigOptions};
use model::{ClusterKind, Endpoints};

use crate::{Address, Cluster, ClusterRef, ProvisionError, kubeconfig};

/// Until a connection is there.
const CONNECT: Duration = Duration::from_secs(5);
/// Until the API server has said that it is ready, connecting included.
const READY: Duration = Duration::from_secs(10);
/// For what makes credentials; it may be a program that asks somebody.
const CREDENTIALS: Duration = Duration::from_secs(30);
/// For all of it, and some for a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Finds a cluster again, in this process or a later one, and checks that it answers. It may take 40 s, for the most part
/// of programs that make credentials.
///
/// # Errors
/// [`ProvisionError::Kubeconfig`], [`ProvisionError::Moved`] when the context leads to another server by now,
/// [`ProvisionError::Credentials`], [`ProvisionError::Unreachable`].
pub async fn connect(reference: &ClusterRef) -> Result<Cluster, ProvisionError> {
    let client = client(reference).await?;
    let address = Address { server: reference.server.clone(), context: reference.context.clone() };
    ready(&client, &address).await?;
    Ok(Cluster {
        kind: ClusterKind::Stub,
        upstream: gate::upstream(client),
        clock: Arc::new(WallClock),
        endpoints: Endpoints::default(),
        name: reference.context.clone(),
        reference: Some(reference.clone()),
        disposable: false,
        address,
        freeze: None,
        _owned: None,
    })
}

pub(crate) async fn client(reference: &ClusterRef) -> Result<kube::Client, ProvisionError> {
    let credentials = |why: String| ProvisionError::Credentials {
        server: reference.server.clone(),
        context: reference.context.clone(),
        why,
    };
    let (config, now) = kubeconfig::read(&reference.kubeconfig, Some(&reference.context))?;
    if now.server != reference.server {
        return Err(ProvisionError::Moved {
            path: reference.kubeconfig.clone(),
            context: reference.context.clone(),
            server: reference.server.clone(),
            now: now.server,
        });
    }
    let fault = |why| ProvisionError::Kubeconfig { path: reference.kubeconfig.clone(), why };
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| fault(chain(&error)))?;
    config.connect_timeout = Some(CONNECT);
    // The gate stands below the retries of clients: it must see every answer, or a write may be sent twice.
    config.default_retry = false;
    // Of this machine's environment; a proxy that the kubeconfig itself asks for was refused when it was read.
    config.proxy_url = None;
    // A program of the kubeconfig may make the credentials, and kube waits for it.
    let made = tokio::task::spawn_blocking(move || kube::Client::try_from(config));
    match tokio::time::timeout(CREDENTIALS, made).await {
        Ok(Ok(Ok(client))) => Ok(client),
        Ok(Ok(Err(kube::Error::Auth(error)))) => Err(credentials(chain(&error))),
        Ok(Ok(Err(error))) => Err(fault(chain(&error))),
        Ok(Err(error)) => Err(credentials(error.to_string())),
        Err(_) => Err(credentials(format!("none were made within {} s", CREDENTIALS.as_secs()))),
    }
}

/// Whether the API server is there, takes our credentials, and is ready to work.
pub(crate) async fn ready(client: &kube::Client, address: &Address) -> Result<(), ProvisionError> {
    let Address { server, context } = address.clone();
    let asked = async {
        match get(client, "/readyz").await {
            // Some clusters show it to few.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => get(client, "/version").await,
            answered => answered,
        }
    };
    match tokio::time::timeout(READY, asked).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            Err(ProvisionError::Credentials { server, context, why: format!("{} {}", status.code, status.message) })
        }
        Ok(Err(kube::Error::Auth(error))) => Err(ProvisionError::Credentials { server, context, why: chain(&error) }),
        Ok(Err(kube::Error::Api(status))) => {
            let said = status.message.lines().next().unwrap_or_default().to_owned();
            let why = format!("it is not ready ({} {said})", status.code);
            Err(ProvisionError::Unreachable { server, context, why })
        }
        Ok(Err(error)) => Err(ProvisionError::Unreachable { server, context, why: root(&error) }),
        Err(_) => {
            let why = format!("no answer within {} s", READY.as_secs());
            Err(ProvisionError::Unreachable { server, context, why })
        }
    }
}

async fn get(client: &kube::Client, path: &str) -> Result<(), kube::Error> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

/// An error with its causes, each once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

/// What it comes from: what stands between is of the HTTP client's making.
fn root(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}
