//! Whose a difference is: the case's, or somebody else's who is at work on the same cluster.

use std::collections::{HashMap, HashSet};

use gate::ObjectKey;

use crate::baseline::{Baseline, Owner, Record, Table};

/// How far an owner is looked for.
const DEEPEST: usize = 16;

/// What a case may have changed.
#[derive(Clone, Copy, Debug)]
pub struct Ownership<'a> {
    /// The namespace of the case.
    pub namespace: &'a str,
    /// The value of [`gate::LABEL`] on what was made through the gate.
    pub label: &'a str,
    /// Every object that was written through the gate.
    pub touched: &'a [ObjectKey],
}

/// An object, by group, resource, namespace and name.
pub(crate) type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Answers for the objects of two looks.
#[derive(Debug)]
pub(crate) struct Attribution<'a> {
    ownership: Ownership<'a>,
    touched: HashSet<Key<'a>>,
    looks: [&'a Baseline; 2],
    /// Resource and whether it is namespaced, by group and kind.
    kinds: HashMap<(&'a str, &'a str), (&'a str, bool)>,
}

impl<'a> Attribution<'a> {
    pub(crate) fn new(ownership: Ownership<'a>, before: &'a Baseline, now: &'a Baseline) -> Self {
        let touched = ownership
            .touched
            .iter()
            .map(|key| (key.group.as_str(), key.resource.as_str(), key.namespace.as_str(), key.name.as_str()))
            .collect();
        let kinds = [before, now].into_iter().flat_map(|look| &look.tables).map(|table| {
            let kind = &table.kind;
            ((kind.group.as_str(), kind.kind.as_str()), (kind.resource.as_str(), kind.namespaced))
        });
        Self { ownership, touched, looks: [before, now], kinds: kinds.collect() }
    }

    /// Why an object is the case's; none when it is not. `gone` says that the object is not there any more.
    pub(crate) fn because(&self, table: &'a Table, record: &'a Record, gone: bool) -> Option<String> {
        let key =
            (table.kind.group.as_str(), table.kind.resource.as_str(), record.namespace.as_str(), record.name.as_str());
        self.own(key).or_else(|| self.inherited(record, 0)).or_else(|| self.around(key)).or_else(|| {
            (gone && self.was_touched(&("", "nodes", "", &record.host))).then(|| "its node was touched".into())
        })
    }

    /// The resource and namespace that an owner lives at.
    pub(crate) fn key_of(&self, owner: &'a Owner, namespace: &'a str) -> Option<Key<'a>> {
        // A reference without an apiVersion is to a kind of the core.
        let (resource, namespaced) = *self.kinds.get(&(owner.group.as_str(), owner.kind.as_str()))?;
        let namespace = if owner.namespace.is_empty() { namespace } else { &owner.namespace };
        Some((&owner.group, resource, if namespaced { namespace } else { "" }, &owner.name))
    }

    fn was_touched(&self, key: &Key<'_>) -> bool {
        self.touched.contains(key)
    }

    /// By itself.
    fn own(&self, key: Key<'_>) -> Option<String> {
        let (group, resource, namespace, name) = key;
        if !namespace.is_empty() && namespace == self.ownership.namespace
            || (group, resource, name) == ("", "namespaces", self.ownership.namespace)
        {
            return Some("in the namespace of the case".into());
        }
        if self.was_touched(&key) {
            return Some("touched through the gate".into());
        }
        let labelled = self.records(key).any(|record| record.label.as_deref() == Some(self.ownership.label));
        labelled.then(|| "made through the gate".into())
    }

    /// By what owns it.
    fn inherited(&self, record: &'a Record, depth: usize) -> Option<String> {
        if depth == DEEPEST {
            return None;
        }
        record.owners.iter().chain(&record.refers).find_map(|owner| {
            let key = self.key_of(owner, &record.namespace)?;
            let own = self.own(key).map(|why| format!("belongs to {} {}, which was {why}", key.1, key.3));
            own.or_else(|| self.records(key).find_map(|owner| self.inherited(owner, depth + 1)))
                .or_else(|| self.passed_through(key))
        })
    }

    /// By an owner that came and went between the two looks, such as the ReplicaSet of a Deployment that the case made and
    /// deleted. What owned that one cannot be asked any more, but controllers name what they make after themselves.
    fn passed_through(&self, key: Key<'a>) -> Option<String> {
        if self.records(key).next().is_some() {
            return None;
        }
        let touched = self.touched.iter().find(|(_, _, namespace, name)| {
            let rest = key.3.strip_prefix(name).unwrap_or_default();
            *namespace == key.2 && rest.starts_with('-')
        })?;
        Some(format!(
            "belongs to {}, which was made by {} {}, which was touched through the gate",
            key.3, touched.1, touched.3
        ))
    }

    /// By what it lies in: a namespace or a custom resource that the case made, removed or made anew.
    fn around(&self, (group, resource, namespace, _): Key<'a>) -> Option<String> {
        let definition = format!("{resource}.{group}");
        let whole =
            [("", "namespaces", namespace), ("apiextensions.k8s.io", "customresourcedefinitions", definition.as_str())];
        whole.into_iter().find_map(|(group, resource, name)| {
            let uid = |look: &'a Baseline| look.table(group, resource)?.find("", name).map(|record| &record.uid);
            let replaced = uid(self.looks[0]) != uid(self.looks[1]);
            let own = self.own((group, resource, "", name)).filter(|_| replaced)?;
            Some(format!("lies in {name}, which was {own}"))
        })
    }

    fn records(&self, (group, resource, namespace, name): Key<'_>) -> impl Iterator<Item = &'a Record> {
        let records = self.looks.map(|look| look.table(group, resource)?.find(namespace, name));
        records.into_iter().flatten()
    }
}
