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
    fn is_same(&self, other: &Entry) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == "Apply" || self.api_version == other.api_version)
    }

    fn to_json(&self) -> Value {
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
        Value::Object(entry)
    }
}

/// The entries of an object.
pub(crate) fn entries(object: &Value) -> Vec<Entry> {
    object::list(object, &["metadata", "managedFields"])
        .iter()
        .map(|entry| Entry {
            manager: object::text(entry, &["manager"]).to_owned(),
            operation: if object::text(entry, &["operation"]) == "Apply" { "Apply" } else { "Update" },
            api_version: object::text(entry, &["apiVersion"]).to_owned(),
            time: object::text(entry, &["time"]).to_owned(),
            subresource: object::text(entry, &["subresource"]).to_owned(),
            fields: FieldSet::from_json(&entry["fieldsV1"]),
        })
        .collect()
}

/// Writes the entries, in the order that the server keeps.
pub(crate) fn set_entries(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        (a.operation, &a.time, &a.manager, &a.api_version, &a.subresource).cmp(&(
            b.operation,
            &b.time,
            &b.manager,
            &b.api_version,
            &b.subresource,
        ))
    });
    let metadata = object::metadata(object);
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), entries.iter().map(Entry::to_json).collect());
    }
}

/// The object without what nobody manages. A plain write does not manage the status, a status write nothing else.
pub(crate) fn managed_part(object: &Value, subresource: &str, has_status: bool) -> Value {
    let Value::Object(map) = object else { return json!({}) };
    let mut part = Map::new();
    for (key, value) in map {
        match key.as_str() {
            "apiVersion" | "kind" => {}
            "status" if has_status && subresource != "status" => {}
            "metadata" => {
                let mut metadata = value.as_object().cloned().unwrap_or_default();
                metadata.retain(|key, _| !UNMANAGED.contains(&key.as_str()));
                part.insert(key.clone(), Value::Object(metadata));
            }
            _ => {
                part.insert(key.clone(), value.clone());
            }
        }
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

/// Notes in `new` what `writer` has changed against `old`.
pub(crate) fn track(info: &Info, old: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let message = schema::of_kind(&info.resource.api_version(), info.resource.kind).filter(|_| !info.custom);
    let has_status = info.has("status");
    let blank_object;
    let before = match old {
        Some(old) => old,
        None => {
            blank_object = blank(info);
            &blank_object
        }
    };
    let before = managed_part(before, writer.subresource, has_status);
    let after = managed_part(new, writer.subresource, has_status);
    let mut all = old.map(entries).unwrap_or_default();
    if old.is_some() && is_reset(new) {
        all.clear();
    }
    let difference = Difference::between(Node::of(message), &before, &after);
    let mut own = Entry {
        manager: writer.manager.to_owned(),
        operation: "Update",
        api_version: info.resource.api_version(),
        time: format!("{:.0}", writer.now),
        subresource: writer.subresource.to_owned(),
        fields: FieldSet::default(),
    };
    let previous = all.iter().position(|entry| entry.is_same(&own)).map(|index| all.remove(index));
    for entry in &mut all {
        entry.fields.subtract(&difference.changed);
        entry.fields.subtract_under(&difference.removed);
    }
    if let Some(previous) = &previous {
        own.fields = previous.fields.clone();
    }
    own.fields.union(&difference.changed);
    own.fields.subtract_under(&difference.removed);
    if let Some(previous) = previous.filter(|previous| previous.fields == own.fields) {
        own.time = previous.time;
    }
    all.push(own);
    set_entries(new, all);
}

/// A client clears the list by writing an empty one, or one with an empty entry.
fn is_reset(object: &Value) -> bool {
    match object::at(object, &["metadata", "managedFields"]) {
        Value::Array(list) => list.is_empty() || list.iter().all(|entry| entry == &json!({})),
        _ => false,
    }
}
