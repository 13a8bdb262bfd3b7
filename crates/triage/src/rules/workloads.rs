//! Rules about workloads as a whole: rollouts that do not end, jobs that failed, what was scaled away.

use serde_json::Value;

use super::Diagnosis;
use crate::finding::{Finding, Weight};
use crate::snapshot::{Snapshot, condition, labels_match, list, number, text};

/// Longer than any start takes.
const UNAVAILABLE_SECONDS: i64 = 60;

/// Rollouts past their deadline, paused ones, and what has been unavailable for long. Pods say more where there are any.
pub(crate) fn check_deployments(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for deployment in snapshot.all("Deployment") {
        let stuck = condition(deployment, "Progressing").filter(|c| c["reason"] == "ProgressDeadlineExceeded");
        if let Some(stuck) = stuck {
            let message = format!("its rollout is stuck: {}", text(stuck, "/message"));
            let diagnosis = Diagnosis::new("rollout-waits", Weight::Consequence, "rollout", message);
            findings.push(diagnosis.on(deployment, snapshot));
        }
        let down = condition(deployment, "Available").filter(|c| c["status"] == "False");
        let down_for = down.and_then(|c| snapshot.seconds_since(&c["lastTransitionTime"])).unwrap_or_default();
        if down_for > UNAVAILABLE_SECONDS {
            let message = format!("it has been unavailable for {down_for} s");
            let diagnosis = Diagnosis::new("unavailable", Weight::Consequence, "replicas", message);
            findings.push(diagnosis.on(deployment, snapshot));
        }
        let behind = number(deployment, "/status/updatedReplicas") < number(deployment, "/spec/replicas");
        if deployment["spec"]["paused"] == true && behind {
            let message = "its rollout is paused half-way";
            findings
                .push(Diagnosis::new("rollout-paused", Weight::Symptom, "rollout", message).on(deployment, snapshot));
        }
    }
}

/// Jobs that gave up. Why their pods failed, the pods say.
pub(crate) fn check_jobs(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for job in snapshot.all("Job") {
        let Some(failed) = condition(job, "Failed").filter(|c| c["status"] == "True") else { continue };
        let message = format!("the job failed: {}: {}", text(failed, "/reason"), text(failed, "/message"));
        let late = failed["reason"] == "DeadlineExceeded";
        let fault_type = if late { "lifecycle" } else { "application" };
        findings.push(Diagnosis::new("job-gave-up", Weight::Symptom, fault_type, message).on(job, snapshot));
    }
}

/// Workloads with no replicas that somebody counts on: a Service selects them, or they had replicas until lately.
pub(crate) fn check_scaled_away(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for workload in ["Deployment", "StatefulSet"].iter().flat_map(|kind| snapshot.all(kind)) {
        if workload.pointer("/spec/replicas") != Some(&Value::from(0)) {
            continue;
        }
        let template = &workload["spec"]["template"];
        let served = snapshot.all("Service").iter().any(|service| labels_match(&service["spec"]["selector"], template));
        let until_lately = snapshot
            .events_of(workload)
            .any(|event| event["reason"] == "ScalingReplicaSet" && text(event, "/message").ends_with(" to 0"));
        if served || until_lately {
            let message = "it is scaled to 0 replicas";
            let diagnosis = Diagnosis::new("scaled-away", Weight::Symptom, "replicas", message);
            findings.push(diagnosis.on(workload, snapshot));
        }
    }
    for set in snapshot.all("DaemonSet") {
        let nowhere = number(set, "/status/desiredNumberScheduled") == 0;
        let selective = list(set, "/spec/template/spec/nodeSelector").next().is_some()
            || set
                .pointer("/spec/template/spec/nodeSelector")
                .and_then(Value::as_object)
                .is_some_and(|s| !s.is_empty());
        if nowhere && selective && number(set, "/status/observedGeneration") > 0 {
            let message = "no node satisfies its node selector";
            findings.push(Diagnosis::new("no-node", Weight::Hint, "scheduling", message).on(set, snapshot));
        }
    }
}
