//! Clusters: what makes, hands out and removes them. One of the two crates that may hold the way into a real cluster
//! (the other is `gate`). It knows nothing of failures and agents.

mod embedded_provisioner;

use std::fmt::Debug;
use std::sync::Arc;

use clock::Clock;
use futures::future::BoxFuture;
use gate::Upstream;
use model::{ClusterKind, Endpoints};

pub use embedded_provisioner::EmbeddedProvisioner;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The matrix names a provisioner that this version does not have.
    #[error("provisioner `{name}` is not available in this version; available: {}", PROVISIONERS.join(", "))]
    Unknown {
        /// As the matrix names it.
        name: String,
    },
    /// The template is none that the provisioner has.
    #[error("provisioner `{provisioner}` has no template `{template}`; it has: {available}")]
    Template {
        /// The provisioner.
        provisioner: &'static str,
        /// As the matrix names it.
        template: String,
        /// Comma-separated.
        available: String,
    },
    /// The cluster did not come up.
    #[error("the cluster did not come up: {0}")]
    Failed(String),
}

/// The provisioners of this version.
pub const PROVISIONERS: &[&str] = &["embedded"];

/// Makes and removes clusters of one sort.
pub trait Provisioner: Debug + Send + Sync {
    /// What kind its clusters are.
    fn kind(&self) -> ClusterKind;

    /// Makes a cluster that is ready for a case, or takes one that is. `seed` decides everything random in it.
    fn provision(&self, seed: u64) -> BoxFuture<'_, Result<Cluster, ProvisionError>>;
}

/// The provisioner of this name, set up from the template that the matrix names.
///
/// # Errors
/// [`ProvisionError::Unknown`], [`ProvisionError::Template`].
pub fn provisioner(name: &str, template: Option<&str>) -> Result<Arc<dyn Provisioner>, ProvisionError> {
    match name {
        "embedded" => Ok(Arc::new(EmbeddedProvisioner::for_template(template)?)),
        other => Err(ProvisionError::Unknown { name: other.to_owned() }),
    }
}

/// A cluster that is up. Dropping it gives it back: an embedded one ends.
pub struct Cluster {
    /// What kind it is.
    pub kind: ClusterKind,
    /// The way in, without any check: for the gate alone.
    pub upstream: Upstream,
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// Services beside the API server.
    pub endpoints: Endpoints,
    /// Held for its Drop.
    _owned: Option<Box<dyn Send + Sync>>,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("kind", &self.kind).finish_non_exhaustive()
    }
}
