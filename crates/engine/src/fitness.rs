//! The proof that a failure is fit to judge agents with: it takes hold, only a repair passes, and nothing is left. A row of
//! cases with deeds in place of an agent, on an existing cluster side by side in namespaces of their own; what becomes of each
//! is one check, with what to change where it fails.

mod deeds;
mod power;
mod proof;
mod slots;
mod stage;
mod trial;

use std::sync::Arc;
use std::time::Instant;

use catalog::Failure;
use cluster::Provisioner;
use gate::{FailureGrant, Grants, Hazard, Power};
use model::{ClusterKind, Id};
use serde::Serialize;

pub use slots::Slots;
pub use stage::{Step, Tell};

use crate::{Cancel, Setting};

/// What to prove, and where.
#[derive(Debug)]
pub struct FitnessRequest {
    /// With what.
    pub setting: Setting,
    /// The failure.
    pub failure: Failure,
    /// What makes the clusters, or leads to the one that is there.
    pub provisioner: Arc<dyn Provisioner>,
    /// Its name for grants.
    pub cluster: Id,
    /// Everything random follows from it.
    pub seed: u64,
    /// The places on the cluster, which all proofs there share.
    pub slots: Slots,
    /// Leaves out everything that must not pass but doing nothing.
    pub quick: bool,
    /// Hears what goes on, where that takes real time.
    pub tell: Option<Tell>,
    /// Ends the proof early, with everything put back.
    pub cancel: Cancel,
}

/// What one check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// It holds.
    Pass,
    /// It does not, and the failure is unfit.
    Fail,
    /// It could not be looked at.
    Skipped,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FitnessCheck {
    /// What was looked at.
    pub name: String,
    /// What it came to.
    pub result: Proof,
    /// Why, in one sentence.
    pub because: String,
    /// JSON pointer into metadata.yaml: what is to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to change there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
}

/// The cluster of a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProvedOn {
    /// A proof holds for this kind of cluster.
    pub kind: ClusterKind,
    /// As its API server says it, `v1.36.2`; empty where it did not.
    pub version: String,
}

/// What a proof came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every check that could be made holds.
    Fit,
    /// Some check does not hold.
    Unfit,
    /// It could not be tested here.
    Untested,
    /// A cluster could not be put back.
    Leak,
}

/// The proof of one failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fitness {
    /// The failure.
    pub id: String,
    /// `sha256:…` over its package.
    pub digest: String,
    /// What it came to.
    pub verdict: Verdict,
    /// Where; none when there was no cluster.
    pub cluster: Option<ProvedOn>,
    /// In the order in which they were made.
    pub checks: Vec<FitnessCheck>,
    /// Wall time.
    pub duration_ms: u64,
}

/// Grants that give a failure all that it declares, whatever its parameters are, but for one word of `unsafe`: for its
/// proof on a cluster that lives in this process alone, and goes with it.
pub fn granting_declared(grants: &Grants, failure: &Failure, without: Option<Hazard>) -> Grants {
    let mut grants = grants.clone();
    let mine = |grant: &FailureGrant| grant.id == failure.id().as_str();
    // A script of a stranger would run on this machine: that is for the operator alone to say.
    let script = grants.failures.iter().any(|grant| mine(grant) && grant.hazards.contains(&Hazard::HostScript));
    let Power { mut rules, mut hazards } = Power::from(&failure.metadata.capabilities);
    for rule in rules.iter_mut().filter(|rule| rule.resource_names.iter().any(|name| name.starts_with("$("))) {
        rule.resource_names.clear();
    }
    hazards.extend(script.then_some(Hazard::HostScript));
    hazards.retain(|hazard| Some(*hazard) != without);
    grants.failures.retain(|grant| !mine(grant));
    grants.failures.push(FailureGrant {
        id: failure.id().to_string(),
        digest: Some(failure.digest.clone()),
        clusters: Vec::new(),
        rules,
        hazards,
    });
    grants
}

/// Makes the whole proof. Whatever happens is a check of it.
pub async fn prove(request: FitnessRequest) -> Fitness {
    let started = Instant::now();
    let (id, digest) = (request.failure.id().to_string(), request.failure.digest.clone());
    let found = proof::Prover::new(&request).prove().await;
    Fitness {
        id,
        digest,
        verdict: found.verdict(),
        cluster: found.cluster,
        checks: found.checks,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
