//! Bodies become objects of their resource: apiVersion and kind checked, read into the types, unknown fields treated as
//! `fieldValidation` asks.

use serde_json::{Value, json};
use wire::canonical::canonical;
use wire::schema::{self, Message, Shape, Type};

use crate::error::ApiError;
use crate::registry::Info;

/// What to do with fields that are not known or named twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Validation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// The object that a controller writes.
pub(crate) fn of_controller(info: &Info, mut object: Value) -> Result<Value, ApiError> {
    object["apiVersion"] = json!(info.resource.api_version());
    object["kind"] = json!(info.resource.kind);
    let mut unknown = Vec::new();
    let object = convert(info, object, &mut unknown)?;
    debug_assert!(unknown.is_empty(), "a controller writes unknown fields: {unknown:?}");
    Ok(object)
}

/// The object with which a controller replaces `old`, as far as `is_written` says of a member that the write is about it. What
/// is as it was is in its types already and not read into them again.
pub(crate) fn in_place_of(
    old: Option<&Value>,
    info: &Info,
    mut object: Value,
    is_written: impl Fn(&str) -> bool,
) -> Result<Value, ApiError> {
    let (Value::Object(map), Some(old), None) = (&mut object, old, &info.definition) else {
        return of_controller(info, object);
    };
    let differs =
        |(key, value): (&String, &Value)| (is_written(key) && old.get(key) != Some(value)).then(|| key.clone());
    let different: Vec<String> = map.iter().filter_map(differs).collect();
    let part = different.iter().filter_map(|key| map.remove_entry(key)).collect();
    if let Value::Object(part) = of_controller(info, Value::Object(part))? {
        for (key, value) in part.into_iter().filter(|(key, _)| different.contains(key)) {
            map.insert(key, value);
        }
    }
    map.insert("apiVersion".into(), json!(info.resource.api_version()));
    map.insert("kind".into(), json!(info.resource.kind));
    Ok(object)
}

/// The object in its types.
pub(crate) fn convert(info: &Info, object: Value, unknown: &mut Vec<String>) -> Result<Value, ApiError> {
    let api_version = info.resource.api_version();
    let kind = info.resource.kind;
    let typed = match (&info.definition, schema::of_kind(&api_version, kind).filter(|_| !info.custom)) {
        (Some(definition), _) => definition.shaped(object, unknown),
        (None, Some(message)) => canonical(message, object, unknown),
        (None, None) => return Ok(object),
    };
    typed.map_err(|misfit| {
        ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: {misfit}",
            info.resource.version
        ))
    })
}

/// The object of a request's body, and warnings for the client.
pub(crate) fn of_request(
    info: &Info,
    object: Value,
    duplicates: Vec<String>,
    validation: Validation,
    body: &[u8],
) -> Result<(Value, Vec<String>), ApiError> {
    let object = with_type(info, object)?;
    let mut unknown = Vec::new();
    let object = convert(info, object, &mut unknown)?;
    in_order_of_mention(&mut unknown, body);
    let mut complaints: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    complaints.extend(duplicates.iter().map(|path| format!("duplicate field {path:?}")));
    match validation {
        _ if complaints.is_empty() => Ok((object, complaints)),
        Validation::Ignore => Ok((object, Vec::new())),
        Validation::Warn => Ok((object, complaints)),
        Validation::Strict => Err(ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
            info.resource.version,
            complaints.join(", "),
            kind = info.resource.kind,
        ))),
    }
}

/// The decoder meets fields in the order of the text, our maps are sorted.
fn in_order_of_mention(paths: &mut [String], body: &[u8]) {
    if paths.len() > 1
        && let Ok(text) = std::str::from_utf8(body)
    {
        paths.sort_by_key(|path| text.find(&format!("\"{}\"", path.rsplit('.').next().unwrap_or(path))));
    }
}

/// Fills in apiVersion and kind, or says that they are others.
fn with_type(info: &Info, mut object: Value) -> Result<Value, ApiError> {
    let expected = info.resource.api_version();
    let kind = info.resource.kind;
    let Value::Object(map) = &mut object else {
        return Err(ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: json: cannot unmarshal {} into Go value of type {}.{kind}",
            info.resource.version,
            if object.is_array() { "array" } else { "value" },
            info.resource.version,
        )));
    };
    let given_kind = map.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let given_version = map.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !given_kind.is_empty() && given_kind != kind {
        let short = given_version.rsplit('/').next().unwrap_or_default();
        let known = schema::of_kind(&given_version, &given_kind).is_some();
        let why = if known {
            format!("converting ({short}.{given_kind}) to (core.{kind}): unknown conversion")
        } else {
            format!(
                "no kind {given_kind:?} is registered for version {given_version:?} in scheme \"pkg/runtime/scheme.go:111\""
            )
        };
        return Err(ApiError::bad_request(format!(
            "{given_kind} in version {short:?} cannot be handled as a {kind}: {why}"
        )));
    }
    if !given_version.is_empty() && given_version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({expected})"
        )));
    }
    map.insert("apiVersion".into(), json!(expected));
    map.insert("kind".into(), json!(kind));
    Ok(object)
}

/// An object as Go writes it after a merge: what the patch has touched in the order of its names, all else in the order in
/// which its type lists its members.
pub(crate) fn as_written(message: Option<&Message>, value: &Value, touched: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            if !touched.is_object() {
                let number =
                    |name: &str| message.and_then(|message| message.field(name)).map_or(0, |field| field.number);
                members.sort_by_key(|(name, _)| number(name));
            }
            let member = |(name, inner): (&String, &Value)| {
                let field = message.and_then(|message| message.field(name));
                let of_member = field.and_then(|field| match field.ty {
                    Type::Message(name) if field.shape != Shape::Map => schema::message(name),
                    _ => None,
                });
                format!("{}:{}", Value::from(name.as_str()), as_written(of_member, inner, &touched[name]))
            };
            format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| as_written(message, item, &Value::Null)).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

/// A parser's error as Go words it.
pub(crate) fn json_error(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() || body.is_empty() {
        return "unexpected end of JSON input".to_owned();
    }
    if error.to_string().starts_with("key must be a string") {
        let byte = body.get(error.column().saturating_sub(1)).copied().unwrap_or(b'?');
        return format!("invalid character {:?} looking for beginning of object key string", char::from(byte));
    }
    // serde counts lines and columns; the byte there is what Go names.
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1));
    let byte = line.and_then(|line| line.get(error.column().saturating_sub(1))).copied().unwrap_or(b'?');
    format!("invalid character {:?} looking for beginning of value", char::from(byte))
}
