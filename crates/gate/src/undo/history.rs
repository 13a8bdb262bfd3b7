//! The journal, read as what became of each object. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::fields::{is_controlled, text, uid};
use super::finalizers;
use crate::LABEL;
use crate::journal::{Entry, ObjectKey, State};
use crate::stamp::nonce_of;

/// Subresources that leave the object as it is.
const PASSING: [&str; 6] = ["exec", "attach", "portforward", "proxy", "token", "log"];

/// What the last write left, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Last {
    /// The object, in the version that it was written by, or none.
    Image(Option<Value>, String),
    /// The answer to the last write was lost.
    Unknown,
}

/// What the case did to one object.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// The object, in the version of its first touch.
    pub(crate) key: ObjectKey,
    /// As it was before the first touch.
    pub(crate) original: Option<Value>,
    /// As the last touch left it.
    pub(crate) last: Last,
    /// Whether its status was written, which is then part of what is put back.
    pub(crate) status: bool,
    /// Finalizers that the case brought.
    pub(crate) finalizers: BTreeSet<String>,
    /// Finalizers in templates that the case brought: controllers put them on what they make.
    pub(crate) templated: BTreeSet<String>,
    /// Number of the first entry.
    pub(crate) first: u64,
    /// Number of the last entry.
    pub(crate) latest: u64,
    made: BTreeSet<String>,
    nonces: BTreeSet<String>,
}

impl History {
    /// Whether this object was made in the case, by anyone that the journal knows.
    pub(crate) fn made(&self, object: &Value) -> bool {
        self.made.contains(uid(object)) || nonce_of(object).is_some_and(|nonce| self.nonces.contains(nonce))
    }

    /// Whether it was somebody else who made this object, and the case that had the last word on it all the same. One
    /// that a controller has made again stays the controller's.
    pub(crate) fn took_over(&self, object: &Value) -> bool {
        let last = if let Last::Image(last, _) = &self.last { last.as_ref() } else { None };
        !self.is_controlled() && last.is_some_and(|last| uid(last) == uid(object))
    }

    /// Whether a controller will make it again.
    pub(crate) fn is_controlled(&self) -> bool {
        self.original.as_ref().is_some_and(is_controlled)
    }

    fn begin(entry: &Entry, key: ObjectKey) -> Self {
        Self {
            key,
            original: entry.intent.before.clone(),
            last: Last::Unknown,
            status: false,
            finalizers: BTreeSet::new(),
            templated: BTreeSet::new(),
            first: entry.id,
            latest: entry.id,
            made: BTreeSet::new(),
            nonces: BTreeSet::new(),
        }
    }

    fn add(&mut self, entry: &Entry) {
        let (before, version) = (entry.intent.before.as_ref(), &entry.intent.key.version);
        self.latest = entry.id;
        self.nonces.extend(entry.intent.nonce.clone());
        let after = match &entry.state {
            State::Done { after } => {
                self.last = Last::Image(after.clone(), version.clone());
                after.as_ref()
            }
            _ => {
                self.last = Last::Unknown;
                None
            }
        };
        self.status |= entry.intent.subresource == "status";
        if let Some(after) = after {
            if before.is_none_or(|before| uid(before) != uid(after)) && !uid(after).is_empty() {
                self.made.insert(uid(after).to_owned());
            }
            // Custom resources may have a status that is no subresource: a plain write has changed it then.
            let written = before.is_some_and(|before| uid(before) == uid(after) && before["status"] != after["status"]);
            let plain = matches!(entry.intent.verb.as_str(), "update" | "patch") && entry.intent.subresource.is_empty();
            self.status |= written && plain && !self.key.group.is_empty();
            // By what was there just before: others may have brought theirs since the first touch.
            self.finalizers.extend(finalizers::brought(&self.key, before, after));
            self.templated.extend(finalizers::templated(before, after));
        }
    }
}

/// The object that an entry is about; none while the name that the server made up is not known.
pub(crate) fn subject(entry: &Entry) -> Option<ObjectKey> {
    let mut key = entry.intent.key.clone();
    if key.name.is_empty() {
        let State::Done { after: Some(after) } = &entry.state else { return None };
        key.name = text(after, "/metadata/name").to_owned();
    }
    (!key.name.is_empty()).then_some(key)
}

/// Whether the entry is about a write that can change its object.
pub(crate) fn may_change(entry: &Entry) -> bool {
    let (subresource, before) = (entry.intent.subresource.as_str(), entry.intent.before.is_some());
    !PASSING.contains(&subresource) && (subresource.is_empty() || before)
}

/// One history for each object that was touched, by key.
pub(crate) fn histories(entries: &[Entry]) -> BTreeMap<ObjectKey, History> {
    let mut all: BTreeMap<ObjectKey, History> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.state != State::Refused && may_change(entry)) {
        let Some(key) = subject(entry) else { continue };
        all.entry(key.clone()).or_insert_with(|| History::begin(entry, key)).add(entry);
    }
    all
}

/// What cannot be undone, whatever becomes of the object. What was made in the case takes everything with it.
pub(crate) fn irreversible(entries: &[Entry], histories: &BTreeMap<ObjectKey, History>) -> Vec<ObjectKey> {
    let lasting = |key: &ObjectKey| histories.get(key).is_none_or(|history| history.original.is_some());
    let done = entries.iter().filter(|entry| entry.intent.irreversible && entry.state != State::Refused);
    let keys: BTreeSet<ObjectKey> = done.filter_map(subject).filter(lasting).collect();
    keys.into_iter().collect()
}

/// What became of an entry that is not settled: `seen` is its object as the next entry about it found it, or as it is now.
pub(crate) fn settled(entry: &Entry, seen: Option<&Value>, label: &str) -> State {
    let before = entry.intent.before.as_ref();
    let deletes = entry.intent.verb == "delete" || entry.intent.subresource == "eviction";
    match (before, seen) {
        (Some(_), None) if deletes => State::Done { after: None },
        (Some(before), Some(seen)) if deletes => {
            let going = |object: &Value| object.pointer("/metadata/deletionTimestamp").is_some();
            match uid(before) == uid(seen) {
                false => State::Done { after: None },
                true if going(seen) && !going(before) => State::Done { after: Some(seen.clone()) },
                true => State::Refused,
            }
        }
        (None, None) => State::Refused,
        (None, Some(_)) if deletes => State::Refused,
        (None, Some(seen)) => {
            let ours = match &entry.intent.nonce {
                Some(nonce) => nonce_of(seen) == Some(nonce),
                None => seen.pointer("/metadata/labels").and_then(|l| l.get(LABEL)).is_some_and(|l| l == label),
            };
            if ours { State::Done { after: Some(seen.clone()) } } else { State::Refused }
        }
        (Some(before), Some(seen)) => {
            let version = |object: &Value| text(object, "/metadata/resourceVersion").to_owned();
            let untouched = uid(before) == uid(seen) && version(before) == version(seen);
            if untouched { State::Refused } else { State::Unknown }
        }
        (Some(_), None) => State::Unknown,
    }
}
