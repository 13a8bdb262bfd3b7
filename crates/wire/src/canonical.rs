//! What an object looks like after the API server has read it into its types and written it again: unknown fields gone
//! (and noted), empty optional fields gone, fields that are always written there, quantities and times in one spelling.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::quantity::Quantity;
use crate::schema::{self, Field, Message, Shape, Type};

/// A value that does not fit its field: the decoder's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);

/// Reads and writes `value` as `message`; paths of fields that are not known are pushed to `unknown`
/// (`spec.containers[0].imag`).
///
/// # Errors
/// The first value that does not fit.
pub fn canonical(message: &Message, value: Value, unknown: &mut Vec<String>) -> Result<Value, Misfit> {
    let mut walk = Walk { unknown, path: Vec::new() };
    let typed = match &value {
        Value::Object(object) => ["apiVersion", "kind"]
            .into_iter()
            .filter_map(|key| object.get(key).filter(|v| v.as_str() != Some("")).map(|v| (key, v.clone())))
            .collect(),
        _ => Vec::new(),
    };
    let mut result = walk.message(message, value, true)?;
    if let Value::Object(object) = &mut result {
        object.extend(typed.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    Ok(result)
}

enum Step {
    Key(String),
    /// An entry of a map, which is no member of a type.
    Entry(String),
    Index(usize),
}

struct Walk<'a> {
    unknown: &'a mut Vec<String>,
    path: Vec<Step>,
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(n) => format!("number {n}"),
        Value::String(_) => "string".into(),
        Value::Array(_) => "array".into(),
        Value::Object(_) => "object".into(),
    }
}

impl Walk<'_> {
    /// `spec.containers[0].image`.
    fn full_path(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) | Step::Entry(key) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(key);
                }
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }

    fn misfit(&self, message: &Message, value: &Value, go_type: &str) -> Misfit {
        let keys: Vec<&str> = self
            .path
            .iter()
            .filter_map(|step| match step {
                Step::Key(key) => Some(key.as_str()),
                Step::Entry(_) | Step::Index(_) => None,
            })
            .collect();
        // The decoder names the digits of a number only when a number of another kind was expected.
        let kind = match value {
            Value::Number(_) if go_type == "string" || go_type == "bool" => "number".to_owned(),
            other => kind_of(other),
        };
        let keys = keys.join(".");
        Misfit(format!("json: cannot unmarshal {kind} into Go struct field {}.{keys} of type {go_type}", message.name))
    }

    fn message(&mut self, message: &Message, value: Value, root: bool) -> Result<Value, Misfit> {
        let object = match value {
            Value::Object(object) => object,
            Value::Null => Map::new(),
            other => return Err(self.misfit(message, &other, &format!("v1.{}", message.name))),
        };
        let mut out = Map::new();
        for (key, value) in object {
            if (root || message.typed) && (key == "apiVersion" || key == "kind") {
                if message.typed {
                    out.insert(key, value);
                }
                continue;
            }
            self.path.push(Step::Key(key));
            let Some(Step::Key(key)) = self.path.last() else { continue };
            match message.field(key) {
                Some(field) => {
                    if let Some(value) = self.field(message, field, value)? {
                        out.insert(field.name.to_owned(), value);
                    }
                }
                None => {
                    let path = self.full_path();
                    self.unknown.push(path);
                }
            }
            self.path.pop();
        }
        for field in message.json_fields() {
            if !out.contains_key(field.name)
                && let Some(zero) = self.zero(field)?
            {
                out.insert(field.name.to_owned(), zero);
            }
        }
        Ok(Value::Object(out))
    }

    /// What is written for a field that is empty.
    fn zero(&mut self, field: &Field) -> Result<Option<Value>, Misfit> {
        if field.shape == Shape::One && !field.optional {
            match field.ty {
                // Metadata that no one has given is not written in nested objects' times; structs always are.
                Type::Message(name) => {
                    let message = schema::message(name).ok_or_else(|| Misfit(format!("unknown type {name}")))?;
                    return self.message(message, Value::Null, false).map(Some);
                }
                _ if !field.always => return Ok(None),
                Type::String => return Ok(Some(json!(""))),
                Type::Int32 | Type::Int64 => return Ok(Some(json!(0))),
                Type::Bool => return Ok(Some(json!(false))),
                Type::Quantity => return Ok(Some(json!("0"))),
                Type::IntOrString => return Ok(Some(json!(0))),
                _ => {}
            }
        }
        Ok(field.always.then_some(Value::Null))
    }

    fn field(&mut self, message: &Message, field: &Field, value: Value) -> Result<Option<Value>, Misfit> {
        if value.is_null() {
            return Ok(None);
        }
        match (field.shape, value) {
            (Shape::One, value) => {
                let value = self.one(message, field, value)?;
                let keep = field.always || field.optional || matches!(field.ty, Type::Message(_)) || !is_zero(&value);
                Ok(keep.then_some(value))
            }
            (Shape::List, Value::Array(items)) => {
                if items.is_empty() && !field.always {
                    return Ok(None);
                }
                let mut out = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    self.path.push(Step::Index(index));
                    out.push(self.one(message, field, item)?);
                    self.path.pop();
                }
                Ok(Some(Value::Array(out)))
            }
            (Shape::Map, Value::Object(entries)) => {
                if entries.is_empty() {
                    return Ok(None);
                }
                let mut out = Map::new();
                for (key, value) in entries {
                    self.path.push(Step::Entry(key.clone()));
                    let value = if value.is_null() { zero_of(field.ty) } else { self.one(message, field, value)? };
                    self.path.pop();
                    out.insert(key, value);
                }
                Ok(Some(Value::Object(out)))
            }
            (Shape::List, other) => Err(self.misfit(message, &other, &format!("[]{}", go_type(field.ty)))),
            (Shape::Map, other) => Err(self.misfit(message, &other, &format!("map[string]{}", go_type(field.ty)))),
        }
    }

    fn one(&mut self, message: &Message, field: &Field, value: Value) -> Result<Value, Misfit> {
        let fits = match field.ty {
            Type::String => value.is_string(),
            Type::Bool => value.is_boolean(),
            Type::Int32 => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Type::Int64 => value.is_i64(),
            Type::Bytes => match &value {
                Value::String(text) => return self.bytes(text).map(|()| value),
                _ => false,
            },
            Type::Quantity => return quantity(&value),
            Type::IntOrString => value.is_string() || value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Type::Time | Type::MicroTime => match &value {
                Value::String(text) => return time(text, field.ty == Type::MicroTime),
                Value::Null => true,
                _ => false,
            },
            Type::Strings => value.is_array(),
            Type::Raw | Type::Fields | Type::Any => true,
            Type::Message(name) => {
                let inner = schema::message(name).ok_or_else(|| Misfit(format!("unknown type {name}")))?;
                return match &value {
                    Value::Object(_) | Value::Null => self.message(inner, value, false),
                    other => Err(self.misfit(message, other, &go_type(field.ty))),
                };
            }
        };
        if fits { Ok(value) } else { Err(self.misfit(message, &value, &go_type(field.ty))) }
    }

    fn bytes(&self, text: &str) -> Result<(), Misfit> {
        use base64::Engine as _;
        match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(_) => Ok(()),
            Err(error) => {
                let at = match error {
                    base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                    _ => text.len() / 4 * 4,
                };
                Err(Misfit(format!("illegal base64 data at input byte {at}")))
            }
        }
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(v) => !v,
        Value::Number(n) => n.as_i64() == Some(0),
        Value::String(s) => s.is_empty(),
        _ => false,
    }
}

/// What a map holds at a key that came without a value.
pub(crate) fn zero_of(ty: Type) -> Value {
    match ty {
        Type::Quantity => json!("0"),
        Type::Strings => json!([]),
        Type::Time | Type::MicroTime => Value::Null,
        _ => json!(""),
    }
}

fn go_type(ty: Type) -> String {
    match ty {
        Type::String => "string".into(),
        Type::Bool => "bool".into(),
        Type::Int32 => "int32".into(),
        Type::Int64 => "int64".into(),
        Type::Bytes => "uint8".into(),
        Type::Quantity => "resource.Quantity".into(),
        Type::IntOrString => "intstr.IntOrString".into(),
        Type::Time => "v1.Time".into(),
        Type::MicroTime => "v1.MicroTime".into(),
        Type::Strings => "v1.ExtraValue".into(),
        Type::Raw | Type::Fields | Type::Any => "interface {}".into(),
        Type::Message(name) => format!("v1.{name}"),
    }
}

fn quantity(value: &Value) -> Result<Value, Misfit> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    Quantity::parse(&text).map(|quantity| json!(quantity.canonical())).ok_or_else(|| {
        Misfit("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".into())
    })
}

fn time(text: &str, micro: bool) -> Result<Value, Misfit> {
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    match text.parse::<Timestamp>() {
        Ok(at) => {
            // A field holds whole seconds (or microseconds): the rest is cut off, not rounded.
            let nanos = at.subsec_nanosecond();
            let cut = if micro { nanos - nanos % 1000 } else { 0 };
            let at = Timestamp::new(at.as_second(), cut).unwrap_or(at);
            Ok(json!(if micro { format!("{at:.6}") } else { format!("{at:.0}") }))
        }
        Err(_) => Err(Misfit(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(value: Value) -> (Result<Value, Misfit>, Vec<String>) {
        let mut unknown = Vec::new();
        let result = canonical(schema::message("Deployment").unwrap(), value, &mut unknown);
        (result, unknown)
    }

    #[test]
    fn unknown_fields_are_named_and_dropped() {
        let (value, unknown) = deployment(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "creationTimestamp": null},
            "spec": {"replcas": 1, "template": {"spec": {"containers": [{"name": "c", "imag": "x"}]}}},
        }));
        assert_eq!(unknown, ["spec.replcas", "spec.template.spec.containers[0].imag"]);
        assert_eq!(
            value.unwrap(),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
                "spec": {
                    "selector": null, "strategy": {},
                    "template": {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {}}]}},
                },
                "status": {},
            })
        );
    }

    #[test]
    fn misfits_are_worded_as_go_does() {
        let (value, _) = deployment(json!({"spec": {"replicas": "three"}}));
        assert_eq!(
            value.unwrap_err().to_string(),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        let (value, _) = deployment(json!({"spec": {"template": {"spec": {"containers": [{"image": 5}]}}}}));
        assert_eq!(
            value.unwrap_err().to_string(),
            "json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.image of type string"
        );
    }

    #[test]
    fn quantities_and_times_get_one_spelling() {
        let mut unknown = Vec::new();
        let value = canonical(
            schema::message("Pod").unwrap(),
            json!({"metadata": {"creationTimestamp": "2026-11-21T04:00:00.9+01:00"},
                "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": 1, "memory": "1024Ki"}}}],
                         "volumes": [{"name": "v", "emptyDir": {}}]}}),
            &mut unknown,
        )
        .unwrap();
        assert_eq!(value["spec"]["containers"][0]["resources"]["limits"], json!({"cpu": "1", "memory": "1Mi"}));
        assert_eq!(value["metadata"]["creationTimestamp"], "2026-11-21T03:00:00Z");
        assert_eq!(value["spec"]["volumes"][0]["emptyDir"], json!({}));
    }
}
