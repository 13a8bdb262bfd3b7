//! The ground truth of a case as identities: what is the cause, what may stand for it, what may be changed.

use catalog::{GroundTruth, ObjectRef};

use crate::owners::{Family, Identity, group_of};

/// See the module.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) fault_type: String,
    pub(crate) root_causes: Vec<Identity>,
    pub(crate) also_accept: Vec<Identity>,
    pub(crate) repair_scope: Vec<Identity>,
}

impl Truth {
    /// Objects without a namespace are in that of the case.
    pub(crate) fn new(truth: &GroundTruth, namespace: &str) -> Self {
        let identities = |objects: &[ObjectRef]| objects.iter().map(|object| identity(object, namespace)).collect();
        Self {
            fault_type: truth.fault_type.clone(),
            root_causes: identities(&truth.root_causes),
            also_accept: identities(&truth.also_accept),
            repair_scope: identities(&truth.repair_scope),
        }
    }

    /// Something is wrong.
    pub(crate) fn fault_present(&self) -> bool {
        self.fault_type != "none"
    }

    /// Whether the object is a root cause or belongs to one.
    pub(crate) fn is_guilty(&self, identity: &Identity, family: &Family) -> bool {
        self.root_causes.iter().any(|cause| family.belongs(identity, cause))
    }

    /// Whether the object may be changed: a root cause, one in the repair scope, or what belongs to either.
    pub(crate) fn may_change(&self, identity: &Identity, family: &Family) -> bool {
        self.is_guilty(identity, family) || self.repair_scope.iter().any(|scope| family.belongs(identity, scope))
    }
}

fn identity(object: &ObjectRef, namespace: &str) -> Identity {
    let namespace = object.namespace.as_deref().unwrap_or(namespace);
    Identity::new(group_of(&object.api_version), &object.kind, namespace, &object.name)
}
