//! Creates and replacements of objects, the same for clients and controllers: metadata, defaults, admission,
//! validation, managed fields, and nothing written when nothing differs.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::error::{ApiError, Cause, details};
use crate::managed::{Writer, track};
use crate::object;
use crate::registry::Info;
use crate::state::State;
use crate::store::Event;
use crate::{admission, defaults, validation};

/// Who writes, and how.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) manager: String,
    pub(crate) dry_run: bool,
    /// Empty, or `status` and the like.
    pub(crate) subresource: &'static str,
    /// The managed fields are in the object already (server-side apply).
    pub(crate) managed: bool,
}

impl Write {
    pub(crate) fn by(manager: &str) -> Self {
        Self { manager: manager.to_owned(), dry_run: false, subresource: "", managed: false }
    }

    pub(crate) fn of(mut self, subresource: &'static str) -> Self {
        self.subresource = subresource;
        self
    }
}

/// Metadata that only the server writes.
const SERVERS_OWN: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];

/// Resources whose specification has generations.
fn has_generation(info: &Info) -> bool {
    info.custom
        || matches!(
            info.resource.plural,
            "pods"
                | "replicationcontrollers"
                | "deployments"
                | "replicasets"
                | "statefulsets"
                | "daemonsets"
                | "jobs"
                | "cronjobs"
                | "ingresses"
                | "ingressclasses"
                | "networkpolicies"
                | "poddisruptionbudgets"
                | "priorityclasses"
                | "endpointslices"
                | "customresourcedefinitions"
                | "flowschemas"
                | "prioritylevelconfigurations"
                | "mutatingwebhookconfigurations"
                | "validatingwebhookconfigurations"
                | "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
        )
}

impl State {
    /// Creates an object that is in its types already.
    pub(crate) fn create_object(
        &mut self,
        info: &Arc<Info>,
        namespace: &str,
        object: Value,
        how: &Write,
    ) -> Result<Arc<Value>, ApiError> {
        self.create_object_managed(info, namespace, object, Value::Null, how)
    }

    /// Creates an object; `managed` are its managed fields when `how` says that they are known.
    pub(crate) fn create_object_managed(
        &mut self,
        info: &Arc<Info>,
        namespace: &str,
        mut object: Value,
        managed: Value,
        how: &Write,
    ) -> Result<Arc<Value>, ApiError> {
        self.prepare_new(info, namespace, &mut object)?;
        defaults::apply(info, &mut object);
        if how.managed {
            object::metadata(&mut object).insert("managedFields".into(), managed);
        } else {
            let writer = Writer { manager: &how.manager, subresource: "", now: self.now() };
            track(info, None, &mut object, &writer);
        }
        admission::on_create(self, info, &mut object, how)?;
        let name = object::name(&object).to_owned();
        let causes = validation::on_create(info, &object);
        if !causes.is_empty() {
            return Err(ApiError::invalid(info, &name, &causes));
        }
        if self.store.get(&info.resource, namespace, &name).is_some() {
            return Err(self.exists(info, namespace, &name));
        }
        if how.dry_run {
            return Ok(Arc::new(object));
        }
        crate::quota::charge(self, info, &object);
        Ok(self.commit(info, Event::Added, object))
    }

    fn exists(&self, info: &Info, namespace: &str, name: &str) -> ApiError {
        let mut error = ApiError::already_exists(info, name);
        if self.store.get(&info.resource, namespace, name).is_some_and(|old| object::is_deleting(old)) {
            error.message = format!("object is being deleted: {}", error.message);
        }
        error
    }

    fn prepare_new(&mut self, info: &Arc<Info>, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
        self.check_namespace(info, namespace)?;
        let now = format!("{:.0}", self.now());
        let uid = self.random.uid();
        let suffix = self.random.suffix(5);
        let metadata = object::metadata(object);
        if metadata.remove("resourceVersion").is_some_and(|v| v.as_str().is_some_and(|v| !v.is_empty())) {
            return Err(ApiError::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        for key in SERVERS_OWN {
            metadata.remove(key);
        }
        metadata.remove("managedFields");
        if info.resource.namespaced {
            metadata.insert("namespace".into(), json!(namespace));
        } else {
            metadata.remove("namespace");
        }
        let has_name = metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
        if !has_name && let Some(prefix) = metadata.get("generateName").and_then(Value::as_str) {
            // Names are cut so that the suffix fits into 63 characters.
            let prefix: String = prefix.chars().take(58).collect();
            metadata.insert("name".into(), json!(format!("{prefix}{suffix}")));
        }
        metadata.insert("uid".into(), json!(uid));
        metadata.insert("creationTimestamp".into(), json!(now));
        if has_generation(info) {
            metadata.insert("generation".into(), json!(1));
        }
        if info.has("status")
            && let Value::Object(map) = object
            && map.remove("status").is_some()
            && !info.custom
        {
            *object = crate::typed::convert(info, object.take(), &mut Vec::new())?;
        }
        Ok(())
    }

    /// A namespace that is not there, or on its way out, takes nothing new.
    pub(crate) fn check_namespace(&self, info: &Info, namespace: &str) -> Result<(), ApiError> {
        if !info.resource.namespaced {
            return Ok(());
        }
        let namespaces = simulation::resources::NAMESPACES;
        match self.store.get(&namespaces, "", namespace) {
            None => Err(ApiError::new(404, "NotFound", format!("namespaces {namespace:?} not found"))
                .with_details(json!({"name": namespace, "kind": "namespaces"}))),
            Some(_) => Ok(()),
        }
    }

    /// Replaces an object that is in its types already: all of it but the status, or the status alone.
    pub(crate) fn replace_object(
        &mut self,
        info: &Arc<Info>,
        mut new: Value,
        how: &Write,
    ) -> Result<Arc<Value>, ApiError> {
        let namespace = if info.resource.namespaced { object::namespace(&new).to_owned() } else { String::new() };
        let name = object::name(&new).to_owned();
        let Some(old) = self.store.get(&info.resource, &namespace, &name).cloned() else {
            return Err(ApiError::not_found(info, &name));
        };
        self.check_preconditions(info, &old, &new)?;
        carry_over(info, &old, &mut new, how);
        defaults::apply(info, &mut new);
        admission::on_update(self, info, &old, &mut new, how)?;
        bump_generation(info, &old, &mut new, how);
        if same_but_managed(&old, &new) && !how.managed {
            return Ok(old);
        }
        if !how.managed {
            let writer = Writer { manager: &how.manager, subresource: how.subresource, now: self.now() };
            track(info, Some(&old), &mut new, &writer);
        }
        if *old == new {
            return Ok(old);
        }
        let causes = validation::on_update(info, &old, &new, how.subresource);
        if !causes.is_empty() {
            return Err(ApiError::invalid(info, &name, &causes));
        }
        if how.dry_run {
            return Ok(Arc::new(new));
        }
        if is_finished(info, &new) {
            return Ok(self.commit(info, Event::Deleted, new));
        }
        Ok(self.commit(info, Event::Modified, new))
    }

    fn check_preconditions(&self, info: &Info, old: &Value, new: &Value) -> Result<(), ApiError> {
        let name = object::name(old);
        let uid = object::uid(new);
        if !uid.is_empty() && uid != object::uid(old) {
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{}/{}/{name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                info.resource.plural,
                object::namespace(old),
                object::uid(old)
            );
            return Err(ApiError::conflict(info, name, &why));
        }
        let version = object::text(new, &["metadata", "resourceVersion"]);
        if !version.is_empty() && version != object::text(old, &["metadata", "resourceVersion"]) {
            return Err(ApiError::modified(info, name));
        }
        Ok(())
    }

    /// The `binding` subresource.
    pub(crate) fn bind_pod(
        &mut self,
        namespace: &str,
        pod: &str,
        node: &str,
        how: &Write,
    ) -> Result<Arc<Value>, ApiError> {
        let info = self.info(&simulation::resources::PODS).ok_or_else(ApiError::unknown_path)?;
        let Some(old) = self.store.get(&info.resource, namespace, pod).cloned() else {
            return Err(ApiError::not_found(&info, pod));
        };
        let assigned = object::text(&old, &["spec", "nodeName"]);
        if !assigned.is_empty() {
            let mut error =
                ApiError::conflict(&info, pod, &format!("pod {pod} is already assigned to node {assigned:?}"));
            error.message = error.message.replacen("on pods ", "on pods/binding ", 1);
            return Err(error.with_details(json!({"name": pod, "kind": "pods/binding"})));
        }
        if object::is_deleting(&old) {
            let why = format!("pod {pod} is being deleted, cannot be assigned to a host");
            return Err(ApiError::conflict(&info, pod, &why).with_details(details(&info, pod)));
        }
        let mut new = (*old).clone();
        object::child(&mut new, "spec").insert("nodeName".into(), json!(node));
        let generation = object::at(&new, &["metadata", "generation"]).clone();
        let mut scheduled = json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": format!("{:.0}", self.now()),
        });
        if !generation.is_null() {
            scheduled["observedGeneration"] = generation;
        }
        let status = object::child(&mut new, "status");
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        if let Value::Array(conditions) = conditions {
            conditions.retain(|condition| condition["type"] != "PodScheduled");
            conditions.push(scheduled);
        }
        if how.dry_run {
            return Ok(Arc::new(new));
        }
        Ok(self.commit(&info, Event::Modified, new))
    }
}

/// Puts back what a client cannot change.
fn carry_over(info: &Info, old: &Value, new: &mut Value, how: &Write) {
    let old_metadata = old["metadata"].as_object();
    if how.subresource == "status" {
        if new.get("metadata") == old.get("metadata") {
            return keep_all_but_status(old, new);
        }
        let metadata = new.get_mut("metadata").map(Value::take);
        keep_all_but_status(old, new);
        // A status write may also change annotations; labels of some kinds stay as they are.
        if let Some(Value::Object(mut metadata)) = metadata {
            let target = object::metadata(new);
            let labels = (info.resource.plural != "deployments").then_some("labels");
            for key in ["annotations", "ownerReferences", "finalizers", "managedFields"].into_iter().chain(labels) {
                match metadata.remove(key) {
                    Some(value) => target.insert(key.into(), value),
                    None => target.remove(key),
                };
            }
        }
    } else if info.has("status")
        && let Value::Object(map) = new
    {
        match old.get("status") {
            Some(status) => map.insert("status".into(), status.clone()),
            None => map.remove("status"),
        };
    }
    let keep_managed = how.managed || object::at(new, &["metadata", "managedFields"]).is_array();
    let metadata = object::metadata(new);
    for key in SERVERS_OWN.iter().chain(&["resourceVersion", "generateName"]) {
        match old_metadata.and_then(|m| m.get(*key)) {
            Some(value) => metadata.insert((*key).into(), value.clone()),
            None => metadata.remove(*key),
        };
    }
    if !keep_managed && let Some(managed) = old_metadata.and_then(|m| m.get("managedFields")) {
        metadata.insert("managedFields".into(), managed.clone());
    }
    if object::list(new, &["metadata", "finalizers"]).is_empty() {
        object::metadata(new).remove("finalizers");
    }
}

/// Makes everything but the status as it was. What is so already, as it is when who writes has read before, is not copied.
fn keep_all_but_status(old: &Value, new: &mut Value) {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return };
    new.retain(|key, _| key == "status" || old.contains_key(key));
    for (key, value) in old {
        let same = if key == "status" { new.contains_key(key) } else { new.get(key) == Some(value) };
        if !same {
            new.insert(key.clone(), value.clone());
        }
    }
}

fn bump_generation(info: &Info, old: &Value, new: &mut Value, how: &Write) {
    if !has_generation(info) || how.subresource == "status" {
        return;
    }
    // Without a path of its own a status is a part of the object like any other.
    let whole = info.custom && !info.has("status");
    let differs = |key: &str| key != "metadata" && (whole || key != "status") && old.get(key) != new.get(key);
    let keys =
        old.as_object().into_iter().flat_map(|o| o.keys()).chain(new.as_object().into_iter().flat_map(|o| o.keys()));
    let spec_differs = keys.into_iter().any(|key| differs(key));
    let annotations_differ = info.resource.plural == "deployments"
        && object::at(old, &["metadata", "annotations"]) != object::at(new, &["metadata", "annotations"]);
    if spec_differs || annotations_differ {
        let generation = object::at(old, &["metadata", "generation"]).as_i64().unwrap_or(0) + 1;
        object::metadata(new).insert("generation".into(), json!(generation));
    }
}

fn same_but_managed(old: &Value, new: &Value) -> bool {
    let (Value::Object(a), Value::Object(b)) = (old, new) else { return old == new };
    let same_rest = a.len() == b.len() && a.iter().all(|(key, value)| key == "metadata" || b.get(key) == Some(value));
    let (Some(a), Some(b)) = (old["metadata"].as_object(), new["metadata"].as_object()) else { return same_rest };
    let strip = |map: &serde_json::Map<String, Value>| map.iter().filter(|(key, _)| *key != "managedFields").count();
    let is_reset = b.get("managedFields").and_then(Value::as_array).is_some_and(|list| {
        list.is_empty() || list.iter().all(|entry| entry.as_object().is_some_and(serde_json::Map::is_empty))
    });
    same_rest
        && !is_reset
        && strip(a) == strip(b)
        && a.iter().all(|(key, value)| key == "managedFields" || b.get(key) == Some(value))
}

/// On its way out, and nothing holds it any more.
fn is_finished(info: &Info, object: &Value) -> bool {
    if !object::is_deleting(object) || !object::list(object, &["metadata", "finalizers"]).is_empty() {
        return false;
    }
    match info.resource.plural {
        "namespaces" => object::list(object, &["spec", "finalizers"]).is_empty(),
        _ => object::at(object, &["metadata", "deletionGracePeriodSeconds"]).as_i64().unwrap_or(0) == 0,
    }
}

/// Names that a cause is about, for callers that build their own.
pub(crate) fn invalid(info: &Info, name: &str, cause: Cause) -> ApiError {
    ApiError::invalid(info, name, &[cause])
}
