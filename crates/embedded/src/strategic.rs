//! Strategic merge patches: lists merged by their keys, `$patch`, `$retainKeys`, `$setElementOrder`,
//! `$deleteFromPrimitiveList`.

use serde_json::{Map, Value};
use wire::schema::{self, Field, Merge, Message, Shape, Type};

use crate::error::ApiError;
use crate::registry::Info;

/// The object with the patch merged in.
pub(crate) fn merge(info: &Info, object: &Value, patch: &Value) -> Result<Value, ApiError> {
    let message = schema::of_kind(&info.resource.api_version(), info.resource.kind);
    let Value::Object(patch) = patch else {
        return Err(ApiError::bad_request("error decoding patch: Invalid JSON document"));
    };
    let current = object.as_object().cloned().unwrap_or_default();
    Ok(Value::Object(merge_object(message, current, patch)?))
}

fn bad(why: impl Into<String>) -> ApiError {
    ApiError::bad_request(why)
}

fn message_of(field: Option<&Field>) -> Option<&'static Message> {
    match field.map(|field| field.ty) {
        Some(Type::Message(name)) => schema::message(name),
        _ => None,
    }
}

fn merge_object(
    message: Option<&Message>,
    mut current: Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            return Ok(patch.iter().filter(|(key, _)| *key != "$patch").map(|(k, v)| (k.clone(), v.clone())).collect());
        }
        Some("delete") => return Ok(Map::new()),
        Some("merge") | None => {}
        Some(other) => return Err(bad(format!("unknown patch type: {other}"))),
    }
    if let Some(Value::Array(keep)) = patch.get("$retainKeys") {
        current.retain(|key, _| keep.iter().any(|kept| kept == key.as_str()));
    }
    for (key, value) in patch {
        if key == "$patch" || key == "$retainKeys" {
            continue;
        }
        if let Some(list) = key.strip_prefix("$setElementOrder/") {
            if let (false, Some(Value::Array(items)), Value::Array(wanted)) =
                (patch.contains_key(list), current.get_mut(list), value)
            {
                let before = std::mem::take(items);
                *items = ordered(message.and_then(|m| m.field(list)), before.clone(), wanted, &before);
            }
            continue;
        }
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (current.get_mut(list), value) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        let field = message.and_then(|m| m.field(key));
        match (value, current.get(key)) {
            (Value::Null, _) => {
                current.remove(key);
            }
            (Value::Object(patch), before) => {
                let before = before.and_then(Value::as_object).cloned().unwrap_or_default();
                let inner = field.filter(|f| f.shape == Shape::One).and_then(|f| message_of(Some(f)));
                current.insert(key.clone(), Value::Object(merge_object(inner, before, patch)?));
            }
            (Value::Array(items), before) => {
                let before = before.and_then(Value::as_array).cloned().unwrap_or_default();
                let mut merged = merge_list(field, before.clone(), items)?;
                if merges(field) && !items.iter().any(|item| item["$patch"] == "replace") {
                    let wanted = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
                    merged = ordered(field, merged, wanted.unwrap_or(items), &before);
                }
                current.insert(key.clone(), Value::Array(merged));
            }
            (scalar, _) => {
                current.insert(key.clone(), scalar.clone());
            }
        }
    }
    Ok(current)
}

fn merge_list(field: Option<&Field>, before: Vec<Value>, patch: &[Value]) -> Result<Vec<Value>, ApiError> {
    let merge = field.map(|field| &field.merge);
    let replace = patch.iter().any(|item| item["$patch"] == "replace");
    let plain = || patch.iter().filter(|item| item.get("$patch").is_none()).cloned().collect();
    match merge {
        _ if replace => Ok(plain()),
        Some(Merge::Keys(keys)) => merge_items(message_of(field), keys[0], before, patch),
        Some(Merge::Set) => {
            let mut merged = before;
            for item in patch {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            Ok(merged)
        }
        _ => Ok(plain()),
    }
}

fn merge_items(
    message: Option<&Message>,
    key: &str,
    before: Vec<Value>,
    patch: &[Value],
) -> Result<Vec<Value>, ApiError> {
    let mut merged = before;
    for item in patch {
        let Value::Object(changes) = item else {
            return Err(bad(format!("expected a map in the list, found {item}")));
        };
        let Some(id) = changes.get(key) else {
            return Err(ApiError::new(500, "", format!("map: {item} does not contain declared merge key: {key}")));
        };
        let position = merged.iter().position(|have| have.get(key) == Some(id));
        if changes.get("$patch").is_some_and(|directive| directive == "delete") {
            merged.retain(|have| have.get(key) != Some(id));
            continue;
        }
        match position {
            Some(at) => {
                let have = merged[at].as_object().cloned().unwrap_or_default();
                merged[at] = Value::Object(merge_object(message, have, changes)?);
            }
            None => merged.push(Value::Object(merge_object(message, Map::new(), changes)?)),
        }
    }
    Ok(merged)
}

fn merges(field: Option<&Field>) -> bool {
    field.is_some_and(|field| field.merge != Merge::Atomic)
}

/// The items that the patch names, in its order, and the others in theirs: zipped so that two that were there before
/// keep their order, and what is new comes first.
fn ordered(field: Option<&Field>, items: Vec<Value>, wanted: &[Value], before: &[Value]) -> Vec<Value> {
    let key = match field.map(|field| &field.merge) {
        Some(Merge::Keys(keys)) => Some(keys[0]),
        _ => None,
    };
    let place = |item: &Value, list: &[Value]| match key {
        Some(key) => list.iter().position(|other| other.get(key).is_some() && other.get(key) == item.get(key)),
        None => list.iter().position(|other| other == item),
    };
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(item, wanted).is_some());
    named.sort_by_key(|item| place(item, wanted));
    let mut others = others.into_iter().peekable();
    let mut result = Vec::new();
    for item in named {
        let own = place(&item, before);
        while let (Some(own), Some(other)) = (own, others.peek().and_then(|other| place(other, before))) {
            if other >= own {
                break;
            }
            result.extend(others.next());
        }
        result.push(item);
    }
    result.extend(others);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use serde_json::json;

    fn patched(object: Value, patch: Value) -> Value {
        let registry = Registry::default();
        let info = registry.find("apps", "v1", "deployments").unwrap();
        merge(info, &object, &patch).unwrap()
    }

    #[test]
    fn containers_merge_by_name_and_env_within() {
        let object = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "y"}]}}}});
        let patch = json!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
            "containers": [{"name": "a", "env": [{"name": "F", "value": "2"}]}, {"name": "b", "$patch": "delete"}]}}}});
        assert_eq!(
            patched(object, patch)["spec"]["template"]["spec"]["containers"],
            json!([{"name": "a", "image": "x", "env": [{"name": "F", "value": "2"}, {"name": "E", "value": "1"}]}])
        );
    }

    #[test]
    fn retained_keys_drop_the_rest() {
        let object = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(patched(object, patch)["spec"]["strategy"], json!({"type": "Recreate"}));
    }
}
