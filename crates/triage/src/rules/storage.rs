//! Rules about claims that get no volume.

use serde_json::Value;

use super::Diagnosis;
use crate::finding::{Finding, Weight};
use crate::snapshot::{Snapshot, last_seen, list, text};

/// Claims that are pending while a pod wants them, or lost their volume. One without a consumer may be meant to wait.
pub(crate) fn check(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for claim in snapshot.all("PersistentVolumeClaim") {
        let phase = text(claim, "/status/phase");
        let name = text(claim, "/metadata/name");
        let consumers: Vec<_> = snapshot.all("Pod").iter().filter(|pod| wants(pod, name)).collect();
        if phase == "Lost" || (phase == "Pending" && !consumers.is_empty()) {
            let why = snapshot
                .events_of(claim)
                .filter(|event| matches!(text(event, "/reason"), "ProvisioningFailed" | "FailedBinding"))
                .max_by_key(|event| last_seen(event))
                .map_or("", |event| text(event, "/message"));
            let message = format!("the claim is {phase}: {why}");
            let weight = if why.is_empty() { Weight::Symptom } else { Weight::Cause };
            let consumers = consumers.into_iter().map(|pod| snapshot.top(pod));
            let diagnosis = Diagnosis::new("claim-pending", weight, "storage", message).with(consumers);
            findings.push(diagnosis.on(claim, snapshot));
        }
    }
}

fn wants(pod: &Value, claim: &str) -> bool {
    text(pod, "/status/phase") == "Pending"
        && list(pod, "/spec/volumes").any(|volume| text(volume, "/persistentVolumeClaim/claimName") == claim)
}
