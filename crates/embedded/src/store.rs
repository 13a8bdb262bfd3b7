//! The objects of a cluster and their recent history, by resource. Knows revisions, not what objects mean.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use simulation::Resource;

/// How many changes of one resource can be watched from; an older resourceVersion is answered with 410.
const HISTORY: usize = 2_000;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Added,
    Modified,
    Deleted,
}

impl Event {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Event::Added => "ADDED",
            Event::Modified => "MODIFIED",
            Event::Deleted => "DELETED",
        }
    }
}

/// One change in the history. Its JSON is made once, however many watch.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) revision: u64,
    pub(crate) event: Event,
    pub(crate) object: Arc<Value>,
    pub(crate) old: Option<Arc<Value>>,
    json: OnceLock<Bytes>,
}

impl Entry {
    /// The watch event as one line of JSON, as a watcher of the whole resource sees it.
    pub(crate) fn line(&self) -> Bytes {
        self.json.get_or_init(|| event_line(self.event.name(), &self.object)).clone()
    }
}

/// One watch event.
pub(crate) fn event_line(event: &str, object: &Value) -> Bytes {
    let mut line = Vec::with_capacity(2048);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(event.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    // Writing a Value to memory cannot fail.
    let _ = serde_json::to_writer(&mut line, object);
    line.extend_from_slice(b"}\n");
    line.into()
}

type Objects = BTreeMap<String, BTreeMap<String, Arc<Value>>>;

#[derive(Debug, Default)]
pub(crate) struct Table {
    objects: Objects,
    history: VecDeque<Arc<Entry>>,
    /// Changes up to this revision are no longer in the history.
    compacted: u64,
}

impl Table {
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(namespace)?.get(name)
    }

    /// By namespace and name.
    pub(crate) fn iter(&self, namespace: Option<&str>) -> impl Iterator<Item = &Arc<Value>> {
        let (one, all) = match namespace {
            Some(namespace) => (self.objects.get(namespace), None),
            None => (None, Some(self.objects.values())),
        };
        one.into_iter().chain(all.into_iter().flatten()).flat_map(BTreeMap::values)
    }

    /// As [`iter`](Self::iter), behind this namespace and name.
    pub(crate) fn iter_after<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: &'a (String, String),
    ) -> impl Iterator<Item = &'a Arc<Value>> {
        self.objects
            .range::<str, _>((std::ops::Bound::Included(after.0.as_str()), std::ops::Bound::Unbounded))
            .filter(move |(ns, _)| namespace.is_none_or(|wanted| wanted == ns.as_str()))
            .flat_map(move |(ns, names)| {
                names.iter().filter(move |(name, _)| *ns != after.0 || **name > after.1).map(|(_, object)| object)
            })
    }

    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Changes after `revision`, oldest first.
    pub(crate) fn since(&self, revision: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let start = self.history.partition_point(|entry| entry.revision <= revision);
        self.history.range(start..)
    }
}

/// All tables.
#[derive(Debug, Default)]
pub(crate) struct Store {
    revision: u64,
    tables: HashMap<(&'static str, &'static str), Table>,
}

/// A table's key.
pub(crate) fn key(resource: &Resource) -> (&'static str, &'static str) {
    (resource.group, resource.plural)
}

impl Store {
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision that the next write will have.
    pub(crate) fn next_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    pub(crate) fn table(&mut self, resource: &Resource) -> &mut Table {
        self.tables.entry(key(resource)).or_default()
    }

    pub(crate) fn table_if_any(&self, resource: &Resource) -> Option<&Table> {
        self.tables.get(&key(resource))
    }

    pub(crate) fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.tables.get(&key(resource))?.get(namespace, name)
    }

    pub(crate) fn list(&self, resource: &Resource, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.tables.get(&key(resource)).map(|table| table.iter(namespace).cloned().collect()).unwrap_or_default()
    }

    /// Puts or (with `Deleted`) removes an object that has its new resourceVersion already, and notes the change.
    pub(crate) fn commit(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        event: Event,
        object: Arc<Value>,
    ) -> Option<Arc<Value>> {
        let revision = self.revision;
        let table = self.table(resource);
        let old = if event == Event::Deleted {
            let names = table.objects.get_mut(namespace);
            let old = names.and_then(|names| names.remove(name));
            if table.objects.get(namespace).is_some_and(BTreeMap::is_empty) {
                table.objects.remove(namespace);
            }
            old
        } else {
            table.objects.entry(namespace.to_owned()).or_default().insert(name.to_owned(), Arc::clone(&object))
        };
        let entry = Entry { revision, event, object, old: old.clone(), json: OnceLock::new() };
        table.history.push_back(Arc::new(entry));
        while table.history.len() > HISTORY {
            if let Some(dropped) = table.history.pop_front() {
                table.compacted = dropped.revision;
            }
        }
        old
    }
}
