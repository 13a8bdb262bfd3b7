//! Rules about pods that cannot be made at all: quotas, limit ranges, admission, missing service accounts.

use serde_json::Value;

use super::{Diagnosis, quoted_after};
use crate::finding::{Finding, Weight};
use crate::snapshot::{ObjectName, Snapshot, condition, last_seen, number, text};

/// Controllers that make pods, and where they say how many they want and have.
const CONTROLLERS: &[(&str, &str, &str)] = &[
    ("ReplicaSet", "/spec/replicas", "/status/replicas"),
    ("StatefulSet", "/spec/replicas", "/status/replicas"),
    ("DaemonSet", "/status/desiredNumberScheduled", "/status/currentNumberScheduled"),
    ("Job", "/spec/parallelism", "/status/active"),
];

/// Every controller that wants more pods than it has, and says why it cannot make them.
pub(crate) fn check(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for (kind, wanted, has) in CONTROLLERS {
        for object in snapshot.all(kind) {
            let condition = condition(object, "ReplicaFailure").filter(|c| c["status"] == "True");
            let short = number(object, has) < number(object, wanted);
            let finished = number(object, "/status/succeeded") > 0 || number(object, "/status/failed") > 0;
            let said = match condition {
                Some(condition) => Some(text(condition, "/message")),
                None if short && !finished => last_refusal(snapshot, object),
                None => None,
            };
            if let Some(said) = said {
                findings.push(diagnose(snapshot, said).on(object, snapshot));
            }
        }
    }
}

fn last_refusal<'a>(snapshot: &'a Snapshot, object: &'a Value) -> Option<&'a str> {
    let events: Vec<&Value> = snapshot.events_of(object).collect();
    let failed = events.iter().filter(|event| event["reason"] == "FailedCreate").max_by_key(|e| last_seen(e))?;
    let made = events.iter().filter(|event| event["reason"] == "SuccessfulCreate").max_by_key(|e| last_seen(e));
    // A creation that succeeded after the failure settles it.
    let settled = made.is_some_and(|made| last_seen(made) > last_seen(failed));
    (!settled).then(|| text(failed, "/message"))
}

fn diagnose(snapshot: &Snapshot, said: &str) -> Diagnosis {
    let name = |kind: &str, name: String| ObjectName { kind: kind.into(), namespace: snapshot.namespace.clone(), name };
    let message = format!("its pods are refused: {said}");
    let cause = |fault_type| Diagnosis::new("pods-refused", Weight::Cause, fault_type, message.clone());
    if said.contains("quota") {
        let quota = after(said, "exceeded quota: ").or_else(|| after(said, "failed quota: "));
        return cause("quota").with(quota.map(|quota| name("ResourceQuota", quota)));
    }
    if said.contains("usage per Container") || said.contains("usage per Pod") || said.contains("limit to request ratio")
    {
        return cause("quota").with(snapshot.all("LimitRange").iter().map(ObjectName::of));
    }
    if said.contains("serviceaccount") && said.contains("not found") {
        let account = quoted_after(said, "serviceaccount").or_else(|| quoted_after(said, "service account"));
        return cause("permission").with(account.map(|account| name("ServiceAccount", account)));
    }
    if said.contains("webhook") || said.contains("PodSecurity") || said.contains("ValidatingAdmissionPolicy") {
        return cause("admission");
    }
    cause("configuration")
}

/// The word after `before`, up to a comma or a space.
fn after(text: &str, before: &str) -> Option<String> {
    let rest = &text[text.find(before)? + before.len()..];
    let end = rest.find([',', ' ', ':']).unwrap_or(rest.len());
    (end > 0).then(|| rest[..end].to_owned())
}
