//! Pins: what ties a write to the very object that was read before it, in each of the forms that a write has. A pin that
//! the client set itself is kept: whether its write still holds is then the server's to say, and the client's to hear.

use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::{Value, json};

use crate::Attributes;
use crate::body::{self, Decoded};
use crate::stamp::metadata;
use crate::status::Refusal;

/// A body that is tied to an object.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    pub(crate) body: Option<Decoded>,
    /// Whether it was the gate that tied it, so that the gate may tie it anew when the object has moved on.
    pub(crate) ours: bool,
}

/// The resourceVersion of an object.
pub(crate) fn version(object: &Value) -> &str {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
}

/// The uid of an object.
pub(crate) fn uid(object: &Value) -> &str {
    object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

/// A PUT or PATCH, tied to `before`.
pub(crate) fn change(attributes: &Attributes, decoded: Option<&Decoded>, before: &Value) -> Pinned {
    let mut pinned = Pinned { body: decoded.cloned(), ours: false };
    let writes = matches!(attributes.verb.as_str(), "update" | "patch");
    let Some(decoded) = pinned.body.as_mut().filter(|_| writes && !version(before).is_empty()) else { return pinned };
    pinned.ours = match decoded.form() {
        Form::JsonPatch => pin_operations(&mut decoded.value, before),
        // An apply makes what is not there, and so do some updates: the uid keeps them from making a second object.
        Form::Apply => pin_object(&mut decoded.value, before, true),
        Form::Object => pin_object(&mut decoded.value, before, attributes.subresource.is_empty()),
        Form::MergePatch => pin_object(&mut decoded.value, before, false),
    };
    pinned
}

fn pin_object(object: &mut Value, before: &Value, with_uid: bool) -> bool {
    let Some(metadata) = metadata(object) else { return false };
    let given = |member: Option<&Value>| member.and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if given(metadata.get("resourceVersion")) {
        return false;
    }
    metadata.insert("resourceVersion".to_owned(), json!(version(before)));
    if with_uid && !given(metadata.get("uid")) {
        metadata.insert("uid".to_owned(), json!(uid(before)));
    }
    true
}

/// Last, so that no other operation takes it back; and only when the client's own do not ask for another version.
fn pin_operations(operations: &mut Value, before: &Value) -> bool {
    let asked = patched(before, operations);
    if asked
        .as_ref()
        .is_some_and(|result| !matches!(version(result), asked if asked.is_empty() || asked == version(before)))
    {
        return false;
    }
    let Some(operations) = operations.as_array_mut() else { return false };
    operations.push(json!({"op": "add", "path": "/metadata/resourceVersion", "value": version(before)}));
    true
}

/// What a JSON patch makes of an object; none when it fails.
pub(crate) fn patched(before: &Value, operations: &Value) -> Option<Value> {
    let Patch(operations) = serde_json::from_value(operations.clone()).ok()?;
    let mut object = before.clone();
    for operation in operations {
        // As the API server's library does: what is to be replaced and is not there is added.
        let operation = match operation {
            PatchOperation::Replace(replace) if object.pointer(replace.path.as_str()).is_none() => {
                PatchOperation::Add(AddOperation { path: replace.path, value: replace.value })
            }
            other => other,
        };
        json_patch::patch(&mut object, &[operation]).ok()?;
    }
    Some(object)
}

/// The members of `DeleteOptions` that a query can hold.
const NUMBERS: [&str; 1] = ["gracePeriodSeconds"];
const FLAGS: [&str; 2] = ["orphanDependents", "ignoreStoreReadErrorWithClusterBreakingPotential"];
const TEXTS: [&str; 1] = ["propagationPolicy"];

/// The options of a delete: those of the body or, only when there is none, those of the query, as the API server reads
/// them. The query loses them, so that there are no two places to read.
pub(crate) fn take_options(attributes: &mut Attributes, decoded: Option<&Decoded>) -> Result<Value, Refusal> {
    let mut options = decoded.map_or_else(|| json!({}), |d| d.value.clone());
    let Some(members) = options.as_object_mut() else {
        return Err(Refusal::bad_request("the body of a delete must be DeleteOptions"));
    };
    for (key, value) in attributes.query.iter().filter(|(_, value)| decoded.is_none() && !value.is_empty()) {
        let bad = || Refusal::bad_request(format!("the query parameter {key} cannot be read: {value}"));
        let value = match key.as_str() {
            key if NUMBERS.contains(&key) => json!(value.parse::<i64>().map_err(|_| bad())?),
            key if FLAGS.contains(&key) => json!(flag(value).ok_or_else(bad)?),
            key if TEXTS.contains(&key) => json!(value),
            "dryRun" => json!([value]),
            _ => continue,
        };
        members.insert(key.clone(), value);
    }
    members.entry("kind").or_insert_with(|| json!("DeleteOptions"));
    members.entry("apiVersion").or_insert_with(|| json!("v1"));
    attributes.query.retain(|(key, _)| !is_option(key));
    Ok(options)
}

/// Whether a query parameter of a delete is one of its options.
pub(crate) fn is_option(parameter: &str) -> bool {
    parameter == "dryRun" || [&NUMBERS[..], &FLAGS, &TEXTS].concat().contains(&parameter)
}

/// As Go reads a flag of a query (`strconv.ParseBool`).
fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `DeleteOptions` tied to `before`; whether it was the gate that tied them to its version.
pub(crate) fn delete(options: &mut Value, before: &Value) -> bool {
    let Some(members) = options.as_object_mut() else { return false };
    let preconditions = members.entry("preconditions").or_insert_with(|| json!({}));
    if preconditions.is_null() {
        *preconditions = json!({});
    }
    let Some(preconditions) = preconditions.as_object_mut() else { return false };
    let given = |member: Option<&Value>| member.is_some_and(|value| !value.is_null());
    if !given(preconditions.get("uid")) && !uid(before).is_empty() {
        preconditions.insert("uid".to_owned(), json!(uid(before)));
    }
    if given(preconditions.get("resourceVersion")) || version(before).is_empty() {
        return false;
    }
    preconditions.insert("resourceVersion".to_owned(), json!(version(before)));
    true
}

/// An eviction is a delete inside of another object.
pub(crate) fn eviction(decoded: Option<&Decoded>, before: &Value) -> Pinned {
    let mut pinned = Pinned { body: decoded.cloned(), ours: false };
    if let Some(members) = pinned.body.as_mut().and_then(|body| body.value.as_object_mut()) {
        let options = members.entry("deleteOptions").or_insert_with(|| json!({}));
        if options.is_null() {
            *options = json!({});
        }
        pinned.ours = delete(options, before);
    }
    pinned
}

/// Options as a body.
pub(crate) fn options_body(options: Value) -> Decoded {
    Decoded { value: options, media_type: body::JSON.to_owned() }
}

/// The form of the body of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Object,
    JsonPatch,
    /// Merge patch and strategic merge patch.
    MergePatch,
    Apply,
}

impl Decoded {
    /// Told by the media type, which decides how the server reads it.
    pub(crate) fn form(&self) -> Form {
        match self.media_type.as_str() {
            "application/json-patch+json" => Form::JsonPatch,
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => Form::MergePatch,
            "application/apply-patch+yaml" => Form::Apply,
            _ => Form::Object,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before() -> Value {
        json!({"metadata": {"name": "a", "uid": "u-1", "resourceVersion": "7"}, "spec": {"replicas": 1}})
    }

    fn pinned(verb: &str, media_type: &str, value: Value) -> (Value, bool) {
        let attributes = Attributes { verb: verb.to_owned(), ..Attributes::default() };
        let decoded = Decoded { value, media_type: media_type.to_owned() };
        let pinned = change(&attributes, Some(&decoded), &before());
        (pinned.body.unwrap().value, pinned.ours)
    }

    #[test]
    fn objects_and_merge_patches_carry_the_version() {
        let put = json!({"metadata": {"name": "a"}});
        let (body, ours) = pinned("update", "application/json", put);
        assert_eq!((body, ours), (json!({"metadata": {"name": "a", "uid": "u-1", "resourceVersion": "7"}}), true));
        let merge = pinned("patch", "application/merge-patch+json", json!({"spec": {}}));
        assert_eq!(merge, (json!({"metadata": {"resourceVersion": "7"}, "spec": {}}), true));
        let apply = pinned("patch", "application/apply-patch+yaml", json!({"metadata": {}}));
        assert_eq!(apply, (json!({"metadata": {"uid": "u-1", "resourceVersion": "7"}}), true));
        let own = json!({"metadata": {"resourceVersion": "3"}});
        assert_eq!(pinned("update", "application/json", own.clone()), (own, false), "the client's own pin stays");
    }

    #[test]
    fn json_patches_end_with_the_pin() {
        let pin = json!({"op": "add", "path": "/metadata/resourceVersion", "value": "7"});
        let media_type = "application/json-patch+json";
        let replicas = json!({"op": "replace", "path": "/spec/replicas", "value": 2});
        assert_eq!(pinned("patch", media_type, json!([replicas])), (json!([replicas, pin]), true));
        let whole = json!({"op": "replace", "path": "/metadata", "value": {"name": "a"}});
        assert_eq!(pinned("patch", media_type, json!([whole])), (json!([whole, pin]), true), "not to be shaken off");
        let own = json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "3"}]);
        assert_eq!(pinned("patch", media_type, own.clone()), (own, false));
        let failing = json!({"op": "remove", "path": "/nowhere"});
        assert_eq!(pinned("patch", media_type, json!([failing])), (json!([failing, pin]), true));
    }

    #[test]
    fn options_of_a_delete_are_read_in_one_place() {
        let query = |pairs: &[(&str, &str)]| Attributes {
            query: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Attributes::default()
        };
        let mut attributes = query(&[("gracePeriodSeconds", "0"), ("pretty", "true"), ("orphanDependents", "T")]);
        let mut options = take_options(&mut attributes, None).unwrap();
        assert_eq!(attributes.query, [("pretty".to_owned(), "true".to_owned())]);
        assert!(delete(&mut options, &before()));
        let expected = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
            "orphanDependents": true, "preconditions": {"uid": "u-1", "resourceVersion": "7"}});
        assert_eq!(options, expected);

        let mut attributes = query(&[("dryRun", "All")]);
        let body = options_body(json!({"preconditions": {"uid": "x", "resourceVersion": "1"}}));
        let mut options = take_options(&mut attributes, Some(&body)).unwrap();
        assert!(options.get("dryRun").is_none(), "with a body the server does not look at the query");
        assert!(!delete(&mut options, &before()), "the client's own pin stays");
        assert_eq!(options["preconditions"], json!({"uid": "x", "resourceVersion": "1"}));
        assert!(take_options(&mut query(&[("gracePeriodSeconds", "soon")]), None).is_err());
    }
}
