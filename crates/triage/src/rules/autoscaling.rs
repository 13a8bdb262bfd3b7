//! Rules about autoscalers that cannot do their work.

use super::Diagnosis;
use crate::finding::{Finding, Weight};
use crate::snapshot::{Snapshot, condition, text};

/// Autoscalers whose target or metrics are missing.
pub(crate) fn check(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for scaler in snapshot.all("HorizontalPodAutoscaler") {
        let failing = ["AbleToScale", "ScalingActive"].iter().find_map(|kind| {
            condition(scaler, kind).filter(|c| c["status"] == "False" && c["reason"] != "ScalingDisabled")
        });
        if let Some(failing) = failing {
            let message = format!("it cannot scale: {}: {}", text(failing, "/reason"), text(failing, "/message"));
            findings.push(Diagnosis::new("cannot-scale", Weight::Symptom, "autoscaling", message).on(scaler, snapshot));
        }
    }
}
