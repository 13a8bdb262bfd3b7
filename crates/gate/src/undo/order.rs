//! In which order deeds are done: what could be in the way of others first, then what is to go, then what is to come back,
//! namespaces at the end.

use super::history::History;
use super::plan::Deed;
use crate::ObjectKey;

/// Deeds of one stage are done before those of the next; what a stage deletes is gone before the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Webhooks and aggregated APIs that could refuse or break every other request.
    Blockers,
    /// Finalizers.
    Finalizers,
    /// Quotas and limits.
    Quotas,
    /// What was made in the case.
    Made,
    /// Definitions that were made in the case.
    Definitions,
    /// What is on its way out and will be made again.
    Going,
    /// What comes back.
    Back,
    /// Namespaces that were made in the case.
    Namespaces,
}

/// Sorts deeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) Stage, usize, u64);

/// Where a deed stands. `depth` is how many owners of the journal are above its object.
pub(crate) fn place(history: &History, deed: &Deed, depth: usize) -> Place {
    let stage = stage(history, deed);
    match stage {
        Stage::Back => Place(stage, depth * 10 + rank(&history.key), history.first),
        // The last that came is the first to go.
        _ => Place(stage, 0, u64::MAX - history.latest),
    }
}

fn stage(history: &History, deed: &Deed) -> Stage {
    let key = &history.key;
    let blocks = matches!(key.group.as_str(), "admissionregistration.k8s.io" | "apiregistration.k8s.io");
    let limits = key.group.is_empty() && matches!(key.resource.as_str(), "resourcequotas" | "limitranges");
    match deed {
        // A webhook that is made again may get in the way of others that are made again.
        Deed::Recreate(_) => Stage::Back,
        _ if blocks => Stage::Blockers,
        Deed::Release(_) => Stage::Finalizers,
        Deed::PutBack { .. } | Deed::Remove(_) if limits => Stage::Quotas,
        // It was there before: it has to be through with its end before it can be made again.
        Deed::Await(_) if history.original.is_some() => Stage::Going,
        Deed::Remove(_) | Deed::Await(_) if key.group.is_empty() && key.resource == "namespaces" => Stage::Namespaces,
        Deed::Remove(_) | Deed::Await(_) if key.resource == "customresourcedefinitions" => Stage::Definitions,
        Deed::Remove(_) => Stage::Made,
        Deed::Await(_) => Stage::Going,
        Deed::PutBack { .. } | Deed::Nothing | Deed::Drifted { .. } => Stage::Back,
    }
}

/// What others need comes back before them.
fn rank(key: &ObjectKey) -> usize {
    match key.resource.as_str() {
        "namespaces" => 0,
        "customresourcedefinitions" => 1,
        "priorityclasses" | "storageclasses" | "runtimeclasses" | "ingressclasses" => 2,
        "persistentvolumes" | "serviceaccounts" => 3,
        "configmaps" | "secrets" | "persistentvolumeclaims" => 4,
        "resourcequotas" | "limitranges" => 7,
        _ if matches!(key.group.as_str(), "admissionregistration.k8s.io" | "apiregistration.k8s.io") => 900,
        _ => 5,
    }
}
