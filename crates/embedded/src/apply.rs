//! Server-side apply: a configuration merged in by field ownership, conflicts with other managers, and fields that a
//! manager no longer names taken away.

use std::collections::HashSet;
use std::sync::Arc;

use http::Response;
use serde_json::{Map, Value, json};
use simulation::Resource;

use crate::body::Body;
use crate::error::{ApiError, Cause};
use crate::fields::{Difference, FieldSet, Node, applied, item_key, step};
use crate::managed::{Entry, entries, managed_part, set_entries};
use crate::object;
use crate::registry::Info;
use crate::request::{Call, options_invalid};
use crate::server::object_answer;
use crate::state::State;
use crate::writes::{check_namespace, check_served, write_of};
use crate::{typed, versions};

/// PATCH with an apply configuration.
pub(crate) fn apply(
    state: &mut State,
    info: &Arc<Info>,
    call: &Call,
    name: &str,
    subresource: &'static str,
) -> Result<Response<Body>, ApiError> {
    if call.query.text("fieldManager").is_empty() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(options_invalid("PatchOptions", cause));
    }
    let mut how = write_of(call, "PatchOptions", subresource)?;
    how.managed = true;
    let config = configuration(info, call, name)?;
    let namespace = call.target.namespace.clone().unwrap_or_default();
    let stored = state.registry.stored(info);
    let old = state.store.get(&stored.resource, &namespace, name).cloned();
    if old.is_none() && !subresource.is_empty() {
        return Err(ApiError::not_found(info, name));
    }
    let uid = object::uid(&config);
    if old.is_none() && !uid.is_empty() {
        let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(ApiError::conflict(info, name, &why));
    }
    let live = old.as_deref().map_or_else(|| json!({"metadata": {}}), |old| versions::to_version(info, old));
    let owner = Owner {
        manager: how.manager.clone(),
        subresource,
        api_version: info.resource.api_version(),
        time: format!("{:.0}", state.now()),
        force: call.query.flag("force"),
    };
    let has_status = info.has("status");
    let mut object = merged(Node::of(info), &live, &config, &owner, has_status)?;
    // Nobody manages these, but a configuration may be meant for one object, or one version of it, alone.
    for key in ["uid", "resourceVersion"] {
        if let Some(pin) = config["metadata"].get(key) {
            object::metadata(&mut object).insert(key.into(), pin.clone());
        }
    }
    if old.is_none() {
        object::metadata(&mut object).insert("name".into(), json!(name));
    }
    let mut unknown = Vec::new();
    let managed = object::at(&object, &["metadata", "managedFields"]).clone();
    let mut object = typed::convert(info, object, &mut unknown)?;
    if managed.is_array() {
        object::metadata(&mut object).insert("managedFields".into(), managed);
    }
    object["apiVersion"] = json!(info.resource.api_version());
    object["kind"] = json!(info.resource.kind);
    check_namespace(info, call, &mut object)?;
    let object = versions::to_stored(info, &stored, object);
    let (code, written) = match old {
        None => {
            check_served(state, info)?;
            let managed = object::at(&object, &["metadata", "managedFields"]).clone();
            (201, state.create_applied(&stored, &namespace, object, managed, &how)?)
        }
        Some(_) => (200, state.replace_object(&stored, object, &how)?),
    };
    let warnings = state.take_warnings();
    Ok(object_answer(state, info, call, code, &written, warnings))
}

fn configuration(info: &Info, call: &Call, name: &str) -> Result<Value, ApiError> {
    let config = wire::decode(&call.content_type, &call.body)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
    let (version, kind) = (object::text(&config, &["apiVersion"]), object::text(&config, &["kind"]));
    if version.is_empty() || kind.is_empty() {
        let (group, short) = version.split_once('/').unwrap_or(("", version));
        return Err(ApiError::bad_request(format!("invalid object type: {group}/{short}, Kind={kind}")));
    }
    if version != info.resource.api_version() || kind != info.resource.kind {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            info.resource.api_version()
        )));
    }
    if config["metadata"].get("managedFields").is_some() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let given = object::name(&config);
    if !given.is_empty() && given != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    // What the types do not know is an error here, whatever fieldValidation says.
    let mut unknown = Vec::new();
    typed::convert(info, config.clone(), &mut unknown)?;
    if let Some(path) = unknown.first() {
        return Err(untyped(info, &config, name, &format!(".{path}: field not declared in schema")));
    }
    let config = without_nulls(config);
    check_items(info, &config, name)?;
    Ok(config)
}

fn untyped(info: &Info, config: &Value, name: &str, why: &str) -> ApiError {
    let (Resource { group, version, kind, .. }, namespace) = (info.resource, object::namespace(config));
    let message =
        format!("failed to create typed patch object ({namespace}/{name}; {group}/{version}, Kind={kind}): {why}");
    ApiError::new(500, "", message)
}

/// Items that share a key could be merged in two ways, so a configuration has each once.
fn check_items(info: &Info, config: &Value, name: &str) -> Result<(), ApiError> {
    match repeated(Node::of(info), config, "") {
        Some(why) => Err(untyped(info, config, name, &why)),
        None => Ok(()),
    }
}

/// The first item whose key another one before it has, in the words of structured-merge-diff.
fn repeated(node: Node<'_>, value: &Value, path: &str) -> Option<String> {
    match (node, value) {
        (_, Value::Object(map)) if node.has_members() => {
            map.iter().find_map(|(key, value)| repeated(node.child(key), value, &format!("{path}.{key}")))
        }
        (Node::Items(..) | Node::CustomItems(..) | Node::Set, Value::Array(items)) => {
            let mut seen = HashSet::new();
            items.iter().find_map(|item| {
                let (key, inner) = match node.keyed() {
                    Some((keys, of_items)) => (item_key(keys, item), of_items),
                    None => (format!("v:{item}"), Node::Leaf),
                };
                let step = step(&key);
                if seen.insert(key) {
                    repeated(inner, item, &format!("{path}{step}"))
                } else {
                    Some(format!("{path}: duplicate entries for key {step}"))
                }
            })
        }
        _ => None,
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

struct Owner {
    manager: String,
    subresource: &'static str,
    api_version: String,
    time: String,
    force: bool,
}

fn merged(node: Node<'_>, live: &Value, config: &Value, owner: &Owner, has_status: bool) -> Result<Value, ApiError> {
    let part = managed_part(config, owner.subresource, has_status);
    let mut wanted = applied(node, &part);
    wanted.member = false;
    // A configuration without metadata owns none.
    if let Some(metadata) = wanted.children.get("f:metadata")
        && metadata.children.is_empty()
    {
        wanted.children.remove("f:metadata");
    }
    let mut all = entries(live);
    let is_own = |e: &Entry| e.manager == owner.manager && e.operation == "Apply" && e.subresource == owner.subresource;
    let previous = all.iter().position(is_own).map(|index| all.remove(index));
    let mut result = merge(node, live, &part);
    let changed = Difference::between(
        node,
        &managed_part(live, owner.subresource, has_status),
        &managed_part(&result, owner.subresource, has_status),
    )
    .changed;
    let mut conflicts = Vec::new();
    for entry in &mut all {
        let contested = entry.fields.intersection(&wanted).intersection(&changed);
        if contested.is_empty() {
            continue;
        }
        if owner.force {
            entry.fields.subtract(&contested);
        } else {
            conflicts.push((describe(entry), contested));
        }
    }
    if !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    if let Some(previous) = &previous {
        let mut dropped = previous.fields.clone();
        dropped.subtract(&wanted);
        for entry in &all {
            dropped.subtract(&entry.fields);
        }
        prune(node, &mut result, &dropped, &wanted);
    }
    let time = previous.filter(|p| p.fields == wanted).map_or_else(|| owner.time.clone(), |p| p.time);
    all.push(Entry {
        manager: owner.manager.clone(),
        operation: "Apply",
        api_version: owner.api_version.clone(),
        time,
        subresource: owner.subresource.to_owned(),
        fields: wanted,
    });
    set_entries(&mut result, &all);
    Ok(result)
}

/// A configuration of `manager` laid over an object, both in their types.
pub(crate) fn laid_over(
    info: &Info,
    live: &Value,
    config: Value,
    manager: &str,
    force: bool,
) -> Result<Value, ApiError> {
    let config = without_nulls(config);
    check_items(info, &config, object::name(&config))?;
    let owner = Owner {
        manager: manager.to_owned(),
        subresource: "",
        api_version: info.resource.api_version(),
        time: String::new(),
        force,
    };
    merged(Node::of(info), live, &config, &owner, info.has("status"))
}

fn describe(entry: &Entry) -> String {
    let mut text = format!("conflict with {:?}", entry.manager);
    if !entry.subresource.is_empty() {
        text.push_str(&format!(" with subresource {:?}", entry.subresource));
    }
    if entry.operation == "Update" {
        text.push_str(&format!(" using {}", entry.api_version));
    }
    text
}

fn conflict(conflicts: &[(String, FieldSet)]) -> ApiError {
    let listed: Vec<(String, String)> = conflicts
        .iter()
        .flat_map(|(who, fields)| fields.paths().into_iter().map(move |path| (who.clone(), path)))
        .collect();
    let message = match listed.as_slice() {
        [(who, path)] => format!("Apply failed with 1 conflict: {who}: {path}"),
        many => {
            let mut lines = Vec::new();
            let mut last = "";
            for (who, path) in many {
                if who != last {
                    lines.push(format!("{}:", who.replacen("conflict", "conflicts", 1)));
                    last = who;
                }
                lines.push(format!("- {path}"));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let causes: Vec<Value> = listed
        .iter()
        .map(|(who, path)| json!({"reason": "FieldManagerConflict", "message": who, "field": path}))
        .collect();
    ApiError::new(409, "Conflict", message).with_details(json!({"causes": causes}))
}

/// `config` laid over `live`.
fn merge(node: Node<'_>, live: &Value, config: &Value) -> Value {
    match (node, live, config) {
        (_, Value::Object(live), Value::Object(config)) if node.has_members() => {
            let mut map: Map<String, Value> = live.clone();
            for (key, value) in config {
                let merged = match live.get(key) {
                    Some(before) => merge(node.child(key), before, value),
                    None => value.clone(),
                };
                map.insert(key.clone(), merged);
            }
            Value::Object(map)
        }
        (Node::Items(..) | Node::CustomItems(..), Value::Array(live), Value::Array(config)) => {
            let Some((keys, of_items)) = node.keyed() else { return Value::Array(config.clone()) };
            let mut items = live.clone();
            for item in config {
                let id = item_key(keys, item);
                match items.iter_mut().find(|have| item_key(keys, have) == id) {
                    Some(have) => *have = merge(of_items, have, item),
                    None => items.push(item.clone()),
                }
            }
            Value::Array(items)
        }
        (Node::Set, Value::Array(live), Value::Array(config)) => {
            let mut items = live.clone();
            items.extend(config.iter().filter(|item| !live.contains(item)).cloned());
            Value::Array(items)
        }
        _ => config.clone(),
    }
}

/// Takes away what nobody wants any more.
fn prune(node: Node<'_>, value: &mut Value, dropped: &FieldSet, wanted: &FieldSet) {
    match (node, value) {
        (_, Value::Object(map)) if node.has_members() => {
            for (path, gone) in &dropped.children {
                let Some(key) = path.strip_prefix("f:") else { continue };
                let still = wanted.children.get(path);
                if gone.member && still.is_none_or(FieldSet::is_empty) {
                    map.remove(key);
                } else if let Some(inner) = map.get_mut(key) {
                    prune(node.child(key), inner, gone, still.unwrap_or(&FieldSet::default()));
                    // A map that the manager emptied goes with its last key.
                    if still.is_none() && inner.as_object().is_some_and(Map::is_empty) {
                        map.remove(key);
                    }
                }
            }
        }
        (Node::Items(..) | Node::CustomItems(..), Value::Array(items)) => {
            let Some((keys, of_items)) = node.keyed() else { return };
            items.retain_mut(|item| {
                let path = item_key(keys, item);
                let Some(gone) = dropped.children.get(&path) else { return true };
                let still = wanted.children.get(&path);
                if gone.member && still.is_none_or(FieldSet::is_empty) {
                    return false;
                }
                prune(of_items, item, gone, still.unwrap_or(&FieldSet::default()));
                true
            });
        }
        (Node::Set, Value::Array(items)) => {
            items.retain(|item| !dropped.children.contains_key(&format!("v:{item}")));
        }
        _ => {}
    }
}

impl State {
    /// Creates what an apply configuration describes, with the managed fields that it has.
    fn create_applied(
        &mut self,
        info: &Arc<Info>,
        namespace: &str,
        mut object: Value,
        managed: Value,
        how: &crate::write::Write,
    ) -> Result<Arc<Value>, ApiError> {
        object::metadata(&mut object).remove("resourceVersion");
        let mut with = how.clone();
        with.managed = true;
        self.create_object_managed(info, namespace, object, managed, &with)
    }
}
