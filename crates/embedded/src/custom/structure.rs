//! Whether a schema is one by which objects can be pruned and defaulted ("structural"), and whether its parts fit together:
//! what the API server demands of `openAPIV3Schema`, in its words.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use super::check::{self, Place};
use super::rules;
use super::schema::Schema;
use super::shape;
use crate::error::Cause;
use crate::object;

/// Where in a schema a node stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Members of a schema that no definition may have.
const REFUSED: [(&str, &str); 6] = [
    ("id", "id is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("$ref", "$ref is not supported"),
];

/// Everything that is wrong with a schema.
pub(super) fn check(schema: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if schema["nullable"] == true {
        causes.push(Cause::forbidden(format!("{path}.nullable"), "nullable cannot be true at the root"));
    }
    node(schema, path, true, None, &mut causes);
    let mut structural = Vec::new();
    invariants(schema, path, Level::Root, &mut structural);
    complete(schema, path, &mut structural);
    structural.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
    if structural.is_empty() {
        defaults(schema, path, true, &mut structural);
    }
    causes.extend(structural);
    causes
}

fn members<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema[key].as_object().into_iter().flatten()
}

fn is_set(schema: &Value, key: &str) -> bool {
    match &schema[key] {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// What holds for each node by itself. `no_default`: why none may stand here.
fn node(schema: &Value, path: &str, root: bool, no_default: Option<&str>, causes: &mut Vec<Cause>) {
    own(schema, path, no_default, causes);
    extensions(schema, path, causes);
    rules_of(schema, path, causes);
    if schema["additionalProperties"].is_object() {
        node(&schema["additionalProperties"], &format!("{path}.additionalProperties"), false, no_default, causes);
    }
    for (name, inner) in members(schema, "properties") {
        let in_metadata = format!("in top-level {name}");
        let is_meta = root && ["metadata", "kind", "apiVersion"].contains(&name.as_str());
        let no_default = if is_meta { Some(in_metadata.as_str()) } else { no_default };
        node(inner, &format!("{path}.properties[{name}]"), false, no_default, causes);
    }
    if schema["not"].is_object() {
        node(&schema["not"], &format!("{path}.not"), false, no_default, causes);
    }
    for key in ["allOf", "oneOf", "anyOf"] {
        for (index, inner) in object::list(schema, &[key]).iter().enumerate() {
            node(inner, &format!("{path}.{key}[{index}]"), false, no_default, causes);
        }
    }
    if schema["items"].is_object() {
        node(&schema["items"], &format!("{path}.items"), false, no_default, causes);
    }
}

fn own(schema: &Value, path: &str, no_default: Option<&str>, causes: &mut Vec<Cause>) {
    let kind = object::text(schema, &["type"]);
    if kind == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        causes.push(Cause::forbidden(format!("{path}.type"), why));
    } else if !kind.is_empty() && !TYPES.contains(&kind) {
        causes.push(Cause::unsupported(format!("{path}.type"), &schema["type"], &TYPES));
    }
    if let Some(reason) = no_default.filter(|_| !schema["default"].is_null()) {
        causes.push(Cause::forbidden(format!("{path}.default"), &format!("must not be set {reason}")));
    }
    for (key, why) in REFUSED {
        if is_set(schema, key) {
            causes.push(Cause::forbidden(format!("{path}.{key}"), why));
        }
    }
    if schema["items"].is_array() {
        causes.push(Cause::forbidden(format!("{path}.items"), "items must be a schema object and not an array"));
    }
    if schema["uniqueItems"] == true {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        causes.push(Cause::forbidden(format!("{path}.uniqueItems"), why));
    }
    let additional = &schema["additionalProperties"];
    if (additional.is_object() || *additional == false) && is_set(schema, "properties") {
        let why = "additionalProperties and properties are mutual exclusive";
        causes.push(Cause::forbidden(format!("{path}.additionalProperties"), why));
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        let field = format!("{path}.x-kubernetes-preserve-unknown-fields");
        causes.push(Cause::invalid(field, &Value::Bool(false), "must be true or undefined"));
    }
}

/// `must be object if …`: required where there is no type, invalid where it is another.
fn must_be(schema: &Value, path: &str, kind: &str, why: &str, causes: &mut Vec<Cause>) -> bool {
    let given = object::text(schema, &["type"]);
    if given == kind {
        return true;
    }
    let (field, why) = (format!("{path}.type"), format!("must be {kind} if {why}"));
    causes.push(if given.is_empty() {
        Cause::required(field, &why)
    } else {
        Cause::invalid(field, &schema["type"], &why)
    });
    false
}

fn extensions(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if let Some(map_type) = schema["x-kubernetes-map-type"].as_str() {
        must_be(schema, path, "object", "x-kubernetes-map-type is specified", causes);
        const KNOWN: [&str; 2] = ["atomic", "granular"];
        if !KNOWN.contains(&map_type) {
            let field = format!("{path}.x-kubernetes-map-type");
            causes.push(Cause::unsupported(field, &schema["x-kubernetes-map-type"], &KNOWN));
        }
    }
    let keys = object::list(schema, &["x-kubernetes-list-map-keys"]);
    let list_type = schema["x-kubernetes-list-type"].as_str();
    let field = format!("{path}.x-kubernetes-list-type");
    if let Some(list_type) = list_type {
        must_be(schema, path, "array", "x-kubernetes-list-type is specified", causes);
        const KNOWN: [&str; 3] = ["atomic", "set", "map"];
        if !KNOWN.contains(&list_type) {
            causes.push(Cause::unsupported(field.clone(), &schema["x-kubernetes-list-type"], &KNOWN));
        }
    }
    if !keys.is_empty() && list_type != Some("map") {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        causes.push(match list_type {
            None => Cause::required(field, why),
            Some(_) => Cause::invalid(field, &schema["x-kubernetes-list-type"], why),
        });
    }
    match list_type {
        Some("map") => keyed_list(schema, path, keys, causes),
        Some("set") => set_list(&schema["items"], path, causes),
        _ => {}
    }
}

fn set_list(items: &Value, path: &str, causes: &mut Vec<Cause>) {
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let refuse = match items["type"].as_str() {
        Some("array") => {
            ("x-kubernetes-list-type", items["x-kubernetes-list-type"].as_str().is_some_and(|t| t != "atomic"))
        }
        Some("object") => ("x-kubernetes-map-type", items["x-kubernetes-map-type"] != "atomic"),
        _ => return,
    };
    if let (key, true) = refuse {
        causes.push(Cause::invalid(format!("{path}.items.{key}"), &items[key], why));
    }
    if items["nullable"] == true {
        let why = "cannot be nullable when x-kubernetes-list-type is set";
        causes.push(Cause::forbidden(format!("{path}.items.nullable"), why));
    }
}

fn keyed_list(schema: &Value, path: &str, keys: &[Value], causes: &mut Vec<Cause>) {
    let field = format!("{path}.x-kubernetes-list-map-keys");
    let items = &schema["items"];
    if keys.is_empty() {
        causes.push(Cause::required(field.clone(), "must not be empty if x-kubernetes-list-type is map"));
    }
    if items.is_null() {
        causes.push(Cause::required(format!("{path}.items"), "must have a schema if x-kubernetes-list-type is map"));
        return;
    }
    if items["type"] != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        causes.push(Cause::invalid(format!("{path}.items.type"), &items["type"], why));
        return;
    }
    if items["nullable"] == true {
        let why = "cannot be nullable when x-kubernetes-list-type is map";
        causes.push(Cause::forbidden(format!("{path}.items.nullable"), why));
    }
    let required = object::list(items, &["required"]);
    let mut seen = BTreeSet::new();
    for key in keys.iter().filter_map(Value::as_str) {
        let place = format!("{path}.items.properties[{key}]");
        let all = &schema["x-kubernetes-list-map-keys"];
        match items["properties"].get(key) {
            None => causes.push(Cause::invalid(field.clone(), all, "entries must all be names of item properties")),
            Some(property) => {
                if matches!(property["type"].as_str(), Some("array" | "object")) {
                    let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    causes.push(Cause::invalid(format!("{place}.type"), &property["type"], why));
                }
                if !required.iter().any(|name| name == key) && property["default"].is_null() {
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                    causes.push(Cause::required(format!("{place}.default"), why));
                }
                if property["nullable"] == true {
                    let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                    causes.push(Cause::forbidden(format!("{place}.nullable"), why));
                }
            }
        }
        if !seen.insert(key) {
            causes.push(Cause::invalid(field.clone(), all, "must not contain duplicate entries"));
        }
    }
}

fn rules_of(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (index, rule) in object::list(schema, &["x-kubernetes-validations"]).iter().enumerate() {
        let place = format!("{path}.x-kubernetes-validations[{index}]");
        let (text, message) = (object::text(rule, &["rule"]).trim(), object::text(rule, &["message"]));
        if text.is_empty() {
            causes.push(Cause::required(format!("{place}.rule"), "rule is not specified"));
            continue;
        }
        let breaks = |text: &str| text.contains(['\n', '\r']);
        if !message.is_empty() && message.trim().is_empty() {
            let why = "message must be non-empty if specified";
            causes.push(Cause::invalid(format!("{place}.message"), &rule["message"], why));
        } else if breaks(message.trim()) {
            let why = "message must not contain line breaks";
            causes.push(Cause::invalid(format!("{place}.message"), &rule["message"], why));
        } else if breaks(text) && message.trim().is_empty() {
            let why = "message must be specified if rule contains line breaks";
            causes.push(Cause::required(format!("{place}.message"), why));
        }
        for key in ["rule", "messageExpression"] {
            let text = object::text(rule, &[key]);
            if let Some(why) =
                Some(text).filter(|text| !text.trim().is_empty()).and_then(|text| rules::compile(text).err())
            {
                let why = format!("compilation failed: {why}");
                causes.push(Cause::invalid(format!("{place}.{key}"), &rule[key], &why));
            }
        }
        if rule["optionalOldSelf"] == true {
            let why = "rules with an optional oldSelf are not evaluated by this cluster";
            causes.push(Cause::forbidden(format!("{place}.optionalOldSelf"), why));
        }
    }
}

/// `anyOf: [{type: integer}, {type: string}]`, which says what `x-kubernetes-int-or-string` says.
fn is_int_or_string(parts: &Value) -> bool {
    *parts == serde_json::json!([{"type": "integer"}, {"type": "string"}])
}

fn invariants(schema: &Value, path: &str, level: Level, causes: &mut Vec<Cause>) {
    let kind = object::text(schema, &["type"]);
    let flag = |key: &str| schema[key] == true;
    let (preserve, embedded, int_or_string) = (
        flag("x-kubernetes-preserve-unknown-fields"),
        flag("x-kubernetes-embedded-resource"),
        flag("x-kubernetes-int-or-string"),
    );
    if kind == "array" && schema["items"].is_null() {
        causes.push(Cause::required(format!("{path}.items"), "must be specified"));
    }
    if schema["items"].is_object() {
        invariants(&schema["items"], &format!("{path}.items"), Level::Item, causes);
    }
    for (name, inner) in members(schema, "properties") {
        invariants(inner, &format!("{path}.properties[{name}]"), Level::Field, causes);
    }
    let additional = format!("{path}.additionalProperties");
    if level == Level::Root && !schema["additionalProperties"].is_null() {
        causes.push(Cause::forbidden(additional.clone(), "must not be used at the root"));
    }
    if embedded && !schema["additionalProperties"].is_null() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        causes.push(Cause::forbidden(additional.clone(), why));
    }
    if schema["additionalProperties"].is_object() {
        invariants(&schema["additionalProperties"], &additional, Level::Field, causes);
    }
    for (key, is_too) in
        [("x-kubernetes-preserve-unknown-fields", preserve), ("x-kubernetes-embedded-resource", embedded)]
    {
        if int_or_string && is_too {
            let why = "must be false if x-kubernetes-int-or-string is true";
            causes.push(Cause::invalid(format!("{path}.{key}"), &Value::Bool(true), why));
        }
    }
    values(schema, path, int_or_string, causes);
    if embedded {
        must_be(schema, path, "object", "x-kubernetes-embedded-resource is true", causes);
        if !preserve && !is_set(schema, "properties") {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            causes.push(Cause::required(format!("{path}.properties"), why));
        }
    } else if kind.is_empty() && !int_or_string && !preserve {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        causes.push(Cause::required(format!("{path}.type"), why));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        causes.push(Cause::invalid(format!("{path}.type"), &schema["type"], "must be object at the root"));
    }
    if level == Level::Root || embedded {
        metadata(schema, path, level, causes);
    }
}

fn metadata(schema: &Value, path: &str, level: Level, causes: &mut Vec<Cause>) {
    let properties = &schema["properties"];
    for (name, kind) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        if let Some(given) = properties.get(name).filter(|given| given["type"] != kind) {
            let why = format!("must be {kind}");
            causes.push(Cause::invalid(format!("{path}.properties[{name}].type"), &given["type"], &why));
        }
    }
    let beyond = |metadata: &Value| {
        members(metadata, "properties").any(|(name, _)| name != "name" && name != "generateName")
            || metadata
                .as_object()
                .is_some_and(|map| map.keys().any(|key| !["type", "properties"].contains(&key.as_str())))
    };
    if level == Level::Root && properties.get("metadata").is_some_and(beyond) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        causes.push(Cause::forbidden(format!("{path}.properties[metadata]"), why));
    }
}

/// The parts that only say what a value must be.
fn values(schema: &Value, path: &str, int_or_string: bool, causes: &mut Vec<Cause>) {
    if let Some(pattern) = schema["pattern"].as_str()
        && let Err(error) = Regex::new(pattern)
    {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        causes.push(Cause::invalid(format!("{path}.pattern"), &schema["pattern"], &why));
    }
    for key in ["anyOf", "allOf", "oneOf"] {
        if key == "anyOf" && int_or_string && is_int_or_string(&schema[key]) {
            continue;
        }
        for (index, part) in object::list(schema, &[key]).iter().enumerate() {
            let skip = key == "allOf" && index == 0 && int_or_string && is_int_or_string(&part["anyOf"]);
            nested(part, &format!("{path}.{key}[{index}]"), skip, causes);
        }
    }
    if schema["not"].is_object() {
        nested(&schema["not"], &format!("{path}.not"), false, causes);
    }
}

/// What a part under allOf, anyOf, oneOf or not may not say, since it belongs to the structure.
const STRUCTURE: [(&str, &str); 13] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

fn nested(part: &Value, path: &str, skip_any_of: bool, causes: &mut Vec<Cause>) {
    for (key, why) in STRUCTURE {
        if is_set(part, key) {
            causes.push(Cause::forbidden(format!("{path}.{key}"), why));
        }
    }
    if part["properties"].get("metadata").is_some() {
        let field = format!("{path}.properties[metadata]");
        causes.push(Cause::forbidden(field, "must not be specified in a nested context"));
    }
    values(part, path, skip_any_of, causes);
    for (name, inner) in members(part, "properties") {
        nested(inner, &format!("{path}.properties[{name}]"), false, causes);
    }
    if part["items"].is_object() {
        nested(&part["items"], &format!("{path}.items"), false, causes);
    }
}

/// What is spoken of under allOf, anyOf, oneOf or not must stand in the structure itself.
fn complete(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    for key in ["anyOf", "allOf", "oneOf"] {
        for (index, part) in object::list(schema, &[key]).iter().enumerate() {
            covered(schema, part, path, &format!("{path}.{key}[{index}]"), causes);
        }
    }
    if schema["not"].is_object() {
        covered(schema, &schema["not"], path, &format!("{path}.not"), causes);
    }
    for (name, inner) in members(schema, "properties") {
        complete(inner, &format!("{path}.properties[{name}]"), causes);
    }
    if schema["items"].is_object() {
        complete(&schema["items"], &format!("{path}.items"), causes);
    }
    if schema["additionalProperties"].is_object() {
        complete(&schema["additionalProperties"], &format!("{path}.additionalProperties"), causes);
    }
}

fn covered(schema: &Value, part: &Value, path: &str, part_path: &str, causes: &mut Vec<Cause>) {
    for (name, inner) in members(part, "properties") {
        let place = format!("{path}.properties[{name}]");
        match schema["properties"].get(name) {
            Some(own) => covered(own, inner, &place, &format!("{part_path}.properties[{name}]"), causes),
            None if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            None => {
                let why = format!("because it is defined in {part_path}.properties[{name}]");
                causes.push(Cause::required(place, &why));
            }
        }
    }
    if part["items"].is_object() && schema["items"].is_null() {
        let why = format!("because it is defined in {part_path}.items");
        causes.push(Cause::required(format!("{path}.items"), &why));
    }
}

/// A default must be a value of its schema, with nothing in it that would be taken away.
fn defaults(schema: &Value, path: &str, root: bool, causes: &mut Vec<Cause>) {
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        let own = Schema::read(schema);
        let field = format!("{path}.default");
        let (mut pruned, mut unknown) = (default.clone(), Vec::new());
        shape::prune(&own, &mut pruned, "", &mut unknown);
        if !unknown.is_empty() {
            causes.push(Cause::invalid(field.clone(), default, "must not have unknown fields"));
        }
        check::check(&own, default, None, &Place::part(&field), causes);
    }
    for (name, inner) in members(schema, "properties") {
        if !(root && name == "metadata") {
            defaults(inner, &format!("{path}.properties[{name}]"), false, causes);
        }
    }
    if schema["items"].is_object() {
        defaults(&schema["items"], &format!("{path}.items"), false, causes);
    }
}
