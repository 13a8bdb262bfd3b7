//! Clusters: what makes, hands out and removes them. One of the two crates that may hold the way into a real cluster
//! (the other is `gate`). It knows nothing of failures and agents.

mod connect;
mod embedded_provisioner;
mod kubeconfig;
mod lease;
#[cfg(test)]
mod manual_clock;
mod orphans;
mod stub_provisioner;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use clock::Clock;
use futures::future::BoxFuture;
use gate::{Site, Upstream};
use model::{ClusterKind, Endpoints};
use serde::{Deserialize, Serialize};

pub use connect::connect;
pub use embedded_provisioner::EmbeddedProvisioner;
pub use lease::{LeaseError, LeaseState, RunLease, lease_state, remove_lease};
pub use orphans::{Orphan, OrphanError, Removed, orphans, remove_orphans};
pub use stub_provisioner::StubProvisioner;

/// Why there is no cluster. [`ProvisionError::is_input`] tells an input that is wrong from a cluster that is not well.
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
    /// A kubeconfig cannot be used.
    #[error("kubeconfig {}: {why}", path.display())]
    Kubeconfig {
        /// The file, or several as in `$KUBECONFIG`.
        path: PathBuf,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A context leads elsewhere than it did.
    #[error("context `{context}` of {} leads to {now}; it led to {server}", path.display())]
    Moved {
        /// The file.
        path: PathBuf,
        /// The context.
        context: String,
        /// Where it led.
        server: String,
        /// Where it leads.
        now: String,
    },
    /// No credentials could be had, or the API server does not take them.
    #[error(
        "the API server {server} (context `{context}`) takes no requests of ours: {why}; renew the credentials of its \
         user in the kubeconfig"
    )]
    Credentials {
        /// Its address.
        server: String,
        /// The context.
        context: String,
        /// What was said.
        why: String,
    },
    /// The API server does not answer, or says that it is not ready.
    #[error(
        "the API server {server} (context `{context}`) cannot be used: {why}; check that the cluster is up and that this \
         machine reaches it"
    )]
    Unreachable {
        /// Its address.
        server: String,
        /// The context.
        context: String,
        /// What failed.
        why: String,
    },
}

impl ProvisionError {
    /// Whether a file that somebody wrote is at fault; otherwise it is the infrastructure.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Template { .. } | Self::Kubeconfig { .. } | Self::Moved { .. })
    }
}

/// The provisioners of this version.
pub const PROVISIONERS: &[&str] = &["embedded", "stub"];

/// What a matrix says of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source<'a> {
    /// One of [`PROVISIONERS`].
    pub provisioner: &'a str,
    /// For clusters that are made: from which template.
    pub template: Option<&'a str>,
    /// For existing clusters: the file; `~` is the home directory. None: `$KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<&'a str>,
    /// For existing clusters: the context in it. None: its current one.
    pub context: Option<&'a str>,
}

/// Makes and removes clusters of one sort.
pub trait Provisioner: Debug + Send + Sync {
    /// What kind its clusters are.
    fn kind(&self) -> ClusterKind;

    /// The cluster that is there already and that [`Provisioner::provision`] leads to, known without asking it; none when
    /// it makes clusters of its own. The operator must have named it.
    fn existing(&self) -> Option<&ClusterRef> {
        None
    }

    /// Makes a cluster that is ready for a case, or takes one that is. `seed` decides everything random in it.
    fn provision(&self, seed: u64) -> BoxFuture<'_, Result<Cluster, ProvisionError>>;
}

/// The provisioner that a matrix asks for. Reads a kubeconfig where one is named; contacts no cluster.
///
/// # Errors
/// [`ProvisionError::Unknown`], [`ProvisionError::Template`], [`ProvisionError::Kubeconfig`].
pub fn provisioner(source: &Source<'_>) -> Result<Arc<dyn Provisioner>, ProvisionError> {
    match source.provisioner {
        "embedded" => Ok(Arc::new(EmbeddedProvisioner::for_template(source.template)?)),
        "stub" => Ok(Arc::new(StubProvisioner::find(source.kubeconfig, source.context)?)),
        other => Err(ProvisionError::Unknown { name: other.to_owned() }),
    }
}

/// An existing cluster, so that another process finds it again. Holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterRef {
    /// The kubeconfig, absolute; several joined by `:` as in `$KUBECONFIG`.
    pub kubeconfig: PathBuf,
    /// The context in it.
    pub context: String,
    /// Where it leads, as [`gate::normal_server`] spells it.
    pub server: String,
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
    /// How to find it again; none when it dies with this process.
    pub reference: Option<ClusterRef>,
    /// Whether it was made for us and goes with us. Others must be put back.
    pub disposable: bool,
    /// Held for its Drop.
    _owned: Option<Box<dyn Send + Sync>>,
}

impl Cluster {
    /// A client of the harness's own, past the gate: for what belongs to a run and not to a case. Must be called inside a
    /// tokio runtime.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.upstream.clone(), "default")
    }

    /// As grants see it; `id` is its name in the matrix.
    pub fn site<'a>(&'a self, id: &'a str) -> Site<'a> {
        site(self.reference.as_ref(), id)
    }
}

/// A cluster as grants see it: an existing one by context and address, one that is made by its name in the matrix.
pub fn site<'a>(existing: Option<&'a ClusterRef>, id: &'a str) -> Site<'a> {
    existing.map_or(Site::made(id), |reference| Site::existing(&reference.context, &reference.server))
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("kind", &self.kind).field("reference", &self.reference).finish_non_exhaustive()
    }
}
