//! Protobuf of Kubernetes, written by the schema table: the way back of `wire`'s reader, of which the program has no need.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use wire::schema::{self, Field, Message, Shape, Type};

/// `k8s\0` and the envelope around a raw message.
pub(crate) fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut meta = Vec::new();
    bytes(&mut meta, 1, api_version.as_bytes());
    bytes(&mut meta, 2, kind.as_bytes());
    let mut body = b"k8s\0".to_vec();
    bytes(&mut body, 1, &meta);
    bytes(&mut body, 2, raw);
    body
}

/// A whole body; none for a kind that the table does not have.
pub(crate) fn encode(object: &Value) -> Result<Option<Vec<u8>>, String> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (Some(message), Value::Object(map)) = (schema::of_kind(api_version, kind), object) else { return Ok(None) };
    // A field of JSON that protobuf cannot hold: the body was JSON in an envelope.
    let known = |key: &String| ["apiVersion", "kind"].contains(&key.as_str()) || message.field(key).is_some();
    if !map.keys().all(known) {
        return Ok(None);
    }
    Ok(Some(envelope(api_version, kind, &encode_message(message, map)?)))
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

fn number(out: &mut Vec<u8>, field: u32, value: i64) {
    varint(out, u64::from(field) << 3);
    varint(out, value.cast_unsigned());
}

fn bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// A message with nothing but bytes in field 1.
fn wrapped(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if !content.is_empty() {
        bytes(&mut out, 1, content);
    }
    out
}

fn encode_message(message: &Message, object: &Map<String, Value>) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for field in &message.fields {
        if let (Type::Message(inner), "_") = (field.ty, field.name) {
            let inner = schema::message(inner).ok_or_else(|| format!("no message {inner}"))?;
            bytes(&mut out, field.number, &encode_message(inner, object)?);
            continue;
        }
        let Some(value) = object.get(field.name) else { continue };
        match (field.shape, value) {
            (Shape::One, value) => encode_value(&mut out, field.number, field, value)?,
            (Shape::List, Value::Array(items)) => {
                items.iter().try_for_each(|item| encode_value(&mut out, field.number, field, item))?;
            }
            (Shape::Map, Value::Object(entries)) => {
                for (key, value) in entries {
                    let mut entry = Vec::new();
                    bytes(&mut entry, 1, key.as_bytes());
                    encode_value(&mut entry, 2, field, value)?;
                    bytes(&mut out, field.number, &entry);
                }
            }
            (_, other) => return Err(format!("{}.{} is {other}", message.name, field.name)),
        }
    }
    Ok(out)
}

fn encode_value(out: &mut Vec<u8>, at: u32, field: &Field, value: &Value) -> Result<(), String> {
    let misfit = || format!("{} is {value}", field.name);
    let text = || value.as_str().ok_or_else(misfit);
    match field.ty {
        Type::Bool => number(out, at, i64::from(value.as_bool().ok_or_else(misfit)?)),
        Type::Int32 => number(out, at, value.as_i64().filter(|n| i32::try_from(*n).is_ok()).ok_or_else(misfit)?),
        Type::Int64 => number(out, at, value.as_i64().ok_or_else(misfit)?),
        Type::String => bytes(out, at, text()?.as_bytes()),
        Type::Bytes => bytes(out, at, &STANDARD.decode(text()?).map_err(|_| misfit())?),
        Type::Quantity => bytes(out, at, &wrapped(text()?.as_bytes())),
        Type::Raw | Type::Fields if value.is_null() => bytes(out, at, &[]),
        Type::Raw | Type::Fields => bytes(out, at, &wrapped(value.to_string().as_bytes())),
        Type::IntOrString => bytes(out, at, &int_or_string(value).ok_or_else(misfit)?),
        Type::Time | Type::MicroTime if value.is_null() => bytes(out, at, &[]),
        Type::Time | Type::MicroTime => bytes(out, at, &time(text()?).ok_or_else(misfit)?),
        Type::Strings => {
            let mut list = Vec::new();
            for item in value.as_array().ok_or_else(misfit)? {
                bytes(&mut list, 1, item.as_str().ok_or_else(misfit)?.as_bytes());
            }
            bytes(out, at, &list);
        }
        Type::Message(name) => {
            let message = schema::message(name).ok_or_else(misfit)?;
            bytes(out, at, &encode_message(message, value.as_object().ok_or_else(misfit)?)?);
        }
        Type::Any => return Err(misfit()),
    }
    Ok(())
}

fn int_or_string(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match value {
        Value::String(text) => {
            number(&mut out, 1, 1);
            bytes(&mut out, 3, text.as_bytes());
        }
        other => number(&mut out, 2, other.as_i64()?),
    }
    Some(out)
}

fn time(text: &str) -> Option<Vec<u8>> {
    let at: jiff::Timestamp = text.parse().ok()?;
    let mut out = Vec::new();
    number(&mut out, 1, at.as_second());
    number(&mut out, 2, i64::from(at.subsec_nanosecond()));
    Some(out)
}
