//! The objects of an earlier revision: what a list that comes in pages goes on with, whatever has been written since. They
//! are those of now with the history undone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::object;
use crate::store::Table;

/// By namespace and name, behind `after`, as they were at `revision`; none when the history does not go back so far.
pub(crate) fn objects_at<'a>(
    table: &'a Table,
    revision: u64,
    namespace: Option<&'a str>,
    after: &'a (String, String),
) -> Option<impl Iterator<Item = &'a Arc<Value>>> {
    if revision < table.compacted() {
        return None;
    }
    // What an object was before the first change since; none: there was no such object.
    let mut then: BTreeMap<(&str, &str), Option<&Arc<Value>>> = BTreeMap::new();
    for entry in table.since(revision) {
        then.entry(key(&entry.object)).or_insert(entry.old.as_ref());
    }
    let was: Vec<&Arc<Value>> = then.values().copied().flatten().collect();
    let selected = move |object: &&Arc<Value>| {
        let (own, name) = key(object);
        namespace.is_none_or(|wanted| wanted == own) && (own, name) > (after.0.as_str(), after.1.as_str())
    };
    let mut was = was.into_iter().filter(selected).peekable();
    let mut is = table.iter_after(namespace, after).filter(move |object| !then.contains_key(&key(object))).peekable();
    Some(std::iter::from_fn(move || match (was.peek(), is.peek()) {
        (Some(was_next), Some(is_next)) if key(was_next) < key(is_next) => was.next(),
        (Some(_), None) => was.next(),
        _ => is.next(),
    }))
}

fn key(object: &Value) -> (&str, &str) {
    (object::namespace(object), object::name(object))
}
