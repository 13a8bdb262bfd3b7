//! Clusters: what makes, hands out and removes them. One of the two crates that may hold the way into a real cluster
//! (the other is `gate`). It knows nothing of failures and agents.

mod claim;
mod connect;
mod embedded_provisioner;
mod error;
mod kind;
mod kubeconfig;
mod lease;
#[cfg(test)]
mod manual_clock;
mod orphans;
mod stub_provisioner;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use futures::FutureExt;
use futures::future::BoxFuture;
use gate::{Site, Upstream};
use model::{ClusterKind, Endpoints};
use serde::{Deserialize, Serialize};

pub use connect::connect;
pub use embedded_provisioner::EmbeddedProvisioner;
pub use error::ProvisionError;
pub use kind::{KindHost, KindProvisioner, KindTimes};
pub use lease::{LeaseError, LeaseState, RunLease, lease_of, lease_state, remove_lease};
pub use orphans::{Orphan, OrphanError, Removed, orphans, remove_orphans};
pub use stub_provisioner::StubProvisioner;

/// The provisioners of this version.
pub const PROVISIONERS: &[&str] = &["embedded", "stub", "kind"];

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

/// What the names of clusters begin with that outlive the process that makes them.
pub const NAME_PREFIX: &str = "harness-";

/// What is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionRequest {
    /// Its name, unique on this machine: [`NAME_PREFIX`] and more, a DNS label of at most 50 characters. Agents can see
    /// it, so it tells nothing of what is tested.
    pub name: String,
    /// Everything random in it follows from this, as far as the provisioner decides it.
    pub seed: u64,
}

/// Makes and removes clusters of one sort. Several may be made at a time.
pub trait Provisioner: Debug + Send + Sync {
    /// What kind its clusters are.
    fn kind(&self) -> ClusterKind;

    /// The cluster that is there already and that [`Provisioner::provision`] leads to, known without asking it; none when
    /// it makes clusters of its own. The operator must have named it.
    fn existing(&self) -> Option<&ClusterRef> {
        None
    }

    /// How many of its clusters there can be at a time; none: as many as the machine bears.
    fn at_most(&self) -> Option<usize> {
        self.existing().map(|_| 1)
    }

    /// Whether a case may get the cluster of another one that has been put back. Where not, each needs one of its own.
    fn reusable(&self) -> bool;

    /// The longest that [`Provisioner::provision`] takes, cleaning up after itself included.
    fn patience(&self) -> Duration;

    /// Makes a cluster that is ready for a case, or takes one that is there. Of one that could not be made nothing is
    /// left, or the error says what.
    ///
    /// Whoever drops the future before its end must call [`Provisioner::abandon`]: its processes are ended by dropping,
    /// but what they had made by then is not removed by it. Where nobody does, [`sweep`] finds it later.
    fn provision(&self, request: ProvisionRequest) -> BoxFuture<'_, Result<Cluster, ProvisionError>>;

    /// Whether it is fit for a case: it answers, takes our credentials, and says that it is ready. Within some seconds, on
    /// wall time.
    fn status<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, Result<(), ProvisionError>> {
        cluster.ready().boxed()
    }

    /// Gives the cluster back: one that was made is removed, an existing one stays as it is. Bounded in time. What could
    /// not be removed stays known to [`sweep`].
    fn teardown(&self, cluster: Cluster) -> BoxFuture<'_, Result<(), ProvisionError>> {
        drop(cluster);
        async { Ok(()) }.boxed()
    }

    /// Removes whatever there is under a name that [`Provisioner::provision`] was given and that it did not return a
    /// cluster for. Nothing there is no error. Bounded in time.
    fn abandon<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<(), ProvisionError>> {
        async { Ok(()) }.boxed()
    }
}

/// The provisioner that a matrix asks for. Reads a kubeconfig where one is named; contacts no cluster.
///
/// # Errors
/// [`ProvisionError::Unknown`], [`ProvisionError::Template`], [`ProvisionError::Kubeconfig`].
pub fn provisioner(source: &Source<'_>) -> Result<Arc<dyn Provisioner>, ProvisionError> {
    match source.provisioner {
        "embedded" => Ok(Arc::new(EmbeddedProvisioner::for_template(source.template)?)),
        "kind" => Ok(Arc::new(KindProvisioner::for_template(source.template, KindHost::of_process())?)),
        "stub" => Ok(Arc::new(StubProvisioner::find(source.kubeconfig, source.context)?)),
        other => Err(ProvisionError::Unknown { name: other.to_owned() }),
    }
}

/// What became of a cluster that an earlier run had left.
#[derive(Debug)]
pub struct Swept {
    /// Its name.
    pub name: String,
    /// Whether it is gone now; if not, the next sweep tries again.
    pub removed: Result<(), ProvisionError>,
}

/// Removes the clusters that processes of this user had made on this machine and left when they were killed. Those of
/// processes that live are not touched, whatever results they write. Costs nothing where there are none; may be called
/// again and at the same time by others.
pub async fn sweep() -> Vec<Swept> {
    KindHost::of_process().sweep().await
}

/// The kind clusters with names of ours that no process of this user on this machine has made. They may be another user's
/// or machine's, at work or not, so only a human can tell whether they may go. None where there is no `kind`.
///
/// # Errors
/// `kind` does not answer.
pub async fn unclaimed() -> Result<Vec<String>, ProvisionError> {
    KindHost::of_process().unclaimed().await
}

/// Where the clusters that this user's processes make are written down.
pub fn claims_folder() -> Option<PathBuf> {
    KindHost::of_process().claims
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

/// Stops what makes the objects of a cluster behave: controllers, scheduler, nodes.
pub type Freeze = Arc<dyn Fn() + Send + Sync>;

/// A cluster that is up. An embedded one ends when it is dropped; others go by [`Provisioner::teardown`].
pub struct Cluster {
    /// What kind it is.
    pub kind: ClusterKind,
    /// The way in, without any check: for the gate alone.
    pub upstream: Upstream,
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// Services beside the API server.
    pub endpoints: Endpoints,
    /// What [`ProvisionRequest::name`] said; of an existing one its context.
    pub name: String,
    /// How another process finds it again to put it back. None when it goes with this process: it ends with it, or is
    /// removed by [`sweep`], so nobody else needs a journal of what was done to it.
    pub reference: Option<ClusterRef>,
    /// Whether it was made for us and goes with us. Others must be put back.
    pub disposable: bool,
    /// Stops everything that makes objects behave, for good; none where nobody can.
    pub freeze: Option<Freeze>,
    /// For messages.
    address: Address,
    /// Held for its Drop.
    _owned: Option<Box<dyn Send + Sync>>,
}

/// Where a cluster is, as messages say it.
#[derive(Clone, Debug)]
struct Address {
    server: String,
    context: String,
}

impl Cluster {
    /// A client of the harness's own, past the gate: for what belongs to a run and not to a case. Must be called inside a
    /// tokio runtime.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.upstream.clone(), "default")
    }

    async fn ready(&self) -> Result<(), ProvisionError> {
        connect::ready(&self.client(), &self.address).await
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
        f.debug_struct("Cluster").field("kind", &self.kind).field("name", &self.name).finish_non_exhaustive()
    }
}
