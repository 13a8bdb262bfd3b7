//! Custom resources: what their definitions say, and what that means for their objects. The server asks this module wherever
//! it asks the built-in types otherwise: pruning, defaults, validation, tables, scale, OpenAPI.

mod check;
mod columns;
mod definition;
mod names;
mod path;
mod rules;
mod schema;
mod shape;
mod structure;

use serde_json::Value;

pub(crate) use columns::{Column, cell};
pub(crate) use definition::{check as check_definition, fill as fill_definition};
pub(crate) use names::{CLEANUP, DEFINITIONS, changed, in_progress};
pub(crate) use path::Path;
pub(crate) use schema::{ListType, Schema};

use crate::error::Cause;
use crate::object;

/// One version of a custom resource.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) schema: Schema,
    /// The schema as it is written, for OpenAPI.
    pub(crate) text: Value,
    pub(crate) columns: Vec<Column>,
    pub(crate) scale: Option<Scale>,
    pub(crate) list_kind: String,
    /// What clients that use this version are told.
    pub(crate) warning: Option<String>,
}

/// Where the scale of an object stands.
#[derive(Debug)]
pub(crate) struct Scale {
    pub(crate) replicas: Vec<String>,
    pub(crate) status_replicas: Vec<String>,
    pub(crate) selector: Option<Vec<String>>,
}

impl Version {
    /// One of the versions of a definition.
    pub(crate) fn of(spec: &Value, version: &Value) -> Self {
        let text = version["schema"]["openAPIV3Schema"].clone();
        let name = object::text(version, &["name"]);
        let kind = object::text(spec, &["names", "kind"]);
        let deprecated = format!("{}/{name} {kind} is deprecated", object::text(spec, &["group"]));
        let given = version["deprecationWarning"].as_str().map(str::to_owned);
        let scale = &version["subresources"]["scale"];
        let names = |key: &str| scale[key].as_str().and_then(Path::parse).and_then(|path| owned(path.names()?));
        Self {
            schema: Schema::of_object(&text),
            columns: columns::of(version),
            scale: names("specReplicasPath").zip(names("statusReplicasPath")).map(|(replicas, status_replicas)| {
                Scale { replicas, status_replicas, selector: names("labelSelectorPath") }
            }),
            list_kind: match object::text(spec, &["names", "listKind"]) {
                "" => format!("{kind}List"),
                given => given.to_owned(),
            },
            warning: (version["deprecated"] == true).then(|| given.unwrap_or(deprecated)),
            text,
        }
    }

    /// Everything that is unknown taken away and named; metadata in its types.
    pub(crate) fn shaped(
        &self,
        mut object: Value,
        unknown: &mut Vec<String>,
    ) -> Result<Value, wire::canonical::Misfit> {
        shape::metadata(&mut object, unknown)?;
        shape::prune(&self.schema, &mut object, "", unknown);
        Ok(object)
    }

    /// Defaults filled in.
    pub(crate) fn fill(&self, object: &mut Value) {
        shape::fill(&self.schema, object);
    }

    /// All that is wrong with an object. `status`: only its status is written.
    pub(crate) fn check(&self, object: &Value, old: Option<&Value>, status: bool) -> Vec<Cause> {
        let mut causes = Vec::new();
        let (schema, value, before, place, path) = if status {
            let Some(schema) = self.schema.properties.get("status") else { return causes };
            let Some(value) = object.get("status") else { return causes };
            (schema, value, old.and_then(|old| old.get("status")), check::Place::part("status"), "status")
        } else {
            (&self.schema, object, old, check::Place::root(), "")
        };
        check::check(schema, value, before, &place, &mut causes);
        if let Some(scale) = &self.scale {
            scale.check(object, status, &mut causes);
        }
        check::uniqueness(schema, value, path, &mut causes);
        if !self.schema.has_rules() {
            return causes;
        }
        if causes.iter().any(|cause| BLOCKING.contains(&cause.reason)) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            causes.push(Cause::invalid(rules::ROOT, &Value::Null, why));
        } else {
            rules::check(&self.schema, object, old, rules::ROOT, &mut causes);
        }
        causes
    }
}

/// What keeps rules from being asked: an object that has not even its types.
const BLOCKING: [&str; 5] =
    ["FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"];

fn owned(names: Vec<&str>) -> Option<Vec<String>> {
    (!names.is_empty()).then(|| names.into_iter().map(str::to_owned).collect())
}

impl Scale {
    fn check(&self, object: &Value, status: bool, causes: &mut Vec<Cause>) {
        if !status {
            number(&self.replicas, object, causes);
        }
        number(&self.status_replicas, object, causes);
    }
}

/// A number of replicas must be one.
fn number(names: &[String], object: &Value, causes: &mut Vec<Cause>) {
    let Some(value) = names.iter().try_fold(object, |value, name| value.get(name)) else { return };
    let path = format!(".{}", names.join("."));
    let mut refuse = |value: i64, why: &str| causes.push(Cause::invalid(path.clone(), &Value::from(value), why));
    match value.as_i64() {
        Some(count) if count < 0 => refuse(count, "should be a non-negative integer"),
        Some(count) if count > i64::from(i32::MAX) => {
            refuse(count, &format!("should be less than or equal to {}", i32::MAX));
        }
        Some(_) => {}
        None => {
            let (shown, kind) = match value {
                Value::String(text) => (text.clone(), "string"),
                Value::Bool(flag) => (flag.to_string(), "bool"),
                Value::Number(number) => (number.to_string(), "float64"),
                Value::Null => ("<nil>".to_owned(), "<nil>"),
                Value::Array(_) => (value.to_string(), "[]interface {}"),
                Value::Object(_) => (value.to_string(), "map[string]interface {}"),
            };
            refuse(0, &format!("{path} accessor error: {shown} is of the type {kind}, expected int64"));
        }
    }
}
