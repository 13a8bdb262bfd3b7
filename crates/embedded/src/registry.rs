//! Which resources the server offers: the built-in table (`resources.txt`) and what custom resource definitions add.
//! Discovery, request parsing and the store all go by it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use simulation::Resource;

use crate::discovery::Aggregated;

/// How a resource is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Its objects are stored.
    Stored,
    /// It answers a create and stores nothing.
    Virtual,
    /// Another version or group shows the same objects: stored as this group.
    AliasOf(&'static str),
}

/// One resource in one version.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    pub(crate) resource: Resource,
    pub(crate) singular: &'static str,
    pub(crate) short_names: Vec<&'static str>,
    pub(crate) categories: Vec<&'static str>,
    pub(crate) subresources: Vec<&'static str>,
    pub(crate) storage: Storage,
    /// From a custom resource definition.
    pub(crate) custom: bool,
    /// What the definition says of this version.
    pub(crate) definition: Option<Arc<crate::custom::Version>>,
}

impl Info {
    pub(crate) fn has(&self, subresource: &str) -> bool {
        self.subresources.contains(&subresource)
    }

    /// `deployments.apps`, `pods`.
    pub(crate) fn qualified(&self) -> String {
        qualified(&self.resource)
    }

    pub(crate) fn list_kind(&self) -> String {
        self.definition.as_ref().map_or_else(|| format!("{}List", self.resource.kind), |one| one.list_kind.clone())
    }

    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        match (self.storage, self.resource.plural) {
            (Storage::Virtual, _) => &["create"],
            _ if self.custom => &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
            (_, "namespaces") => &["create", "delete", "get", "list", "patch", "update", "watch"],
            _ => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        }
    }
}

/// `deployments.apps`, `pods`.
pub(crate) fn qualified(resource: &Resource) -> String {
    if resource.group.is_empty() {
        resource.plural.to_owned()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}

static BUILT_IN: LazyLock<Vec<Arc<Info>>> = LazyLock::new(|| {
    let mut rows: Vec<Info> = include_str!("resources.txt").lines().filter_map(parse).collect();
    let stored: Vec<_> = rows.iter().filter(|row| row.storage == Storage::Stored).map(|row| row.resource).collect();
    for row in &mut rows {
        if let Storage::AliasOf(_) = row.storage
            && let Some(origin) = stored.iter().find(|r| r.plural == row.resource.plural)
        {
            row.storage = Storage::AliasOf(origin.group);
            row.resource.namespaced = origin.namespaced;
        }
    }
    rows.into_iter().map(Arc::new).collect()
});

fn parse(line: &'static str) -> Option<Info> {
    if line.starts_with('#') {
        return None;
    }
    let words: Vec<&'static str> = line.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
    let [group, version, plural, singular, kind, scope, short, categories, subresources] = words[..] else {
        return None;
    };
    let split = |text: &'static str| text.split(',').filter(|part| !part.is_empty()).collect::<Vec<_>>();
    Some(Info {
        resource: Resource { group, version, plural, kind, namespaced: matches!(scope, "N" | "n") },
        singular,
        short_names: split(short),
        categories: split(categories),
        subresources: split(subresources),
        storage: match scope {
            "N" | "C" => Storage::Stored,
            "=" => Storage::AliasOf(""),
            _ => Storage::Virtual,
        },
        custom: false,
        definition: None,
    })
}

/// Aggregated documents by their group and form.
type Remembered = HashMap<(bool, String), Arc<Aggregated>>;

/// The documents of a cluster without custom resources: the same in every cluster of the process.
static REMEMBERED: LazyLock<Mutex<Remembered>> = LazyLock::new(Mutex::default);

/// All resources of one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    custom: Vec<Arc<Info>>,
}

impl Registry {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Info>> {
        BUILT_IN.iter().chain(&self.custom)
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Info>> {
        self.iter().find(|info| {
            info.resource.plural == plural && info.resource.group == group && info.resource.version == version
        })
    }

    /// How the objects of an alias are stored.
    pub(crate) fn stored(&self, info: &Arc<Info>) -> Arc<Info> {
        let Storage::AliasOf(group) = info.storage else { return Arc::clone(info) };
        self.iter()
            .find(|i| {
                i.resource.plural == info.resource.plural && i.resource.group == group && i.storage == Storage::Stored
            })
            .map_or_else(|| Arc::clone(info), Arc::clone)
    }

    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.iter().any(|info| info.resource.group == group)
    }

    /// The aggregated discovery document of `/api` or `/apis` in this form: every client asks for it, and hashing it is dear.
    pub(crate) fn remembered(&self, core: bool, form: &str, make: impl FnOnce() -> Aggregated) -> Arc<Aggregated> {
        if !self.custom.is_empty() {
            return Arc::new(make());
        }
        let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(remembered.entry((core, form.to_owned())).or_insert_with(|| Arc::new(make())))
    }

    pub(crate) fn has_version(&self, group: &str, version: &str) -> bool {
        self.iter().any(|info| info.resource.group == group && info.resource.version == version)
    }

    pub(crate) fn add_custom(&mut self, info: Info) {
        self.custom.retain(|i| i.resource != info.resource);
        self.custom.push(Arc::new(info));
    }

    pub(crate) fn remove_custom(&mut self, group: &str, plural: &str) {
        self.custom.retain(|i| i.resource.group != group || i.resource.plural != plural);
    }
}

static NAMES: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);

/// A name for the life of the process. Only names of custom resource definitions come here: few, and most of them again
/// and again.
pub(crate) fn intern(name: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let leaked: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(leaked);
    leaked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_whole() {
        let rows = include_str!("resources.txt").lines().filter(|line| !line.starts_with('#')).count();
        let registry = Registry::default();
        assert_eq!(registry.iter().count(), rows);
        let hpa = registry.find("autoscaling", "v1", "horizontalpodautoscalers").unwrap();
        assert_eq!(registry.stored(hpa).resource.version, "v2");
        let events = registry.find("events.k8s.io", "v1", "events").unwrap();
        assert_eq!(registry.stored(events).resource.group, "");
        assert!(events.resource.namespaced);
    }

    #[test]
    fn what_controllers_speak_of_is_offered() {
        use simulation::resources as r;
        let registry = Registry::default();
        for resource in [r::PODS, r::DEPLOYMENTS, r::LEASES, r::PRIORITY_CLASSES, r::ENDPOINT_SLICES, r::EVENTS] {
            let info = registry.find(resource.group, resource.version, resource.plural).unwrap();
            assert_eq!(info.resource, resource);
        }
    }
}
