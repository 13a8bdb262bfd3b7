//! Who is who: objects by kind, namespace and name, and their owner chains through `metadata.ownerReferences`.
//! Fed with everything that was ever seen in a case, so that a Pod that is gone still belongs to its Deployment.

use std::collections::{BTreeMap, BTreeSet};

use model::NamedObject;
use serde_json::{Value, json};

use crate::kinds::{self, Spelling};

/// The name that means every object of a kind, in a ground truth and nowhere else.
pub(crate) const ANY: &str = "*";

/// What names an object for people. The namespace is empty for what lives in none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Identity {
    pub(crate) fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        let namespace = if kinds::is_cluster_scoped(group, kind) { "" } else { namespace };
        Self { group: group.into(), kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    /// Whether both name the same object. An unknown scope (no namespace on one side) does not tell them apart.
    pub(crate) fn same(&self, other: &Self) -> bool {
        kinds::same_kind(&self.group, &self.kind, &other.kind)
            && kinds::same_group(&self.kind, &self.group, &other.group)
            && self.name == other.name
            && (self.namespace == other.namespace || self.namespace.is_empty() || other.namespace.is_empty())
    }

    /// Whether this, of a ground truth, means every object of a kind and the other is one: where a failure takes what it finds,
    /// such as all nodes, no name can be written down.
    fn covers(&self, other: &Self) -> bool {
        self.name == ANY && self.same(&Self { name: ANY.into(), ..other.clone() })
    }

    /// `Kind/name`.
    pub(crate) fn short(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// For evidence.
    pub(crate) fn to_json(&self) -> Value {
        json!({"kind": self.kind, "namespace": self.namespace, "name": self.name})
    }
}

/// The group of an `apiVersion`.
pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[derive(Debug)]
struct Member {
    identity: Identity,
    /// The managing owner first.
    owners: Vec<Owner>,
}

#[derive(Debug)]
struct Owner {
    uid: String,
    identity: Identity,
}

/// All objects of a case with their owners.
#[derive(Debug)]
pub(crate) struct Family {
    members: Vec<Member>,
    by_uid: BTreeMap<String, usize>,
}

impl Family {
    /// Reads apiVersion, kind and metadata of each object; what has no name is left out.
    pub(crate) fn new(objects: &[Value]) -> Self {
        let mut family = Self { members: Vec::new(), by_uid: BTreeMap::new() };
        for object in objects {
            let metadata = &object["metadata"];
            let (Some(kind), Some(name)) = (object["kind"].as_str(), metadata["name"].as_str()) else { continue };
            let namespace = metadata["namespace"].as_str().unwrap_or_default();
            let group = group_of(object["apiVersion"].as_str().unwrap_or_default());
            if let Some(uid) = metadata["uid"].as_str() {
                family.by_uid.insert(uid.to_owned(), family.members.len());
            }
            let identity = Identity::new(group, kind, namespace, name);
            let owners = owners(&metadata["ownerReferences"], namespace);
            family.members.push(Member { identity, owners });
        }
        family
    }

    /// Every seen object.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.members.iter().map(|member| &member.identity)
    }

    /// The object itself and everything above it, nearest first. Several objects that had this name one after the
    /// other are taken together.
    pub(crate) fn lineage(&self, identity: &Identity) -> Vec<Identity> {
        let mut lineage = vec![identity.clone()];
        let mut visited = BTreeSet::new();
        let mut next: Vec<usize> = self.named(identity).collect();
        while !next.is_empty() {
            let level = std::mem::take(&mut next);
            for number in level.into_iter().filter(|number| visited.insert(*number)) {
                for owner in &self.members[number].owners {
                    if !lineage.iter().any(|known| known.same(&owner.identity)) {
                        lineage.push(owner.identity.clone());
                    }
                    match self.by_uid.get(&owner.uid) {
                        Some(number) => next.push(*number),
                        None => next.extend(self.named(&owner.identity)),
                    }
                }
            }
        }
        lineage
    }

    /// The topmost object above this one, by managing owners.
    pub(crate) fn root(&self, identity: &Identity) -> Identity {
        let mut root = identity.clone();
        // A chain longer than this is a cycle.
        for _ in 0..16 {
            let Some(owner) = self.named(&root).find_map(|number| self.members[number].owners.first()) else { break };
            root = owner.identity.clone();
        }
        root
    }

    /// Whether `descendant` is `ancestor` or belongs to it.
    pub(crate) fn belongs(&self, descendant: &Identity, ancestor: &Identity) -> bool {
        self.lineage(descendant).iter().any(|identity| identity.same(ancestor) || ancestor.covers(identity))
    }

    /// Whether both stand on one owner chain, whichever is higher.
    pub(crate) fn one_chain(&self, a: &Identity, b: &Identity) -> bool {
        self.belongs(a, b) || self.belongs(b, a)
    }

    /// The objects that an agent may mean by a name: one that was seen, or owns one, or else what it says.
    pub(crate) fn resolve(&self, named: &NamedObject, default_namespace: &str) -> Identity {
        let spelling = Spelling::read(&named.kind);
        let namespace = named.namespace.as_deref().map(str::trim).filter(|ns| !ns.is_empty());
        let namespace = namespace.unwrap_or(default_namespace);
        let name = named.name.trim();
        let meant = |identity: &&Identity| {
            identity.name == name
                && (identity.namespace.is_empty() || identity.namespace == namespace)
                && spelling.means(&identity.group, &identity.kind)
        };
        let owners = self.members.iter().flat_map(|member| member.owners.iter().map(|owner| &owner.identity));
        if let Some(seen) = self.identities().chain(owners).find(meant) {
            return seen.clone();
        }
        match spelling.builtin() {
            Some((group, kind)) => Identity::new(group, kind, namespace, name),
            None => Identity::new("", named.kind.trim(), namespace, name),
        }
    }

    fn named(&self, identity: &Identity) -> impl Iterator<Item = usize> {
        let members = self.members.iter().enumerate();
        members.filter(move |(_, member)| member.identity.same(identity)).map(|(number, _)| number)
    }
}

/// Whether an answer's entry names this very object, in whatever spelling.
pub(crate) fn names(named: &NamedObject, identity: &Identity, default_namespace: &str) -> bool {
    let namespace = named.namespace.as_deref().map(str::trim).filter(|ns| !ns.is_empty());
    (named.name.trim() == identity.name || identity.name == ANY)
        && (identity.namespace.is_empty() || identity.namespace == namespace.unwrap_or(default_namespace))
        && Spelling::read(&named.kind).means(&identity.group, &identity.kind)
}

fn owners(references: &Value, namespace: &str) -> Vec<Owner> {
    let Some(references) = references.as_array() else { return Vec::new() };
    let mut owners: Vec<(bool, Owner)> = references
        .iter()
        .filter_map(|reference| {
            let group = group_of(reference["apiVersion"].as_str().unwrap_or_default());
            let identity = Identity::new(group, reference["kind"].as_str()?, namespace, reference["name"].as_str()?);
            let uid = reference["uid"].as_str().unwrap_or_default().to_owned();
            Some((reference["controller"].as_bool().unwrap_or(false), Owner { uid, identity }))
        })
        .collect();
    owners.sort_by_key(|(manages, _)| !manages);
    owners.into_iter().map(|(_, owner)| owner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(api: &str, kind: &str, name: &str, owner: Option<(&str, &str, &str)>) -> Value {
        let references = owner.map(|(api, kind, name)| {
            json!([{"apiVersion": api, "kind": kind, "name": name, "uid": format!("{kind}-{name}"), "controller": true}])
        });
        json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "ns",
            "uid": format!("{kind}-{name}"), "ownerReferences": references}})
    }

    fn family() -> Family {
        Family::new(&[
            object("v1", "Pod", "web-1-a", Some(("apps/v1", "ReplicaSet", "web-1"))),
            object("apps/v1", "ReplicaSet", "web-1", Some(("apps/v1", "Deployment", "web"))),
            object("apps/v1", "Deployment", "web", None),
            object("v1", "Pod", "alone", None),
        ])
    }

    fn id(group: &str, kind: &str, name: &str) -> Identity {
        Identity::new(group, kind, "ns", name)
    }

    #[test]
    fn a_lineage_goes_up_to_the_top() {
        let family = family();
        let lineage = family.lineage(&id("", "Pod", "web-1-a"));
        let names: Vec<String> = lineage.iter().map(Identity::short).collect();
        assert_eq!(names, ["Pod/web-1-a", "ReplicaSet/web-1", "Deployment/web"]);
        assert_eq!(family.root(&id("", "Pod", "web-1-a")).short(), "Deployment/web");
        assert!(family.belongs(&id("", "Pod", "web-1-a"), &id("apps", "Deployment", "web")));
        assert!(!family.belongs(&id("apps", "Deployment", "web"), &id("", "Pod", "web-1-a")));
        assert!(!family.one_chain(&id("", "Pod", "alone"), &id("apps", "Deployment", "web")));
    }

    #[test]
    fn an_owner_that_was_never_seen_still_counts() {
        let family = Family::new(&[object("v1", "Pod", "p", Some(("batch/v1", "Job", "j")))]);
        assert!(family.belongs(&id("", "Pod", "p"), &id("batch", "Job", "j")));
    }

    #[test]
    fn cycles_end() {
        let family = Family::new(&[
            object("v1", "A", "a", Some(("v1", "B", "b"))),
            object("v1", "B", "b", Some(("v1", "A", "a"))),
        ]);
        assert_eq!(family.lineage(&id("", "A", "a")).len(), 2);
        let _ = family.root(&id("", "A", "a"));
    }

    #[test]
    fn the_managing_owner_is_the_root() {
        let family =
            Family::new(&[json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns",
            "uid": "p", "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c"},
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "s", "controller": true}]}})]);
        assert_eq!(family.root(&id("", "Pod", "p")).short(), "StatefulSet/s");
        assert!(family.belongs(&id("", "Pod", "p"), &id("", "ConfigMap", "c")));
    }
}
