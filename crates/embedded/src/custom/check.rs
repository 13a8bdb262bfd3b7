//! Holds a value against a schema, in the words of the API server.

use serde_json::{Value, json};

use super::rules::counterpart;
use super::schema::{ListType, Range, Schema};
use crate::error::Cause;

/// Where a value stands: as the field of a cause, and as messages call it. The two differ in a status, which is checked by
/// itself.
#[derive(Clone, Debug)]
pub(super) struct Place {
    field: String,
    name: String,
}

impl Place {
    /// The whole object.
    pub(super) fn root() -> Self {
        Self { field: String::new(), name: String::new() }
    }

    /// A part that is checked by itself.
    pub(super) fn part(field: &str) -> Self {
        Self { field: field.to_owned(), name: String::new() }
    }

    fn member(&self, name: &str) -> Self {
        let join = |path: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        Self { field: join(&self.field), name: join(&self.name) }
    }

    fn item(&self, index: usize) -> Self {
        Self { field: format!("{}[{index}]", self.field), name: format!("{}[{index}]", self.name) }
    }

    fn invalid(&self, value: &Value, why: &str) -> Cause {
        Cause::invalid(self.field.clone(), value, &format!("{} in body {why}", self.name))
    }
}

/// What a value is, in the words of a schema.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() && number.as_f64().is_some_and(|n| n.fract() != 0.0) => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn mismatch(place: &Place, expected: &str, value: &Value) -> Cause {
    let kind = kind_of(value);
    let why = format!("{} in body must be of type {expected}: {kind:?}", place.name);
    Cause { reason: "FieldValueTypeInvalid", ..Cause::invalid(place.field.clone(), &json!(kind), &why) }
}

/// Everything that is wrong with a value. What was there before and is the same now is let be.
pub(super) fn check(schema: &Schema, value: &Value, old: Option<&Value>, place: &Place, causes: &mut Vec<Cause>) {
    if old == Some(value) || value.is_null() && schema.nullable {
        return;
    }
    if !has_type(schema, value) {
        let expected = if schema.int_or_string { "integer,string" } else { &schema.kind };
        causes.push(mismatch(place, expected, value));
        return;
    }
    match value {
        Value::Object(map) => {
            members(schema, value, old, place, causes);
            size(schema.limits.properties, map.len(), place, "properties", causes);
        }
        Value::Array(items) => {
            size(schema.limits.items, items.len(), place, "items", causes);
            if let Some(of_items) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    let before = match schema.list_type {
                        ListType::Map => counterpart(schema, item, old),
                        // Items of a list that is replaced as a whole are not compared one by one.
                        _ => None,
                    };
                    check(of_items, item, before, &place.item(index), causes);
                }
            }
        }
        Value::String(text) => string(schema, text, value, place, causes),
        Value::Number(_) => number(schema, value, place, causes),
        _ => {}
    }
    let allowed = &schema.limits.values;
    if !allowed.is_empty() && !allowed.contains(value) {
        let names: Vec<String> =
            allowed.iter().map(|one| one.as_str().map_or(one.to_string(), str::to_owned)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        causes.push(Cause::unsupported(place.field.clone(), value, &names));
    }
    junctions(schema, value, place, causes);
}

fn has_type(schema: &Schema, value: &Value) -> bool {
    if schema.int_or_string {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match (schema.kind.as_str(), kind_of(value)) {
        ("", _) => true,
        ("number", "integer") => true,
        (expected, kind) => expected == kind,
    }
}

fn members(schema: &Schema, value: &Value, old: Option<&Value>, place: &Place, causes: &mut Vec<Cause>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        // A resource's own metadata is checked where that of all resources is.
        if schema.is_resource() && name == "metadata" {
            continue;
        }
        if let Some(member) = schema.member(name) {
            check(member, inner, old.and_then(|old| old.get(name)), &place.member(name), causes);
        }
    }
    for name in &schema.limits.required {
        if value.get(name).is_none() {
            causes.push(Cause::required(place.member(name).field, ""));
        }
    }
}

fn size(range: Range, have: usize, place: &Place, what: &str, causes: &mut Vec<Cause>) {
    let have = u64::try_from(have).unwrap_or(u64::MAX);
    if let Some(max) = range.max.filter(|max| have > *max) {
        let message = format!("Too many: {have}: must have at most {max} items");
        causes.push(Cause { reason: "FieldValueTooMany", message, field: place.field.clone() });
    }
    if let Some(min) = range.min.filter(|min| have < *min) {
        causes.push(place.invalid(&json!(have), &format!("should have at least {min} {what}")));
    }
}

fn string(schema: &Schema, text: &str, value: &Value, place: &Place, causes: &mut Vec<Cause>) {
    let limits = &schema.limits;
    let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    if let Some(max) = limits.length.max.filter(|max| length > *max) {
        let message = format!("Too long: may not be more than {max} bytes");
        causes.push(Cause { reason: "FieldValueTooLong", message, field: place.field.clone() });
    }
    if let Some(min) = limits.length.min.filter(|min| length < *min) {
        causes.push(place.invalid(value, &format!("should be at least {min} chars long")));
    }
    if let Some(pattern) = limits.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        causes.push(place.invalid(value, &format!("should match '{pattern}'")));
    }
    if !has_format(&schema.format, text) {
        let why = format!("{} in body must be of type {}: {text:?}", place.name, schema.format);
        causes.push(Cause { reason: "FieldValueTypeInvalid", ..Cause::invalid(place.field.clone(), value, &why) });
    }
}

/// Whether text is of a format; formats that are not known say nothing.
fn has_format(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        _ => true,
    }
}

fn number(schema: &Schema, value: &Value, place: &Place, causes: &mut Vec<Cause>) {
    let Some(number) = value.as_f64() else { return };
    if let Some((max, exclusive)) = schema.limits.maximum
        && (number > max || exclusive && number >= max)
    {
        let or_equal = if exclusive { "" } else { " or equal to" };
        causes.push(place.invalid(value, &format!("should be less than{or_equal} {max}")));
    }
    if let Some((min, exclusive)) = schema.limits.minimum
        && (number < min || exclusive && number <= min)
    {
        let or_equal = if exclusive { "" } else { " or equal to" };
        causes.push(place.invalid(value, &format!("should be greater than{or_equal} {min}")));
    }
    if let Some(step) = schema.limits.multiple_of.filter(|step| *step > 0.0)
        && (number / step).fract() != 0.0
    {
        causes.push(place.invalid(value, &format!("should be a multiple of {step}")));
    }
}

/// `allOf`, `anyOf`, `oneOf`, `not`.
fn junctions(schema: &Schema, value: &Value, place: &Place, causes: &mut Vec<Cause>) {
    let of = |part: &Schema| {
        let mut causes = Vec::new();
        check(part, value, None, place, &mut causes);
        causes
    };
    let limits = &schema.limits;
    let mut refuse = |why: &str| {
        let text = format!("{:?} {why}", place.name);
        causes.push(Cause::invalid(super::rules::ROOT, &json!(""), &text));
    };
    if limits.not.as_deref().is_some_and(|part| of(part).is_empty()) {
        refuse("must not validate the schema (not)");
    }
    let mut further = Vec::new();
    if !limits.any_of.is_empty() {
        let tried: Vec<Vec<Cause>> = limits.any_of.iter().map(of).collect();
        if tried.iter().all(|causes| !causes.is_empty()) {
            refuse("must validate at least one schema (anyOf)");
            further.extend(tried.into_iter().min_by_key(Vec::len).unwrap_or_default());
        }
    }
    if !limits.one_of.is_empty() {
        let tried: Vec<Vec<Cause>> = limits.one_of.iter().map(of).collect();
        match tried.iter().filter(|causes| causes.is_empty()).count() {
            1 => {}
            0 => {
                refuse("must validate one and only one schema (oneOf). Found none valid");
                further.extend(tried.into_iter().min_by_key(Vec::len).unwrap_or_default());
            }
            count => {
                refuse(&format!("must validate one and only one schema (oneOf). Found {count} valid alternatives"))
            }
        }
    }
    let broken: Vec<Cause> = limits.all_of.iter().flat_map(of).collect();
    if !broken.is_empty() {
        refuse("must validate all the schemas (allOf)");
    }
    causes.extend(further);
    causes.extend(broken);
}

/// Lists whose items are told apart: none may be there twice.
pub(super) fn uniqueness(schema: &Schema, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if let Some(member) = schema.member(name) {
                    let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    uniqueness(member, inner, &below, causes);
                }
            }
        }
        Value::Array(items) => {
            let Some(of_items) = &schema.items else { return };
            let identity = |item: &Value| match schema.list_type {
                ListType::Map => schema.list_keys.iter().map(|key| ((*key).to_owned(), item[*key].clone())).collect(),
                _ => item.clone(),
            };
            let known: Vec<Value> = items.iter().map(identity).collect();
            for (index, item) in items.iter().enumerate() {
                let place = format!("{path}[{index}]");
                if schema.list_type != ListType::Atomic && known[..index].contains(&known[index]) {
                    causes.push(Cause::duplicate(place.clone(), &known[index]));
                }
                uniqueness(of_items, item, &place, causes);
            }
        }
        _ => {}
    }
}
