//! The Lease of a run: as long as it is renewed, whatever carries its name as a label belongs to somebody who is alive.

use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, WallClock};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::watch;

/// Where Leases of runs are.
pub(crate) const NAMESPACE: &str = "default";
/// How long a Lease holds after it was renewed.
const DURATION: Duration = Duration::from_secs(60);
/// Between two renewals.
pub(crate) const RENEW: Duration = Duration::from_secs(15);
/// After a renewal that failed.
const AGAIN: Duration = Duration::from_secs(3);
/// For one request.
const REQUEST: Duration = Duration::from_secs(10);

/// The Lease that stands for what carries this label. A label is the name of the run's Lease, `r-` and digits, and may
/// have a part of its own behind that for the case.
pub fn lease_of(label: &str) -> &str {
    let end = label.match_indices('-').nth(1).map_or(label.len(), |(at, _)| at);
    &label[..end]
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// There is none.
    Absent,
    /// It was not renewed in its time.
    Expired,
    /// Somebody holds it.
    Held {
        /// Who, in words of its own.
        holder: String,
        /// If it is not renewed.
        until: Timestamp,
    },
}

/// Why a Lease is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else has it.
    #[error("the Lease `{name}` is held by {holder} until {until}")]
    Held {
        /// Its name.
        name: String,
        /// Who has it.
        holder: String,
        /// If it is not renewed.
        until: Timestamp,
    },
    /// The cluster refused or broke.
    #[error("the Lease `{name}`: {source}")]
    Cluster {
        /// Its name.
        name: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// The cluster did not answer.
    #[error("the Lease `{name}`: no answer within {} s", REQUEST.as_secs())]
    Silent {
        /// Its name.
        name: String,
    },
}

/// A Lease that this process holds. It is renewed in the background until it is released or dropped; one that is dropped
/// expires by itself. A cluster that is gone for a while does not end it.
#[derive(Debug)]
pub struct RunLease {
    leases: Leases,
    name: String,
    stop: watch::Sender<bool>,
    renewing: tokio::task::JoinHandle<()>,
}

impl RunLease {
    /// Takes the Lease of this name, which nobody may hold. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn hold(client: kube::Client, name: &str, holder: &str) -> Result<Self, LeaseError> {
        Self::hold_by(Leases::new(client, Arc::new(WallClock)), name, holder).await
    }

    pub(crate) async fn hold_by(leases: Leases, name: &str, holder: &str) -> Result<Self, LeaseError> {
        let since = leases.clock.now();
        leases.take(name, holder).await?;
        let (stop, stopped) = watch::channel(false);
        let renewing = tokio::spawn(leases.clone().renew(name.to_owned(), holder.to_owned(), since, stopped));
        Ok(Self { leases, name: name.to_owned(), stop, renewing })
    }

    /// Its name, which is the value of the label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives it back. Until then nobody else may remove what carries the label.
    ///
    /// # Errors
    /// It could not be deleted; it expires by itself then.
    pub async fn release(mut self) -> Result<(), LeaseError> {
        self.stop.send_replace(true);
        // An error means that it has ended already.
        let _ = (&mut self.renewing).await;
        self.leases.delete(&self.name).await
    }
}

impl Drop for RunLease {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// The state of a Lease, by this machine's clock.
///
/// # Errors
/// The cluster refused, broke, or did not answer.
pub async fn lease_state(client: &kube::Client, name: &str) -> Result<LeaseState, LeaseError> {
    Leases::new(client.clone(), Arc::new(WallClock)).state(name).await
}

/// Deletes the Lease of a run that is known to be dead, whoever it says holds it.
///
/// # Errors
/// The cluster refused, broke, or did not answer.
pub async fn remove_lease(client: &kube::Client, name: &str) -> Result<(), LeaseError> {
    Leases::new(client.clone(), Arc::new(WallClock)).delete(name).await
}

/// The Leases of a cluster, by one clock.
#[derive(Clone)]
pub(crate) struct Leases {
    api: Api<Lease>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Leases {
    pub(crate) fn new(client: kube::Client, clock: Arc<dyn Clock>) -> Self {
        Self { api: Api::namespaced(client, NAMESPACE), clock }
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        bounded(name, self.api.get_opt(name)).await
    }

    pub(crate) async fn state(&self, name: &str) -> Result<LeaseState, LeaseError> {
        Ok(self.get(name).await?.map_or(LeaseState::Absent, |lease| self.state_of(&lease)))
    }

    /// One without a time was never renewed.
    pub(crate) fn state_of(&self, lease: &Lease) -> LeaseState {
        let spec = lease.spec.clone().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.unwrap_or_default();
        let until =
            spec.renew_time.and_then(|time| time.0.checked_add(jiff::SignedDuration::from_secs(seconds.into())).ok());
        match until {
            Some(until) if until > self.clock.now() => {
                LeaseState::Held { holder: spec.holder_identity.unwrap_or_default(), until }
            }
            _ => LeaseState::Expired,
        }
    }

    /// Makes it, or takes one that has expired: the version that was read is the version that is replaced, so of two who
    /// try at once one is refused.
    pub(crate) async fn take(&self, name: &str, holder: &str) -> Result<(), LeaseError> {
        let mut lease = self.written(name, holder);
        match bounded(name, self.api.create(&PostParams::default(), &lease)).await {
            Err(error) if error.code() == Some(409) => {}
            done => return done.map(drop),
        }
        let Some(found) = self.get(name).await? else { return self.held(name, None) };
        match self.state_of(&found) {
            LeaseState::Held { holder, until } => return self.held(name, Some((holder, until))),
            LeaseState::Absent | LeaseState::Expired => {}
        }
        lease.metadata.resource_version = found.metadata.resource_version;
        match bounded(name, self.api.replace(name, &PostParams::default(), &lease)).await {
            Err(error) if matches!(error.code(), Some(404 | 409)) => self.held(name, None),
            done => done.map(drop),
        }
    }

    fn held<T>(&self, name: &str, by: Option<(String, Timestamp)>) -> Result<T, LeaseError> {
        let (holder, until) = by.unwrap_or_else(|| ("somebody who was quicker".to_owned(), self.clock.now()));
        Err(LeaseError::Held { name: name.to_owned(), holder, until })
    }

    fn written(&self, name: &str, holder: &str) -> Lease {
        let now = self.now();
        Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([(gate::LABEL.to_owned(), name.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }

    /// As Kubernetes stores it: microseconds.
    fn now(&self) -> MicroTime {
        let now = self.clock.now();
        MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now))
    }

    /// `since` is when it was taken. What counts is when a renewal began, not when its answer came.
    async fn renew(self, name: String, holder: String, mut since: Timestamp, mut stopped: watch::Receiver<bool>) {
        let mut pause = RENEW;
        loop {
            let next = since.checked_add(pause).unwrap_or(Timestamp::MAX);
            tokio::select! {
                // First: one that was given back is not renewed once more.
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = self.clock.sleep_until(next) => {}
            }
            since = self.clock.now();
            pause = match self.renewed(&name, &holder).await {
                Ok(()) => RENEW,
                Err(error) => {
                    tracing::warn!(%error, "a Lease could not be renewed; trying again");
                    AGAIN
                }
            };
        }
    }

    /// One that somebody has deleted meanwhile is made again: the run is alive.
    async fn renewed(&self, name: &str, holder: &str) -> Result<(), LeaseError> {
        let time = json!({"spec": {"renewTime": self.now()}});
        let patch = Patch::Merge(&time);
        match bounded(name, self.api.patch(name, &PatchParams::default(), &patch)).await {
            Err(error) if error.code() == Some(404) => self.take(name, holder).await,
            done => done.map(drop),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), LeaseError> {
        match bounded(name, self.api.delete(name, &DeleteParams::default())).await {
            Err(error) if error.code() == Some(404) => Ok(()),
            done => done.map(drop),
        }
    }
}

impl LeaseError {
    /// The status code that the API server answered with.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Cluster { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }
}

async fn bounded<T>(name: &str, work: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
    let name = name.to_owned();
    match tokio::time::timeout(REQUEST, work).await {
        Ok(done) => done.map_err(|source| LeaseError::Cluster { name, source: Box::new(source) }),
        Err(_) => Err(LeaseError::Silent { name }),
    }
}
