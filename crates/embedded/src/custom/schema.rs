//! The schema of a custom resource in a form that values can be held against: read once from `openAPIV3Schema` when the
//! definition is served. What is wrong with a schema itself says `definition`.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::rules::Rule;
use crate::object;
use crate::registry::intern;

/// What a map may hold besides its properties.
#[derive(Clone, Debug)]
pub(crate) enum Additional {
    /// Nothing is said.
    Unsaid,
    /// `true`, `false`.
    Any(bool),
    Schema(Box<Schema>),
}

/// How the items of a list are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListType {
    Atomic,
    Set,
    Map,
}

/// One node of a schema.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    /// `object`, `array`, `string`, `integer`, `number`, `boolean`, or empty.
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) nullable: bool,
    pub(crate) properties: BTreeMap<String, Schema>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<Box<Schema>>,
    pub(crate) default: Option<Value>,
    pub(crate) preserve: bool,
    pub(crate) embedded: bool,
    pub(crate) int_or_string: bool,
    pub(crate) list_type: ListType,
    pub(crate) list_keys: Vec<&'static str>,
    /// A map that is replaced as a whole.
    pub(crate) atomic_map: bool,
    pub(crate) limits: Limits,
    pub(crate) rules: Vec<Rule>,
    /// The object as a whole: it has apiVersion, kind and metadata besides what is written here.
    pub(crate) root: bool,
}

/// What a value must be besides its type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) required: Vec<String>,
    pub(crate) values: Vec<Value>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) minimum: Option<(f64, bool)>,
    pub(crate) maximum: Option<(f64, bool)>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) length: Range,
    pub(crate) items: Range,
    pub(crate) properties: Range,
    pub(crate) all_of: Vec<Schema>,
    pub(crate) any_of: Vec<Schema>,
    pub(crate) one_of: Vec<Schema>,
    pub(crate) not: Option<Box<Schema>>,
}

/// Bounds of a size.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range {
    pub(crate) min: Option<u64>,
    pub(crate) max: Option<u64>,
}

impl Schema {
    /// The schema of a whole object.
    pub(crate) fn of_object(text: &Value) -> Self {
        Self { root: true, ..Self::read(text) }
    }

    pub(crate) fn read(text: &Value) -> Self {
        let flag = |key: &str| text[key] == true;
        Self {
            kind: object::text(text, &["type"]).to_owned(),
            format: object::text(text, &["format"]).to_owned(),
            nullable: flag("nullable"),
            properties: text["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, inner)| (name.clone(), Self::read(inner)))
                .collect(),
            additional: match &text["additionalProperties"] {
                Value::Bool(any) => Additional::Any(*any),
                schema @ Value::Object(_) => Additional::Schema(Box::new(Self::read(schema))),
                _ => Additional::Unsaid,
            },
            items: text["items"].is_object().then(|| Box::new(Self::read(&text["items"]))),
            default: text.get("default").filter(|value| !value.is_null()).cloned(),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            list_type: match text["x-kubernetes-list-type"].as_str() {
                Some("set") => ListType::Set,
                Some("map") => ListType::Map,
                _ => ListType::Atomic,
            },
            list_keys: object::list(text, &["x-kubernetes-list-map-keys"])
                .iter()
                .filter_map(|key| key.as_str().map(intern))
                .collect(),
            atomic_map: text["x-kubernetes-map-type"] == "atomic",
            limits: Limits::read(text),
            rules: object::list(text, &["x-kubernetes-validations"]).iter().map(Rule::read).collect(),
            root: false,
        }
    }

    /// What a map holds under a name that is no property.
    pub(crate) fn additional_schema(&self) -> Option<&Schema> {
        match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        }
    }

    /// The schema of a member of an object.
    pub(crate) fn member(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or_else(|| self.additional_schema())
    }

    /// Whether a name of an object is kept though no schema tells of it.
    pub(crate) fn keeps_unknown(&self) -> bool {
        self.preserve || matches!(self.additional, Additional::Any(true))
    }

    /// Has apiVersion, kind and metadata of its own.
    pub(crate) fn is_resource(&self) -> bool {
        self.root || self.embedded
    }

    /// Whether a rule stands here or below.
    pub(crate) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
            || self.properties.values().any(Schema::has_rules)
            || self.items.as_deref().is_some_and(Schema::has_rules)
            || self.additional_schema().is_some_and(Schema::has_rules)
            || self.limits.all_of.iter().any(Schema::has_rules)
    }
}

impl Limits {
    fn read(text: &Value) -> Self {
        let list = |key: &str| object::list(text, &[key]).to_vec();
        let schemas = |key: &str| -> Vec<Schema> { list(key).iter().map(Schema::read).collect() };
        let range = |min: &str, max: &str| Range { min: text[min].as_u64(), max: text[max].as_u64() };
        let bound = |key: &str, exclusive: &str| text[key].as_f64().map(|bound| (bound, text[exclusive] == true));
        Self {
            required: list("required").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            values: list("enum"),
            pattern: text["pattern"].as_str().and_then(|pattern| Regex::new(pattern).ok()),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: text["multipleOf"].as_f64(),
            length: range("minLength", "maxLength"),
            items: range("minItems", "maxItems"),
            properties: range("minProperties", "maxProperties"),
            all_of: schemas("allOf"),
            any_of: schemas("anyOf"),
            one_of: schemas("oneOf"),
            not: text["not"].is_object().then(|| Box::new(Schema::read(&text["not"]))),
        }
    }
}
