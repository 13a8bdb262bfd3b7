//! Field sets, as `metadata.managedFields` holds them: which paths of an object someone owns, and what differs between
//! two objects. Follows the structured merge rules: lists with keys by item, atomic parts as one path.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use wire::schema::{self, Field, Merge, Message, Shape, Type};

use crate::custom::{ListType, Schema};
use crate::registry::Info;

/// How a part of an object is made up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node<'a> {
    Struct(&'a Message),
    /// A map whose values are leaves.
    Map,
    Items(&'a [&'static str], &'a Message),
    Set,
    /// A part of a custom resource.
    Custom(&'a Schema),
    /// A list with keys in a custom resource.
    CustomItems(&'a [&'static str], &'a Schema),
    /// What no schema tells of: objects by key, lists as a whole.
    Untyped,
    Leaf,
}

impl<'a> Node<'a> {
    /// The objects of a resource.
    pub(crate) fn of(info: &'a Info) -> Self {
        match &info.definition {
            Some(definition) => Node::Custom(&definition.schema),
            None => {
                let message = schema::of_kind(&info.resource.api_version(), info.resource.kind);
                message.map_or(Node::Untyped, Node::Struct)
            }
        }
    }

    fn custom(schema: &'a Schema) -> Self {
        match (schema.kind.as_str(), schema.list_type) {
            ("array", ListType::Set) => Node::Set,
            ("array", ListType::Map) => match &schema.items {
                Some(items) => Node::CustomItems(&schema.list_keys, items),
                None => Node::Leaf,
            },
            ("object", _) if schema.atomic_map => Node::Leaf,
            ("object", _) => Node::Custom(schema),
            ("", _) if schema.preserve => Node::Untyped,
            _ => Node::Leaf,
        }
    }

    /// The keys of a list that has some, and what its items are.
    pub(crate) fn keyed(self) -> Option<(&'a [&'static str], Node<'a>)> {
        match self {
            Node::Items(keys, message) => Some((keys, Node::Struct(message))),
            Node::CustomItems(keys, schema) => Some((keys, Node::Custom(schema))),
            _ => None,
        }
    }

    pub(crate) fn field(field: &'a Field) -> Self {
        match (field.shape, field.ty) {
            (Shape::One, Type::Message(name)) => match schema::message(name) {
                Some(message) if !field.atomic && !message.atomic => Node::Struct(message),
                _ => Node::Leaf,
            },
            (Shape::One, Type::Any) => Node::Untyped,
            (Shape::One, _) => Node::Leaf,
            (Shape::Map, _) => {
                if field.atomic {
                    Node::Leaf
                } else {
                    Node::Map
                }
            }
            (Shape::List, ty) => match (&field.merge, ty) {
                (Merge::Keys(keys), Type::Message(name)) => {
                    schema::message(name).map_or(Node::Leaf, |message| Node::Items(keys, message))
                }
                (Merge::Set, _) => Node::Set,
                _ => Node::Leaf,
            },
        }
    }

    /// What the value at `key` of an object is.
    pub(crate) fn child(self, key: &str) -> Node<'a> {
        match self {
            Node::Struct(message) => message.field(key).map_or(Node::Untyped, Node::field),
            Node::Custom(schema) if schema.is_resource() && key == "metadata" => {
                schema::message("ObjectMeta").map_or(Node::Untyped, Node::Struct)
            }
            Node::Custom(schema) => schema.member(key).map_or(Node::Untyped, Node::custom),
            Node::Untyped => Node::Untyped,
            _ => Node::Leaf,
        }
    }

    /// Made of members that have owners of their own.
    pub(crate) fn has_members(self) -> bool {
        matches!(self, Node::Struct(_) | Node::Map | Node::Custom(_) | Node::Untyped)
    }

    fn is_object(self, value: &Value) -> bool {
        value.is_object() && self.has_members()
    }
}

/// How an item of a list with keys is called in a field set: `k:{"name":"app"}`.
pub(crate) fn item_key(keys: &[&'static str], item: &Value) -> String {
    let mut named: BTreeMap<&str, Value> = BTreeMap::new();
    for key in keys {
        let value = match item.get(key) {
            Some(value) if !value.is_null() => value.clone(),
            // The one key that has a default.
            _ if *key == "protocol" => json!("TCP"),
            _ => Value::Null,
        };
        named.insert(key, value);
    }
    format!("k:{}", serde_json::to_string(&named).unwrap_or_default())
}

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// The path itself is in the set.
    pub(crate) member: bool,
    pub(crate) children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(FieldSet::is_empty)
    }

    pub(crate) fn from_json(value: &Value) -> Self {
        let Value::Object(map) = value else { return Self::default() };
        let mut set = Self::default();
        for (key, value) in map {
            if key == "." {
                set.member = true;
            } else {
                let mut child = Self::from_json(value);
                if value.as_object().is_some_and(Map::is_empty) {
                    child.member = true;
                }
                set.children.insert(key.clone(), child);
            }
        }
        set
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        for (key, child) in &self.children {
            if !child.is_empty() {
                map.insert(key.clone(), child.to_json());
            }
        }
        if self.member && !map.is_empty() {
            map.insert(".".into(), json!({}));
        }
        Value::Object(map)
    }

    pub(crate) fn union(&mut self, other: &FieldSet) {
        self.member |= other.member;
        for (key, child) in &other.children {
            self.children.entry(key.clone()).or_default().union(child);
        }
    }

    /// Takes out exactly the paths of `other`.
    pub(crate) fn subtract(&mut self, other: &FieldSet) {
        if other.member {
            self.member = false;
        }
        for (key, child) in &other.children {
            if let Some(own) = self.children.get_mut(key) {
                own.subtract(child);
                if own.is_empty() {
                    self.children.remove(key);
                }
            }
        }
    }

    /// Takes out the paths of `other` and all that lies under them.
    pub(crate) fn subtract_under(&mut self, other: &FieldSet) {
        if other.member {
            *self = Self::default();
            return;
        }
        for (key, child) in &other.children {
            if let Some(own) = self.children.get_mut(key) {
                own.subtract_under(child);
                if own.is_empty() {
                    self.children.remove(key);
                }
            }
        }
    }

    /// Whether a path of this set, or what lies under it, may be in a set as it is written.
    fn meets(&self, written: &Value) -> bool {
        let meets = |(key, child): (&String, &FieldSet)| {
            written.get(key).is_some_and(|written| child.member || child.meets(written))
        };
        self.children.iter().any(meets)
    }

    /// Whether a set as it is written has every path of this one.
    pub(crate) fn is_within(&self, written: &Value) -> bool {
        (!self.member || written.get(".").is_some()) && self.is_below(written)
    }

    fn is_below(&self, written: &Value) -> bool {
        self.children.iter().all(|(key, child)| match written.get(key) {
            // What has nothing below it is a path itself.
            Some(Value::Object(leaf)) if leaf.is_empty() => child.children.values().all(FieldSet::is_empty),
            Some(written) => child.is_within(written),
            None => child.is_empty(),
        })
    }

    /// The paths that both have.
    pub(crate) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut both = FieldSet { member: self.member && other.member, children: BTreeMap::new() };
        for (key, child) in &self.children {
            if let Some(theirs) = other.children.get(key) {
                let common = child.intersection(theirs);
                if !common.is_empty() {
                    both.children.insert(key.clone(), common);
                }
            }
        }
        both
    }

    /// Every path, as messages spell it: `.spec.replicas`, `.spec.containers[name="app"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: String, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.clone());
        }
        for (key, child) in &self.children {
            let step = step(key);
            child.collect(format!("{path}{step}"), paths);
        }
    }
}

/// A part of a path as messages spell it: `.replicas`, `[name="app"]`, `[="item"]`.
pub(crate) fn step(key: &str) -> String {
    match key.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let parts: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", parts.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        _ => key.to_owned(),
    }
}

/// Everything under a value that has just come into being, itself included.
pub(crate) fn added(node: Node<'_>, value: &Value) -> FieldSet {
    let mut set = everything(node, value, true);
    set.member = true;
    set
}

/// The paths that a configuration speaks of, as server-side apply counts them.
pub(crate) fn applied(node: Node<'_>, value: &Value) -> FieldSet {
    everything(node, value, false)
}

fn everything(node: Node<'_>, value: &Value, inner_members: bool) -> FieldSet {
    let mut set = FieldSet::default();
    match (node, value) {
        (_, Value::Object(map)) if node.is_object(value) => {
            for (key, value) in map {
                let child = node.child(key);
                let mut owned = everything(child, value, inner_members);
                owned.member |= inner_members || owned.children.is_empty();
                set.children.insert(format!("f:{key}"), owned);
            }
        }
        (Node::Items(..) | Node::CustomItems(..), Value::Array(items)) => {
            for (item, (keys, node)) in items.iter().filter_map(|item| Some((item, node.keyed()?))) {
                let mut owned = everything(node, item, inner_members);
                owned.member = true;
                set.children.insert(item_key(keys, item), owned);
            }
        }
        (Node::Set, Value::Array(items)) => {
            for item in items {
                set.children.insert(format!("v:{item}"), FieldSet::leaf());
            }
        }
        _ => set.member = true,
    }
    set
}

/// What differs between two objects.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Added or given another value.
    pub(crate) changed: FieldSet,
    pub(crate) removed: FieldSet,
}

impl Difference {
    pub(crate) fn between(node: Node<'_>, old: &Value, new: &Value) -> Self {
        let mut difference = Self::default();
        difference.compare(node, old, new);
        difference
    }

    /// The same of two whole objects, as far as `counts` says that a path counts: one key, or `metadata` and one of its own.
    pub(crate) fn of_objects(node: Node<'_>, old: &Value, new: &Value, counts: impl Fn(&[&str]) -> bool) -> Self {
        let mut whole = Self::default();
        let (Value::Object(before), Value::Object(after)) = (old, new) else { return Self::between(node, old, new) };
        for key in keys(before, after).filter(|key| counts(&[key])) {
            let node = node.child(key);
            match (before.get(key), after.get(key)) {
                (Some(Value::Object(before)), Some(Value::Object(after))) if key == "metadata" => {
                    let mut part = Self::default();
                    for field in keys(before, after).filter(|field| counts(&[key, field])) {
                        part.member(node.child(field), field, before.get(field), after.get(field));
                    }
                    whole.hang(format!("f:{key}"), part);
                }
                (before, after) => whole.member(node, key, before, after),
            }
        }
        whole
    }

    /// Whether a field set, as it is written, may have a path of it.
    pub(crate) fn touches(&self, written: &Value) -> bool {
        self.changed.meets(written) || self.removed.meets(written)
    }

    fn compare(&mut self, node: Node<'_>, old: &Value, new: &Value) {
        if old == new {
            return;
        }
        match (node, old, new) {
            (_, Value::Object(before), Value::Object(after)) if node.is_object(new) => {
                for key in keys(before, after) {
                    self.member(node.child(key), key, before.get(key), after.get(key));
                }
            }
            (Node::Items(..) | Node::CustomItems(..), _, _) if is_list(old) && is_list(new) => {
                let Some((names, item)) = node.keyed() else { return };
                let before: BTreeMap<String, &Value> = items(old).map(|v| (item_key(names, v), v)).collect();
                let mut after: BTreeMap<String, &Value> = items(new).map(|v| (item_key(names, v), v)).collect();
                for (path, value) in before {
                    let now = after.remove(&path);
                    self.at(item, path, Some(value), now);
                }
                for (path, value) in after {
                    self.at(item, path, None, Some(value));
                }
            }
            (Node::Set, _, _) if is_list(old) && is_list(new) => {
                for value in items(new).filter(|value| !items(old).any(|o| o == *value)) {
                    self.changed.children.insert(format!("v:{value}"), FieldSet::leaf());
                }
                for value in items(old).filter(|value| !items(new).any(|n| n == *value)) {
                    self.removed.children.insert(format!("v:{value}"), FieldSet::leaf());
                }
            }
            _ => self.changed.member = true,
        }
    }

    /// Takes in what differs of one member: of most, nothing.
    fn member(&mut self, node: Node<'_>, key: &str, old: Option<&Value>, new: Option<&Value>) {
        if old != new {
            self.at(node, format!("f:{key}"), old, new);
        }
    }

    /// Takes in what differs at one step of a path.
    fn at(&mut self, node: Node<'_>, step: String, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (Some(old), Some(new)) => self.hang(step, Self::between(node, old, new)),
            (None, Some(new)) => drop(self.changed.children.insert(step, added(node, new))),
            (Some(old), None) => drop(self.removed.children.insert(step, added(node, old))),
            (None, None) => {}
        }
    }

    /// Puts a difference under a step of a path.
    fn hang(&mut self, step: String, part: Self) {
        if !part.removed.is_empty() {
            self.removed.children.insert(step.clone(), part.removed);
        }
        if !part.changed.is_empty() {
            self.changed.children.insert(step, part.changed);
        }
    }
}

/// The keys of either, each once.
fn keys<'a>(a: &'a Map<String, Value>, b: &'a Map<String, Value>) -> impl Iterator<Item = &'a str> {
    a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).map(String::as_str)
}

/// A list that is always written is null when it is empty.
fn is_list(value: &Value) -> bool {
    value.is_array() || value.is_null()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&[&str]; 6] =
        [&["f:a"], &["f:a", "f:b"], &["f:a", "f:b", "f:c"], &["f:a", "f:d"], &["f:e"], &["f:e", "k:{\"name\":\"x\"}"]];

    fn set(bits: usize) -> FieldSet {
        let mut set = FieldSet::default();
        for path in PATHS.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, path)| path) {
            let place = path.iter().fold(&mut set, |set, step| set.children.entry((*step).to_owned()).or_default());
            place.member = true;
        }
        set
    }

    #[test]
    fn a_set_is_within_a_written_one_when_it_adds_nothing_to_it() {
        let all = 1 << PATHS.len();
        for (written, inner) in (0..all).flat_map(|written| (0..all).map(move |inner| (written, inner))) {
            let json = set(written).to_json();
            let read = FieldSet::from_json(&json);
            let mut both = read.clone();
            both.union(&set(inner));
            assert_eq!(set(inner).is_within(&json), both == read, "{:?} in {json}", set(inner).paths());
        }
    }
}
