//! Reading of objects, and what differs between two.

use serde_json::{Map, Value};

/// The text at a JSON pointer, or nothing.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

pub(crate) fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

/// The finalizers of the object itself.
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(crate) fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten()
}

pub(crate) fn is_controlled(object: &Value) -> bool {
    owners(object).any(|owner| owner["controller"] == true)
}

/// The metadata as a map to write to.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    map_at(object, "metadata")
}

/// The member as a map to write to, made where there is none.
pub(crate) fn map_at<'a>(object: &'a mut Value, member: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let slot = &mut object[member];
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("it was made a map just above")
}

/// JSON pointers of what differs. With `whole_lists` a list counts as one value, and a map that only one side has is
/// looked into, so that each pointer leads to a leaf.
pub(crate) fn difference(a: &Value, b: &Value, whole_lists: bool) -> Vec<String> {
    let mut found = Vec::new();
    collect(a, b, whole_lists, &mut String::new(), &mut found);
    found
}

fn collect(a: &Value, b: &Value, whole_lists: bool, at: &mut String, found: &mut Vec<String>) {
    if a == b {
        return;
    }
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))).collect();
            names.sort();
            for name in names {
                let (a, b) = (a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null));
                descend(a, b, whole_lists, at, &name.replace('~', "~0").replace('/', "~1"), found);
            }
        }
        (Value::Object(only), Value::Null) | (Value::Null, Value::Object(only)) if whole_lists && !only.is_empty() => {
            let swapped = a.is_null();
            for (name, member) in only {
                let (a, b) = if swapped { (&Value::Null, member) } else { (member, &Value::Null) };
                descend(a, b, whole_lists, at, &name.replace('~', "~0").replace('/', "~1"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if !whole_lists && a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                descend(a, b, whole_lists, at, &index.to_string(), found);
            }
        }
        _ => found.push(at.clone()),
    }
}

fn descend(a: &Value, b: &Value, whole_lists: bool, at: &mut String, member: &str, found: &mut Vec<String>) {
    let length = at.len();
    at.push('/');
    at.push_str(member);
    collect(a, b, whole_lists, at, found);
    at.truncate(length);
}

/// The members that a pointer passes through.
pub(crate) fn members(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|member| member.replace("~1", "/").replace("~0", "~")).collect()
}

/// Sets or takes away what is at a pointer through maps; makes the maps on the way.
pub(crate) fn set(object: &mut Value, pointer: &str, value: Option<&Value>) {
    let members = members(pointer);
    let Some((name, way)) = members.split_last() else { return };
    let mut slot = object;
    for member in way {
        if value.is_none() && slot.get(member).is_none() {
            return;
        }
        map_at(slot, member);
        slot = &mut slot[member];
    }
    let Some(map) = slot.as_object_mut() else { return };
    match value {
        Some(value) => map.insert(name.clone(), value.clone()),
        None => map.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_named_by_pointers() {
        let a = json!({"m": {"a/b": 1, "same": 1}, "l": [{"x": 1}, 2], "n": [1]});
        let b = json!({"m": {"a/b": 2, "same": 1, "new": 1}, "l": [{"x": 2}, 2], "n": [1, 2]});
        assert_eq!(difference(&a, &b, false), ["/l/0/x", "/m/a~1b", "/m/new", "/n"]);
        assert_eq!(difference(&a, &b, true), ["/l", "/m/a~1b", "/m/new", "/n"]);
        assert!(difference(&a, &a, false).is_empty());
        let (none, labels) = (json!({}), json!({"labels": {"a": 1, "b": {}}}));
        assert_eq!(difference(&none, &labels, true), ["/labels/a", "/labels/b"]);
        assert_eq!(difference(&labels, &none, false), ["/labels"]);
    }

    #[test]
    fn what_is_set_at_a_pointer_is_found_there() {
        let mut object = json!({"spec": {"replicas": 1}});
        set(&mut object, "/spec/replicas", Some(&json!(3)));
        set(&mut object, "/metadata/annotations/a~1b", Some(&json!("x")));
        assert_eq!(object, json!({"spec": {"replicas": 3}, "metadata": {"annotations": {"a/b": "x"}}}));
        set(&mut object, "/metadata/annotations/a~1b", None);
        set(&mut object, "/nothing/there", None);
        assert_eq!(object, json!({"spec": {"replicas": 3}, "metadata": {"annotations": {}}}));
    }
}
