//! The embedded cluster as a provisioner. Every lease is a cluster of its own: it starts in milliseconds, and its clock,
//! once it has hurried past wall time after an agent, could not be brought back for the next one.

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use embedded::{Identity, Options};
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{ClusterKind, Endpoints};
use tower::BoxError;

use crate::{Address, Cluster, ProvisionError, ProvisionRequest, Provisioner};

/// The only template so far.
const TEMPLATES: &[&str] = &["single-node"];

/// Makes embedded clusters.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedProvisioner;

impl EmbeddedProvisioner {
    /// A provisioner of this template; `single-node` without one.
    ///
    /// # Errors
    /// [`ProvisionError::Template`].
    pub fn for_template(template: Option<&str>) -> Result<Self, ProvisionError> {
        match template {
            Some(unknown) if !TEMPLATES.contains(&unknown) => Err(ProvisionError::Template {
                provisioner: "embedded",
                template: unknown.to_owned(),
                available: TEMPLATES.join(", "),
            }),
            _ => Ok(Self),
        }
    }
}

impl Provisioner for EmbeddedProvisioner {
    fn kind(&self) -> ClusterKind {
        ClusterKind::Embedded
    }

    fn reusable(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn provision(&self, request: ProvisionRequest) -> BoxFuture<'_, Result<Cluster, ProvisionError>> {
        async move {
            let ProvisionRequest { name, seed } = request;
            let cluster = embedded::Cluster::start(Options { seed, ..Options::default() });
            let clock: Arc<dyn Clock> = cluster.clock();
            let (server, frozen) = (cluster.clone(), cluster.clone());
            let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
                let server = server.clone();
                async move { Ok::<_, BoxError>(server.handle(request, Identity::admin()).await) }
            });
            Ok(Cluster {
                kind: ClusterKind::Embedded,
                upstream: gate::upstream(kube::Client::new(service, "default")),
                clock,
                endpoints: Endpoints::default(),
                address: Address { server: "embedded".to_owned(), context: name.clone() },
                name,
                reference: None,
                disposable: true,
                freeze: Some(Arc::new(move || frozen.freeze())),
                _owned: Some(Box::new(cluster)),
            })
        }
        .boxed()
    }
}
