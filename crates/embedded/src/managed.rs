//! `metadata.managedFields` of plain writes: who set which field last.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use wire::schema;

use crate::fields::{Difference, FieldSet, Node};
use crate::object;
use crate::registry::Info;

/// Metadata that nobody manages.
const UNMANAGED: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
];

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) manager: String,
    pub(crate) operation: &'static str,
    pub(crate) api_version: String,
    pub(crate) time: String,
    pub(crate) subresource: String,
    pub(crate) fields: FieldSet,
}

impl Entry {
    /// An entry of an object, without its fields.
    fn of(raw: &Value) -> Self {
        Self {
            manager: object::text(raw, &["manager"]).to_owned(),
            operation: if object::text(raw, &["operation"]) == "Apply" { "Apply" } else { "Update" },
            api_version: object::text(raw, &["apiVersion"]).to_owned(),
            time: object::text(raw, &["time"]).to_owned(),
            subresource: object::text(raw, &["subresource"]).to_owned(),
            fields: FieldSet::default(),
        }
    }

    /// Whether it is the one that is written there.
    fn is(&self, raw: &Value) -> bool {
        let says = |key, value: &str| object::text(raw, &[key]) == value;
        says("manager", &self.manager)
            && says("operation", self.operation)
            && says("subresource", &self.subresource)
            && (self.operation == "Apply" || says("apiVersion", &self.api_version))
    }

    /// None where nothing is left of it.
    fn to_json(&self) -> Option<Value> {
        if self.fields.is_empty() {
            return None;
        }
        let mut entry = Map::new();
        entry.insert("manager".into(), json!(self.manager));
        entry.insert("operation".into(), json!(self.operation));
        entry.insert("apiVersion".into(), json!(self.api_version));
        entry.insert("time".into(), json!(self.time));
        entry.insert("fieldsType".into(), json!("FieldsV1"));
        entry.insert("fieldsV1".into(), self.fields.to_json());
        if !self.subresource.is_empty() {
            entry.insert("subresource".into(), json!(self.subresource));
        }
        Some(Value::Object(entry))
    }
}

/// The entries of an object.
pub(crate) fn entries(object: &Value) -> Vec<Entry> {
    let read = |raw: &Value| Entry { fields: FieldSet::from_json(&raw["fieldsV1"]), ..Entry::of(raw) };
    object::list(object, &["metadata", "managedFields"]).iter().map(read).collect()
}

/// Writes the entries, in the order that the server keeps.
pub(crate) fn set_entries(object: &mut Value, entries: &[Entry]) {
    write(object, entries.iter().filter_map(Entry::to_json).collect());
}

fn write(object: &mut Value, mut entries: Vec<Value>) {
    let order = |entry: &'_ Value| {
        ["operation", "time", "manager", "apiVersion", "subresource"].map(|key| object::text(entry, &[key]).to_owned())
    };
    entries.sort_by_cached_key(order);
    let metadata = object::metadata(object);
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), Value::Array(entries));
    }
}

/// Whether anybody manages what lies at this path, of one step or two. A plain write does not manage the status.
fn is_managed(path: &[&str], subresource: &str, has_status: bool) -> bool {
    match path {
        ["apiVersion" | "kind"] => false,
        ["status"] => !has_status || subresource == "status",
        ["metadata", key] => !UNMANAGED.contains(key),
        _ => true,
    }
}

/// The object without what nobody manages.
pub(crate) fn managed_part(object: &Value, subresource: &str, has_status: bool) -> Value {
    let Value::Object(map) = object else { return json!({}) };
    let managed = |path: &[&str]| is_managed(path, subresource, has_status);
    let mut part = Map::new();
    for (key, value) in map.iter().filter(|(key, _)| managed(&[key])) {
        let value = match value {
            Value::Object(metadata) if key == "metadata" => {
                let own = metadata.iter().filter(|(field, _)| managed(&[key, field]));
                Value::Object(own.map(|(field, value)| (field.clone(), value.clone())).collect())
            }
            other => other.clone(),
        };
        part.insert(key.clone(), value);
    }
    Value::Object(part)
}

/// What an object of this resource is before anyone has set anything.
fn blank(info: &Info) -> Value {
    let blank = schema::of_kind(&info.resource.api_version(), info.resource.kind)
        .filter(|_| !info.custom)
        .and_then(|message| wire::canonical::canonical(message, json!({}), &mut Vec::new()).ok());
    let mut blank = blank.unwrap_or_else(|| json!({}));
    object::metadata(&mut blank);
    blank
}

/// Who writes.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) now: Timestamp,
}

/// Notes in `new` what `writer` has changed against `old`. Entries that it does not touch stay as they are, unread: most writes
/// touch one of several.
pub(crate) fn track(info: &Info, old: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let has_status = info.has("status");
    let blank_object;
    let before = match old {
        Some(old) => old,
        None => {
            blank_object = blank(info);
            &blank_object
        }
    };
    let counts = |path: &[&str]| is_managed(path, writer.subresource, has_status);
    let difference = Difference::of_objects(Node::of(info), before, new, counts);
    let mut own = Entry {
        manager: writer.manager.to_owned(),
        operation: "Update",
        api_version: info.resource.api_version(),
        time: format!("{:.0}", writer.now),
        subresource: writer.subresource.to_owned(),
        fields: FieldSet::default(),
    };
    let kept = old.filter(|_| !is_reset(new)).map(|old| object::at(old, &["metadata", "managedFields"]));
    let raws = kept.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let previous = raws.iter().position(|raw| own.is(raw));
    let others = || raws.iter().enumerate().filter(|(at, _)| Some(*at) != previous).map(|(_, raw)| raw);
    if let (Some(kept), Some(previous)) = (kept, previous)
        && difference.removed.is_empty()
        && difference.changed.is_within(&raws[previous]["fieldsV1"])
        && !others().any(|raw| difference.touches(&raw["fieldsV1"]))
    {
        // As most writes are: of fields that are the writer's already.
        if object::at(new, &["metadata", "managedFields"]) != kept {
            object::metadata(new).insert("managedFields".into(), kept.clone());
        }
        return;
    }
    let mut written = Vec::new();
    for raw in others() {
        if difference.touches(&raw["fieldsV1"]) {
            let mut entry = Entry { fields: FieldSet::from_json(&raw["fieldsV1"]), ..Entry::of(raw) };
            entry.fields.subtract(&difference.changed);
            entry.fields.subtract_under(&difference.removed);
            written.extend(entry.to_json());
        } else {
            written.push(raw.clone());
        }
    }
    let previous = previous.map(|at| &raws[at]);
    let before = previous.map(|raw| FieldSet::from_json(&raw["fieldsV1"]));
    own.fields = before.clone().unwrap_or_default();
    own.fields.union(&difference.changed);
    own.fields.subtract_under(&difference.removed);
    match previous {
        Some(raw) if before.as_ref() == Some(&own.fields) => written.push(raw.clone()),
        _ => written.extend(own.to_json()),
    }
    write(new, written);
}

/// A client clears the list by writing an empty one, or one with an empty entry.
fn is_reset(object: &Value) -> bool {
    match object::at(object, &["metadata", "managedFields"]) {
        Value::Array(list) => list.is_empty() || list.iter().all(|entry| entry == &json!({})),
        _ => false,
    }
}
