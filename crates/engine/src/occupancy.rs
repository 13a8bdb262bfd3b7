//! What a run holds of clusters that outlive it: a Lease on each, so that nobody takes what it made for an orphan, and the
//! word that one must not be used until it is put back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cluster::{Cluster, RunLease};
use sha2::{Digest, Sha256};

use crate::record::End;

/// See the module.
#[derive(Debug)]
pub(crate) struct Occupancy {
    label: String,
    leases: tokio::sync::Mutex<BTreeMap<String, RunLease>>,
    quarantined: Mutex<BTreeMap<String, String>>,
}

impl Occupancy {
    /// For the run of this id; nothing that an agent sees tells which run it is.
    pub(crate) fn of_run(run: &str) -> Self {
        Self { label: label_of(run), leases: Default::default(), quarantined: Mutex::default() }
    }

    /// The name of the run's Leases.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Value of the label on everything that is made in a case: the run's, and what tells its cases apart where several
    /// are at work on one cluster. [`cluster::lease_of`] leads back.
    pub(crate) fn case_label(&self, seed: u64) -> String {
        format!("{}-{:05x}", self.label, (seed >> 40) & 0xf_ffff)
    }

    /// Puts the run's Lease on the cluster, once.
    pub(crate) async fn occupy(&self, cluster: &Cluster) -> Result<(), End> {
        let Some(reference) = &cluster.reference else { return Ok(()) };
        if let Some(why) = self.quarantined.lock().unwrap_or_else(PoisonError::into_inner).get(&reference.server) {
            return Err(End::infrastructure(format!(
                "the cluster at {} is not as it was ({why}); `harness-cli recover` tries to put it back",
                reference.server
            )));
        }
        let mut leases = self.leases.lock().await;
        if leases.contains_key(&reference.server) {
            return Ok(());
        }
        let lease = RunLease::hold(cluster.client(), &self.label, &label_of(&format!("{}/holder", self.label))).await;
        let lease = lease.map_err(|error| End::infrastructure(format!("the Lease on the cluster: {error}")))?;
        leases.insert(reference.server.clone(), lease);
        Ok(())
    }

    /// No case may use this cluster until somebody has put it back.
    pub(crate) fn quarantine(&self, cluster: &str, why: String) {
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner).insert(cluster.to_owned(), why);
    }

    /// Gives every cluster back.
    pub(crate) async fn release(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let leases = std::mem::take(&mut *self.leases.lock().await);
        for (server, lease) in leases {
            if let Err(error) = lease.release().await {
                problems.push(format!("the Lease on the cluster at {server} could not be deleted: {error}"));
            }
        }
        problems
    }
}

/// An opaque name: the first ten hexadecimal digits of a digest.
pub(crate) fn label_of(what: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(what.as_bytes()));
    digest.truncate(10);
    format!("r-{digest}")
}
