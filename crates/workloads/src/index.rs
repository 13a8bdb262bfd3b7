//! Objects by the uid of the owner that controls them, kept up to date from changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::fields::{controller_of, uid};

/// An index over one resource.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    by_owner: HashMap<String, BTreeMap<String, Arc<Value>>>,
}

impl Owned {
    pub(crate) fn put(&mut self, object: &Arc<Value>) {
        if let Some((_, _, owner)) = controller_of(object) {
            self.by_owner.entry(owner.to_owned()).or_default().insert(uid(object).to_owned(), Arc::clone(object));
        }
    }

    pub(crate) fn take(&mut self, object: &Value) {
        if let Some((_, _, owner)) = controller_of(object)
            && let Some(owned) = self.by_owner.get_mut(owner)
        {
            owned.remove(uid(object));
            if owned.is_empty() {
                self.by_owner.remove(owner);
            }
        }
    }

    /// What this owner controls, by name.
    pub(crate) fn of(&self, owner: &str) -> Vec<Arc<Value>> {
        let mut found: Vec<Arc<Value>> =
            self.by_owner.get(owner).into_iter().flat_map(|o| o.values().cloned()).collect();
        found.sort_by(|a, b| crate::fields::name(a).cmp(crate::fields::name(b)));
        found
    }
}
