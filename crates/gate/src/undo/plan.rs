//! What has to be done to each object, and in which order. Pure: it is given what the journal says and what is there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::body::{self, Moved};
use super::fields::{difference, is_going, owners, text, uid};
use super::history::{History, Last};
use super::normal::{is_one, names_gone_owner, pair, same, same_but_address, since};
use super::{finalizers, order};
use crate::ObjectKey;

/// The most differences that are told of one object.
const EVIDENCE: usize = 20;

/// An object as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// In the version of its original.
    pub(crate) object: Option<Value>,
    /// In the version of its last touch, where that is another one.
    pub(crate) as_last: Option<Value>,
}

/// The cluster as far as the journal knows of it.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) seen: HashMap<ObjectKey, Seen>,
    /// Objects that would not take their original as an update.
    pub(crate) immutable: HashSet<ObjectKey>,
}

/// What is to be done to one object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// It is as it was.
    Nothing,
    /// Somebody else has changed it since: it stays, and these pointers say where.
    Drifted { why: &'static str, paths: Vec<String> },
    /// Taken off what holds its end up.
    Release(Value),
    /// It is on its way out: that has an end.
    Await(String),
    /// Deleted, if it still has this uid.
    Remove(String),
    /// Updated with this.
    PutBack { object: Value, status: bool },
    /// Made again.
    Recreate(Value),
}

/// All deeds, in the order in which they are to be done; objects with nothing to do are left out.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) deeds: Vec<(order::Stage, ObjectKey, Deed)>,
    /// Uids that owner references name and that belong to another object now, old to new.
    pub(crate) moved: Moved,
    /// Uids of owners that are not there now.
    pub(crate) absent: HashSet<String>,
    /// Namespaces that were made in the case: what is in them goes with them.
    pub(crate) dying: BTreeSet<String>,
}

/// Decides.
pub(crate) fn plan(histories: &BTreeMap<ObjectKey, History>, world: &World) -> Plan {
    let mut plan = Plan::default();
    for (key, history) in histories {
        let now = world.seen.get(key).and_then(|seen| seen.object.as_ref());
        match (&history.original, now) {
            (Some(original), Some(now)) if !is_one(original, now) => {
                plan.moved.insert(uid(original).to_owned(), uid(now).to_owned());
            }
            (Some(original), None) => {
                plan.absent.insert(uid(original).to_owned());
            }
            // One that is gone already has taken everything with it.
            (None, now) if is_namespace(key) && now.is_none_or(|now| history.made(now)) => {
                plan.dying.insert(key.name.clone());
            }
            _ => {}
        }
    }
    let nothing = Seen::default();
    let by_uid: HashMap<&str, &History> = histories
        .values()
        .filter_map(|h| Some((uid(h.original.as_ref()?), h)))
        .filter(|(uid, _)| !uid.is_empty())
        .collect();
    let mut deeds: Vec<(order::Place, ObjectKey, Deed)> = Vec::new();
    for (key, history) in histories {
        let seen = world.seen.get(key).unwrap_or(&nothing);
        let deed = decide(history, seen, world.immutable.contains(key), &plan);
        if deed != Deed::Nothing {
            deeds.push((order::place(history, &deed, depth(history, &by_uid)), key.clone(), deed));
        }
    }
    deeds.sort_by(|(a, _, _), (b, _, _)| a.cmp(b));
    plan.deeds = deeds.into_iter().map(|(place, key, deed)| (place.0, key, deed)).collect();
    plan
}

fn is_namespace(key: &ObjectKey) -> bool {
    key.resource == "namespaces" && key.group.is_empty()
}

/// How many owners of the journal are above it.
fn depth(history: &History, by_uid: &HashMap<&str, &History>) -> usize {
    let (mut depth, mut level) = (0, vec![history]);
    // References in a ring are somebody's mistake, not a reason to go round for ever.
    while depth < 10 {
        let originals = level.iter().filter_map(|h| h.original.as_ref());
        level = originals.flat_map(owners).filter_map(|owner| by_uid.get(text(owner, "/uid")).copied()).collect();
        if level.is_empty() {
            break;
        }
        depth += 1;
    }
    depth
}

fn decide(history: &History, seen: &Seen, immutable: bool, plan: &Plan) -> Deed {
    let in_dying = plan.dying.contains(&history.key.namespace) && !history.key.namespace.is_empty();
    match (&history.original, &seen.object) {
        (None, None) => Deed::Nothing,
        (None, Some(now)) => unmake(history, now, in_dying),
        (Some(original), None) => {
            let passing = matches!(history.key.resource.as_str(), "events" | "nodes");
            if in_dying || passing || history.is_controlled() || is_going(original) {
                return Deed::Nothing;
            }
            Deed::Recreate(body::create(&history.key, original, &plan.moved))
        }
        (Some(_), Some(now)) if in_dying => release(history, now).unwrap_or(Deed::Nothing),
        (Some(original), Some(now)) => restore(history, original, now, seen, immutable, plan),
    }
}

fn release(history: &History, now: &Value) -> Option<Deed> {
    let off = finalizers::to_take_off(now, &history.finalizers, history.original.as_ref());
    (!off.is_empty()).then(|| Deed::Release(finalizers::without(now, &off)))
}

/// An object that was not there before.
fn unmake(history: &History, now: &Value, in_dying: bool) -> Deed {
    if (in_dying || is_going(now) || history.made(now))
        && let Some(release) = release(history, now)
    {
        return release;
    }
    if !history.made(now) {
        if in_dying {
            return Deed::Nothing;
        }
        return Deed::Drifted {
            why: "it was not there before, and what is there now was made by somebody else",
            paths: vec![],
        };
    }
    match (in_dying, is_going(now)) {
        (true, _) => Deed::Nothing,
        (false, true) => Deed::Await(uid(now).to_owned()),
        (false, false) => remove(now),
    }
}

fn remove(now: &Value) -> Deed {
    Deed::Remove(uid(now).to_owned())
}

/// An object that was there before, and is there now.
fn restore(history: &History, original: &Value, now: &Value, seen: &Seen, immutable: bool, plan: &Plan) -> Deed {
    let key = &history.key;
    if is_going(now) && !is_going(original) {
        return release(history, now).unwrap_or_else(|| Deed::Await(uid(now).to_owned()));
    }
    let orphaned = names_gone_owner(now, &plan.moved);
    if !is_one(original, now) && !history.made(now) && !history.took_over(now) {
        // Made by a controller, by somebody else, or by an undo that was ended in the middle.
        let alike = same_but_address(key, original, now) || since(key, original, now).1.is_empty();
        return match alike {
            true if !orphaned => Deed::Nothing,
            true => put_back(history, original, now, false, &[], plan),
            false if history.is_controlled() || key.resource == "nodes" => Deed::Nothing,
            false => drifted("it was deleted, and somebody else has made another one", key, original, now),
        };
    }
    let status = history.status && is_one(original, now) && status_is_ours(history, original, now, seen);
    if same(key, original, now) {
        if !status && !orphaned {
            return Deed::Nothing;
        }
        return put_back(history, original, now, status, &[], plan);
    }
    let controllers = match &history.last {
        Last::Unknown => Vec::new(),
        // It was deleted and is there all the same: the deletion is not through yet, or this is another one.
        Last::Image(None, _) => Vec::new(),
        Last::Image(Some(last), _) => {
            let (controllers, mut others) = since(key, last, seen.as_last.as_ref().unwrap_or(now));
            if seen.as_last.is_none() {
                // What is as it was has been put back, by an undo that came before perhaps.
                let (original, now) = pair(key, original, now);
                others.retain(|pointer| original.pointer(pointer) != now.pointer(pointer));
            }
            if !others.is_empty() {
                return drifted("somebody else has changed it since", key, original, now);
            }
            controllers
        }
    };
    if immutable {
        return remove(now);
    }
    let deed = put_back(history, original, now, status, &controllers, plan);
    match &deed {
        // All that differs is a controller's to decide.
        Deed::PutBack { object, .. } if !status && !orphaned && same(key, object, now) => Deed::Nothing,
        _ => deed,
    }
}

/// Whether the status is still as the case left it. Otherwise those whose status it is have written it since.
fn status_is_ours(history: &History, original: &Value, now: &Value, seen: &Seen) -> bool {
    let differs = original.get("status") != now.get("status");
    differs
        && match &history.last {
            Last::Image(Some(last), _) => last.get("status") == seen.as_last.as_ref().unwrap_or(now).get("status"),
            Last::Image(None, _) => false,
            Last::Unknown => true,
        }
}

fn put_back(
    history: &History,
    original: &Value,
    now: &Value,
    status: bool,
    controllers: &[String],
    plan: &Plan,
) -> Deed {
    let object = body::update(&history.key, original, now, status, controllers, &plan.moved);
    Deed::PutBack { object, status }
}

/// Pointers only: what stands there may be a secret.
fn drifted(why: &'static str, key: &ObjectKey, original: &Value, now: &Value) -> Deed {
    let (a, b) = pair(key, original, now);
    let mut paths = difference(&a, &b, false);
    paths.truncate(EVIDENCE);
    Deed::Drifted { why, paths }
}
