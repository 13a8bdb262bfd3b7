//! Rules about nodes, where they may be read. They count only when the namespace has pods that suffer from them.

use serde_json::Value;

use super::Diagnosis;
use crate::finding::{Finding, Weight};
use crate::snapshot::{Snapshot, condition, text};

/// Nodes that are not ready while pods of the namespace are bound to them.
pub(crate) fn check(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for node in snapshot.all("Node") {
        let name = text(node, "/metadata/name");
        let bound = |pod: &&Value| text(pod, "/spec/nodeName") == name;
        let Some(ready) = condition(node, "Ready").filter(|c| c["status"] != "True") else { continue };
        if snapshot.all("Pod").iter().any(|pod| bound(&pod)) {
            let message = format!("the node is not ready: {}", text(ready, "/message"));
            findings.push(Diagnosis::new("node-not-ready", Weight::Cause, "node", message).on(node, snapshot));
        }
    }
}
