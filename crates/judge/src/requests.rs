//! What the gate's records of an agent say about objects: which one a request is about, whether it changed it.

use std::time::Duration;

use jiff::Timestamp;
use model::{Decision, GateRecord, Party};

use crate::kinds;
use crate::owners::{ANY, Identity};

/// The object of a request; none for lists, collections and paths that are no resource.
pub(crate) fn target(record: &GateRecord) -> Option<Identity> {
    if record.resource.is_empty() || record.name.is_empty() {
        return None;
    }
    // A custom kind is not known here; its plural does in its place.
    let kind = kinds::kind_of(&record.group, &record.resource).unwrap_or(&record.resource);
    Some(Identity::new(&record.group, kind, &record.namespace, &record.name))
}

/// Whether the request is about this object, or about objects of its kind where it names none.
pub(crate) fn is_about(record: &GateRecord, identity: &Identity) -> bool {
    kinds::same_group(&identity.kind, &record.group, &identity.group)
        && kinds::is_resource_of(&record.resource, &record.group, &identity.kind)
        && (record.name.is_empty() || record.name == identity.name || identity.name == ANY)
        && (record.namespace.is_empty() || identity.namespace.is_empty() || record.namespace == identity.namespace)
}

/// Requests of the agent that the gate let pass and the cluster carried out.
pub(crate) fn succeeded(record: &GateRecord) -> bool {
    allowed(record) && (200..300).contains(&record.status)
}

/// Mutations of the agent that changed something, or may have: the answer to one may be lost (status 0).
pub(crate) fn changed(record: &GateRecord) -> bool {
    record.mutation && (succeeded(record) || (allowed(record) && record.status == 0))
}

/// The request brought its object into being.
pub(crate) fn created(record: &GateRecord) -> bool {
    let by_verb = record.verb == "create" || (matches!(&*record.verb, "patch" | "update") && record.status == 201);
    changed(record) && record.subresource.is_empty() && by_verb
}

/// The request took its object away.
pub(crate) fn deleted(record: &GateRecord) -> bool {
    changed(record) && record.subresource.is_empty() && record.verb == "delete"
}

fn allowed(record: &GateRecord) -> bool {
    record.party == Party::Agent && record.decision == Decision::Allowed
}

/// Milliseconds from `start` to `at`, none before it.
pub(crate) fn millis(start: Timestamp, at: Timestamp) -> u64 {
    let between = Duration::try_from(start.duration_until(at)).unwrap_or_default();
    u64::try_from(between.as_millis()).unwrap_or(u64::MAX)
}
