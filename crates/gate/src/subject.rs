//! Which object a write is about and what it does to it, as far as the request tells: what the journal needs to know
//! before it reads anything.

use serde_json::Value;

use crate::body::object_name;
use crate::{Attributes, Hazard, ObjectKey, hazard};

/// What a write does to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Create,
    Change,
    Delete,
}

/// The object of a write that is journaled.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// Without a name as long as none was made up.
    pub(crate) key: ObjectKey,
    pub(crate) effect: Effect,
    pub(crate) subresource: String,
    pub(crate) irreversible: bool,
}

impl Subject {
    /// None: nothing is stored (reviews, proxies, paths that are no resources), or the API server cannot but refuse it.
    pub(crate) fn of(attributes: &Attributes, body: Option<&Value>) -> Option<Self> {
        if !attributes.is_resource || is_virtual(attributes) {
            return None;
        }
        let mut key = ObjectKey {
            group: attributes.group.clone(),
            version: attributes.version.clone(),
            resource: attributes.resource.clone(),
            namespace: attributes.namespace.clone(),
            name: attributes.name.clone(),
        };
        // The authoriser says that a namespace lies in itself; its path does not.
        if key.group.is_empty() && key.resource == "namespaces" {
            key.namespace.clear();
        }
        let mut subresource = attributes.subresource.clone();
        let effect = match (attributes.verb.as_str(), key.resource.as_str(), subresource.as_str()) {
            ("create", "bindings", "") if key.group.is_empty() => {
                key.name = object_name(body?)?.to_owned();
                "pods".clone_into(&mut key.resource);
                "binding".clone_into(&mut subresource);
                Effect::Change
            }
            ("create", _, "") if key.name.is_empty() => {
                key.name = object_name(body?).unwrap_or_default().to_owned();
                if key.name.is_empty() {
                    name_prefix(body?)?;
                }
                Effect::Create
            }
            ("create", "pods", "eviction") => Effect::Delete,
            ("delete" | "deletecollection", _, "") => Effect::Delete,
            _ => Effect::Change,
        };
        let token = attributes.subresource == "token";
        let irreversible = token || hazard::of_request(attributes).contains(&Hazard::Irreversible);
        Some(Self { key, effect, subresource, irreversible })
    }

    /// Whether the object is made known as the gate's own. Events tell of others and go by themselves.
    pub(crate) fn is_stamped(&self) -> bool {
        self.key.resource != "events"
    }

    /// The verb of its entry: what happens to the object, whatever the request is called.
    pub(crate) fn verb(&self, attributes: &Attributes) -> String {
        match self.effect {
            Effect::Create => "create".to_owned(),
            Effect::Delete => "delete".to_owned(),
            Effect::Change if attributes.verb == "create" => "update".to_owned(),
            Effect::Change => attributes.verb.clone(),
        }
    }
}

/// What a name is to begin with that is not given.
pub(crate) fn name_prefix(body: &Value) -> Option<&str> {
    body.pointer("/metadata/generateName").and_then(Value::as_str).filter(|prefix| !prefix.is_empty())
}

fn is_virtual(attributes: &Attributes) -> bool {
    let asks = matches!(attributes.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io");
    let runs = matches!(attributes.subresource.as_str(), "proxy" | "exec" | "attach" | "portforward");
    asks || runs
}
