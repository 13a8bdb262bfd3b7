//! Kubernetes protobuf (`k8s\0` and a `runtime.Unknown`) to the JSON form and back, by the schema table. A field that
//! the table does not have makes a body undecodable: nothing is dropped silently.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::WireError;
use crate::schema::{self, Field, Message, Shape, Type};

const MAGIC: &[u8; 4] = b"k8s\0";
const MAX_DEPTH: usize = 64;

struct Reader<'a> {
    rest: &'a [u8],
}

enum Item<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

fn malformed(what: &str) -> WireError {
    WireError::Malformed(format!("protobuf: {what}"))
}

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or_else(|| malformed("unexpected end"))?;
            self.rest = rest;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("number too long"))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], WireError> {
        let count = usize::try_from(count).map_err(|_| malformed("length out of range"))?;
        if count > self.rest.len() {
            return Err(malformed("unexpected end"));
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    fn next(&mut self) -> Result<Option<(u32, Item<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| malformed("field number out of range"))?;
        let item = match tag & 7 {
            0 => Item::Varint(self.varint()?),
            1 => self.take(8).map(|_| Item::Fixed)?,
            2 => {
                let length = self.varint()?;
                Item::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Item::Fixed)?,
            _ => return Err(malformed("wire type that Kubernetes does not use")),
        };
        Ok(Some((number, item)))
    }
}

fn text(bytes: &[u8]) -> Result<String, WireError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed("string is not UTF-8"))
}

/// Decodes a whole body.
pub(crate) fn decode(body: &[u8]) -> Result<Value, WireError> {
    let unknown = body.strip_prefix(MAGIC).ok_or_else(|| malformed("the prefix k8s\\0 is missing"))?;
    let (mut api_version, mut kind, mut raw, mut encoding, mut content_type) =
        (String::new(), String::new(), &[][..], String::new(), String::new());
    let mut reader = Reader { rest: unknown };
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Bytes(bytes)) => {
                let mut meta = Reader { rest: bytes };
                while let Some((number, item)) = meta.next()? {
                    match (number, item) {
                        (1, Item::Bytes(bytes)) => api_version = text(bytes)?,
                        (2, Item::Bytes(bytes)) => kind = text(bytes)?,
                        _ => return Err(malformed("unknown field in typeMeta")),
                    }
                }
            }
            (2, Item::Bytes(bytes)) => raw = bytes,
            (3, Item::Bytes(bytes)) => encoding = text(bytes)?,
            (4, Item::Bytes(bytes)) => content_type = text(bytes)?,
            _ => return Err(malformed("unknown field in the envelope")),
        }
    }
    if !encoding.is_empty() {
        return Err(WireError::Undecodable(format!("content encoding {encoding}")));
    }
    let mut value = match content_type.as_str() {
        "" | "application/vnd.kubernetes.protobuf" => {
            let message = schema::of_kind(&api_version, &kind)
                .ok_or_else(|| WireError::Undecodable(format!("{api_version} {kind} is not known")))?;
            Value::Object(decode_message(message, raw, 0)?)
        }
        "application/json" => crate::json::parse(raw).map_err(|e| WireError::Malformed(e.to_string()))?.value,
        other => return Err(WireError::Undecodable(format!("content type {other} in the envelope"))),
    };
    if let Value::Object(object) = &mut value {
        object.insert("apiVersion".into(), api_version.into());
        object.insert("kind".into(), kind.into());
    }
    Ok(value)
}

fn decode_message(message: &Message, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError::TooDeep);
    }
    let mut object = Map::new();
    let mut reader = Reader { rest: bytes };
    while let Some((number, item)) = reader.next()? {
        let field = message
            .number(number)
            .ok_or_else(|| WireError::Undecodable(format!("field {number} of {} is not known", message.name)))?;
        decode_field(message, field, item, depth, &mut object)?;
    }
    Ok(object)
}

fn decode_field(
    message: &Message,
    field: &Field,
    item: Item<'_>,
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), WireError> {
    if let (Type::Message(inner), "_") = (field.ty, field.name) {
        let Item::Bytes(bytes) = item else { return Err(malformed("a message was expected")) };
        let inner = schema::message(inner).ok_or(WireError::TooDeep)?;
        object.extend(decode_message(inner, bytes, depth + 1)?);
        return Ok(());
    }
    match field.shape {
        Shape::One => {
            let value = decode_value(message, field, item, depth)?;
            if field.optional && !value.is_null() || !is_zero(&value) {
                object.insert(field.name.into(), value);
            }
        }
        Shape::List => {
            let list = object.entry(field.name).or_insert_with(|| json!([]));
            let Value::Array(list) = list else { return Err(malformed("a list was expected")) };
            match (field.ty, item) {
                (Type::Int32 | Type::Int64 | Type::Bool, Item::Bytes(packed)) => {
                    let mut packed = Reader { rest: packed };
                    while !packed.rest.is_empty() {
                        let number = packed.varint()?;
                        list.push(decode_value(message, field, Item::Varint(number), depth)?);
                    }
                }
                (_, item) => list.push(decode_value(message, field, item, depth)?),
            }
        }
        Shape::Map => {
            let Item::Bytes(bytes) = item else { return Err(malformed("a map entry was expected")) };
            let (mut key, mut value) = (String::new(), None);
            let mut reader = Reader { rest: bytes };
            while let Some((number, item)) = reader.next()? {
                match (number, item) {
                    (1, Item::Bytes(bytes)) => key = text(bytes)?,
                    (2, item) => value = Some(decode_value(message, field, item, depth)?),
                    _ => return Err(malformed("unknown field in a map entry")),
                }
            }
            let map = object.entry(field.name).or_insert_with(|| json!({}));
            if let Value::Object(map) = map {
                map.insert(key, value.unwrap_or_else(|| crate::canonical::zero_of(field.ty)));
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(v) => !v,
        Value::Number(n) => n.as_i64() == Some(0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}

fn decode_value(message: &Message, field: &Field, item: Item<'_>, depth: usize) -> Result<Value, WireError> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "protobuf's own encoding of int32")]
    Ok(match (field.ty, item) {
        (Type::Bool, Item::Varint(n)) => json!(n != 0),
        (Type::Int32, Item::Varint(n)) => json!(n as i64 as i32),
        (Type::Int64, Item::Varint(n)) => json!(n as i64),
        (Type::String, Item::Bytes(bytes)) => json!(text(bytes)?),
        (Type::Bytes, Item::Bytes(bytes)) => json!(STANDARD.encode(bytes)),
        (Type::Quantity, Item::Bytes(bytes)) => json!(text(single(bytes)?)?),
        (Type::Raw | Type::Fields, Item::Bytes(bytes)) => {
            let raw = single(bytes)?;
            if raw.is_empty() {
                return Ok(Value::Null);
            }
            crate::json::parse(raw).map_err(|e| WireError::Malformed(e.to_string()))?.value
        }
        (Type::IntOrString, Item::Bytes(bytes)) => int_or_string(bytes)?,
        (Type::Time, Item::Bytes(bytes)) => time(bytes, false)?,
        (Type::MicroTime, Item::Bytes(bytes)) => time(bytes, true)?,
        (Type::Strings, Item::Bytes(bytes)) => {
            let mut reader = Reader { rest: bytes };
            let mut list = Vec::new();
            while let Some((_, item)) = reader.next()? {
                if let Item::Bytes(bytes) = item {
                    list.push(Value::String(text(bytes)?));
                }
            }
            Value::Array(list)
        }
        (Type::Message(inner), Item::Bytes(bytes)) => {
            let inner = schema::message(inner).ok_or(WireError::TooDeep)?;
            Value::Object(decode_message(inner, bytes, depth + 1)?)
        }
        (Type::Any, _) => {
            return Err(WireError::Undecodable(format!(
                "{}.{} is not known in protobuf form",
                message.name, field.name
            )));
        }
        (_, Item::Fixed | Item::Varint(_) | Item::Bytes(_)) => {
            return Err(malformed(&format!("{}.{} has another type", message.name, field.name)));
        }
    })
}

/// The bytes of field 1 of a message that has no other.
fn single(bytes: &[u8]) -> Result<&[u8], WireError> {
    let mut reader = Reader { rest: bytes };
    let mut value = &[][..];
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Bytes(bytes)) => value = bytes,
            _ => return Err(malformed("unknown field in a wrapper")),
        }
    }
    Ok(value)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "protobuf's own encoding of int32")]
fn int_or_string(bytes: &[u8]) -> Result<Value, WireError> {
    let mut reader = Reader { rest: bytes };
    let (mut is_text, mut number, mut string) = (false, 0, String::new());
    while let Some((n, item)) = reader.next()? {
        match (n, item) {
            (1, Item::Varint(v)) => is_text = v == 1,
            (2, Item::Varint(v)) => number = v as i64 as i32,
            (3, Item::Bytes(v)) => string = text(v)?,
            _ => return Err(malformed("unknown field in IntOrString")),
        }
    }
    Ok(if is_text { json!(string) } else { json!(number) })
}

#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "protobuf's own encoding of int32")]
fn time(bytes: &[u8], micro: bool) -> Result<Value, WireError> {
    let mut reader = Reader { rest: bytes };
    let (mut seconds, mut nanos) = (None, 0);
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Varint(v)) => seconds = Some(v as i64),
            (2, Item::Varint(v)) => nanos = v as i64 as i32,
            _ => return Err(malformed("unknown field in a time")),
        }
    }
    // Go's zero time is written as an empty message.
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let at = Timestamp::new(seconds, nanos).map_err(|_| malformed("time out of range"))?;
    Ok(json!(if micro { format!("{at:.6}") } else { format!("{at:.0}") }))
}
