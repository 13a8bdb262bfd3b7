//! Deletion: preconditions, grace for pods, finalizers, propagation policies.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::object;
use crate::registry::Info;
use crate::state::State;
use crate::store::Event;

/// What `DeleteOptions` say.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteHow {
    pub(crate) grace_seconds: Option<i64>,
    /// `Background`, `Foreground`, `Orphan`.
    pub(crate) propagation: Option<String>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dry_run: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// It is gone.
    Gone(Arc<Value>),
    /// It stays for now: grace, finalizers.
    Going(Arc<Value>),
}

impl Deleted {
    pub(crate) fn object(&self) -> &Arc<Value> {
        match self {
            Deleted::Gone(object) | Deleted::Going(object) => object,
        }
    }
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

impl State {
    /// Deletes an object as a DELETE does.
    pub(crate) fn delete_object(
        &mut self,
        info: &Arc<Info>,
        namespace: &str,
        name: &str,
        how: &DeleteHow,
    ) -> Result<Deleted, ApiError> {
        let Some(old) = self.store.get(&info.resource, namespace, name).cloned() else {
            return Err(ApiError::not_found(info, name));
        };
        check_preconditions(info, &old, how)?;
        if info.resource.plural == "namespaces" {
            return self.delete_namespace(info, &old, how);
        }
        if info.resource == crate::custom::DEFINITIONS && !object::is_deleting(&old) {
            return Ok(self.delete_definition(info, &old, how));
        }
        let mut new = (*old).clone();
        add_propagation(&mut new, how);
        let held = !object::list(&new, &["metadata", "finalizers"]).is_empty();
        let is_pod = info.resource.group.is_empty() && info.resource.plural == "pods";
        let grace = if is_pod { pod_grace(&old, how.grace_seconds) } else { 0 };
        if object::is_deleting(&old) {
            return self.delete_again(info, &old, new, grace, held, is_pod, how);
        }
        if grace == 0 && !held && !is_pod {
            return Ok(Deleted::Gone(self.remove(info, new, how)));
        }
        mark(&mut new, self.now(), grace);
        if grace > 0 || held {
            return Ok(Deleted::Going(self.put(info, new, how)));
        }
        // A pod that goes at once is seen marked first.
        let scheduled = !object::text(&old, &["spec", "nodeName"]).is_empty();
        let marked = if scheduled { self.put(info, new, how) } else { Arc::new(new) };
        Ok(Deleted::Gone(self.remove(info, (*marked).clone(), how)))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one decision")]
    fn delete_again(
        &mut self,
        info: &Arc<Info>,
        old: &Arc<Value>,
        mut new: Value,
        grace: i64,
        held: bool,
        is_pod: bool,
        how: &DeleteHow,
    ) -> Result<Deleted, ApiError> {
        let before = object::at(old, &["metadata", "deletionGracePeriodSeconds"]).as_i64().unwrap_or(0);
        if is_pod && grace < before {
            // The end moves forward by what was cut off.
            let end = object::text(old, &["metadata", "deletionTimestamp"]).parse::<Timestamp>().unwrap_or(self.now());
            let end = end.saturating_sub(SignedDuration::from_secs(before - grace)).unwrap_or(end);
            let metadata = object::metadata(&mut new);
            metadata.insert("deletionTimestamp".into(), json!(format!("{end:.0}")));
            metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
            let marked = self.put(info, new, how);
            if grace > 0 || held {
                return Ok(Deleted::Going(marked));
            }
            return Ok(Deleted::Gone(self.remove(info, (*marked).clone(), how)));
        }
        if before == 0 && !held {
            return Ok(Deleted::Gone(self.remove(info, new, how)));
        }
        if new != **old && !is_pod {
            return Ok(Deleted::Going(self.put(info, new, how)));
        }
        Ok(Deleted::Going(Arc::clone(old)))
    }

    fn delete_namespace(&mut self, info: &Arc<Info>, old: &Arc<Value>, how: &DeleteHow) -> Result<Deleted, ApiError> {
        let name = object::name(old);
        if matches!(name, "default" | "kube-system" | "kube-public") {
            return Err(ApiError::forbidden(info, name, "this namespace may not be deleted"));
        }
        if object::is_deleting(old) {
            return Ok(Deleted::Going(Arc::clone(old)));
        }
        let mut new = (**old).clone();
        let now = format!("{:.0}", self.now());
        object::metadata(&mut new).insert("deletionTimestamp".into(), json!(now));
        object::child(&mut new, "status").insert("phase".into(), json!("Terminating"));
        Ok(Deleted::Going(self.put(info, new, how)))
    }

    fn put(&mut self, info: &Arc<Info>, object: Value, how: &DeleteHow) -> Arc<Value> {
        if how.dry_run { Arc::new(object) } else { self.commit(info, Event::Modified, object) }
    }

    fn remove(&mut self, info: &Arc<Info>, object: Value, how: &DeleteHow) -> Arc<Value> {
        if how.dry_run { Arc::new(object) } else { self.commit(info, Event::Deleted, object) }
    }
}

/// Refuses a deletion that was meant for another object, or another state of it.
pub(crate) fn check_preconditions(info: &Info, old: &Value, how: &DeleteHow) -> Result<(), ApiError> {
    let name = object::name(old);
    let refuse = |why: String| {
        let kind = info.resource.kind;
        let mut details = json!({"name": name, "kind": kind});
        if !info.resource.group.is_empty() {
            details["group"] = json!(info.resource.group);
        }
        let qualified =
            if info.resource.group.is_empty() { kind.to_owned() } else { format!("{kind}.{}", info.resource.group) };
        let message = format!("Operation cannot be fulfilled on {qualified} {name:?}: {why}");
        Err(ApiError::new(409, "Conflict", message).with_details(details))
    };
    if let Some(uid) = how.uid.as_deref().filter(|uid| *uid != object::uid(old)) {
        return refuse(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            object::uid(old)
        ));
    }
    let version = object::text(old, &["metadata", "resourceVersion"]);
    if let Some(wanted) = how.resource_version.as_deref().filter(|wanted| *wanted != version) {
        return refuse(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). The object might have been modified"
        ));
    }
    Ok(())
}

/// Finalizers by which the garbage collector does what the policy asks.
fn add_propagation(object: &mut Value, how: &DeleteHow) {
    let Some(policy) = how.propagation.as_deref() else { return };
    let mut finalizers: Vec<Value> = object::list(object, &["metadata", "finalizers"]).to_vec();
    finalizers.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
    match policy {
        "Orphan" => finalizers.push(json!(ORPHAN)),
        "Foreground" => finalizers.push(json!(FOREGROUND)),
        _ => {}
    }
    let metadata = object::metadata(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), Value::Array(finalizers));
    }
}

fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let own = object::at(pod, &["spec", "terminationGracePeriodSeconds"]).as_i64().unwrap_or(30);
    let ended = matches!(object::text(pod, &["status", "phase"]), "Succeeded" | "Failed");
    let unscheduled = object::text(pod, &["spec", "nodeName"]).is_empty();
    match asked.unwrap_or(own) {
        grace if grace < 0 => 1,
        _ if ended || unscheduled => 0,
        grace => grace,
    }
}

fn mark(object: &mut Value, now: Timestamp, grace: i64) {
    let end = now.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(now);
    let generation = object::at(object, &["metadata", "generation"]).as_i64();
    let metadata = object::metadata(object);
    metadata.insert("deletionTimestamp".into(), json!(format!("{end:.0}")));
    metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
    if let Some(generation) = generation {
        metadata.insert("generation".into(), json!(generation + 1));
    }
}
