//! Patches: a line that says which, a line with the object, and the patch in JSON or, for an apply, in YAML. Held against
//! RFC 7386, against the difference that a patch has made, and against being done twice.

use bytes::Bytes;
use embedded::Foreign;
use serde_json::{Map, Value};

use crate::is_same;

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

pub(crate) fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let (Some(which), Some(object), Some(patch)) = (lines.next(), lines.next(), lines.next()) else { return };
    let (kind, resource) = which.split_once(' ').unwrap_or((which, "deployments"));
    let resource = match resource {
        "pods" => Foreign::resource("", "v1", "pods"),
        "services" => Foreign::resource("", "v1", "services"),
        "configmaps" => Foreign::resource("", "v1", "configmaps"),
        _ => Foreign::resource("apps", "v1", "deployments"),
    };
    let Some(resource) = resource else { panic!("the server does not have {which}") };
    let Ok(object) = wire::json::parse(object.as_bytes()) else { return };
    if !object.value.is_object() {
        return;
    }
    let media_type = if kind == "apply" { "application/yaml" } else { "application/json" };
    let Ok(patch) = wire::decode(media_type, &Bytes::copy_from_slice(patch.as_bytes())) else { return };
    match kind {
        "json" => json(&resource, &object.value, &patch),
        "merge" => merge(&resource, &object.value, &patch),
        "strategic" => strategic(&resource, &object.value, &patch),
        _ => apply(&resource, object.value, patch),
    }
}

/// What a patch has changed can be said as another patch, and saying it changes the same.
fn json(resource: &Foreign, object: &Value, patch: &Value) {
    let Ok(patched) = resource.patch(JSON, object, patch.clone()) else { return };
    let difference = serde_json::to_value(json_patch::diff(object, &patched)).unwrap_or_default();
    match resource.patch(JSON, object, difference.clone()) {
        Ok(again) => assert!(is_same(&again, &patched), "{difference}: {again}"),
        Err(refusal) => panic!("{difference} is refused: {refusal}"),
    }
    let nothing = resource.patch(JSON, object, Value::Array(Vec::new()));
    assert_eq!(nothing.ok().as_ref(), Some(object), "a patch of nothing");
}

/// RFC 7386, section 2, as it stands there.
fn rfc_7386(target: Option<&Value>, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut merged = target.and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            merged.remove(key);
        } else {
            let value = rfc_7386(merged.get(key), value);
            merged.insert(key.clone(), value);
        }
    }
    Value::Object(merged)
}

fn merge(resource: &Foreign, object: &Value, patch: &Value) {
    let patched = resource.patch(MERGE, object, patch.clone());
    if !patch.is_object() {
        assert!(patched.is_err(), "{patch} is taken for a merge patch");
        return;
    }
    let Ok(patched) = patched else { panic!("{patch} is refused") };
    assert_eq!(patched, rfc_7386(Some(object), patch), "{object} with {patch}");
    let twice = resource.patch(MERGE, &patched, patch.clone());
    assert_eq!(twice.ok(), Some(patched), "{patch} twice");
}

fn strategic(resource: &Foreign, object: &Value, patch: &Value) {
    let patched = resource.patch(STRATEGIC, object, patch.clone());
    let nothing = resource.patch(STRATEGIC, object, Value::Object(Map::new()));
    assert_eq!(nothing.ok().as_ref(), Some(object), "a patch of nothing");
    // Without lists and directives there is nothing that it would do in another way than a merge patch.
    if is_plain(patch) {
        let merged = resource.patch(MERGE, object, patch.clone());
        assert_eq!(patched.ok(), merged.ok(), "{object} with {patch}");
        return;
    }
    let Ok(patched) = patched else { return };
    if !directs(patch) {
        let twice = resource.patch(STRATEGIC, &patched, patch.clone());
        assert_eq!(twice.ok().as_ref(), Some(&patched), "{patch} twice over {object}");
    }
}

fn is_plain(patch: &Value) -> bool {
    match patch {
        Value::Object(map) => map.iter().all(|(key, value)| !key.starts_with('$') && is_plain(value)),
        Value::Array(_) => false,
        _ => true,
    }
}

fn directs(patch: &Value) -> bool {
    match patch {
        Value::Object(map) => map.iter().any(|(key, value)| key.starts_with('$') || directs(value)),
        Value::Array(items) => items.iter().any(directs),
        _ => false,
    }
}

fn apply(resource: &Foreign, object: Value, config: Value) {
    let (Ok(live), Ok(config)) = (resource.in_types(object), resource.in_types(config)) else { return };
    let without_conflict = resource.apply(&live, config.clone(), "fuzz", false);
    let applied = match resource.apply(&live, config.clone(), "fuzz", true) {
        Ok(applied) => applied,
        Err(refusal) => {
            assert!(refusal.code != 409, "a conflict in spite of force: {config}: {refusal}");
            return;
        }
    };
    if let Ok(peaceful) = without_conflict {
        assert_eq!(peaceful, applied, "force changes what is not contested");
    }
    // Whoever has applied something is the owner, and has no quarrel with himself.
    match resource.apply(&applied, config.clone(), "fuzz", false) {
        Ok(again) => assert_eq!(again, applied, "{config} twice over {live}"),
        Err(refusal) => panic!("{config} twice over {live}: {refusal}"),
    }
}
