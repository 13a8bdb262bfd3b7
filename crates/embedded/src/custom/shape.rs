//! What becomes of an object on its way in, before anything is checked: metadata in its types, members that no schema tells
//! of taken away, defaults filled in.

use serde_json::{Map, Value};
use wire::canonical::{Misfit, canonical};

use super::schema::Schema;

/// What every resource has, whatever its schema says.
const TYPE: [&str; 2] = ["apiVersion", "kind"];

/// `metadata` as the server reads it; members that it does not know are named in `unknown`.
///
/// # Errors
/// A member that does not fit its type.
pub(super) fn metadata(object: &mut Value, unknown: &mut Vec<String>) -> Result<(), Misfit> {
    let Some(given) = object.get_mut("metadata") else { return Ok(()) };
    let Some(message) = wire::schema::message("ObjectMeta") else { return Ok(()) };
    let mut own = Vec::new();
    *given = canonical(message, given.take(), &mut own)?;
    unknown.extend(own.into_iter().map(|path| format!("metadata.{path}")));
    Ok(())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Takes away what the schema does not tell of, and names it.
pub(super) fn prune(schema: &Schema, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let is_own = |name: &str| schema.is_resource() && (TYPE.contains(&name) || name == "metadata");
            if !schema.keeps_unknown() {
                let mut gone = Vec::new();
                map.retain(|name, _| {
                    let known = schema.member(name).is_some() || is_own(name);
                    if !known {
                        gone.push(join(path, name));
                    }
                    known
                });
                unknown.extend(gone);
            }
            for (name, inner) in map.iter_mut() {
                if let Some(member) = schema.member(name).filter(|_| !is_own(name)) {
                    prune(member, inner, &join(path, name), unknown);
                }
            }
        }
        Value::Array(items) => {
            let Some(of_items) = &schema.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune(of_items, item, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

/// Takes away nulls where none is allowed, and fills in defaults.
pub(super) fn fill(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, inner| !inner.is_null() || schema.member(name).is_none_or(|member| member.nullable));
            fill_members(schema, map);
        }
        Value::Array(items) => {
            if let Some(of_items) = &schema.items {
                items.iter_mut().for_each(|item| fill(of_items, item));
            }
        }
        _ => {}
    }
}

fn fill_members(schema: &Schema, map: &mut Map<String, Value>) {
    for (name, member) in &schema.properties {
        if let Some(default) = member.default.as_ref().filter(|_| !map.contains_key(name)) {
            map.insert(name.clone(), default.clone());
        }
    }
    for (name, inner) in map.iter_mut() {
        if let Some(member) = schema.member(name) {
            fill(member, inner);
        }
    }
}
