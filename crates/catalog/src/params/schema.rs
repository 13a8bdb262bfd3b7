//! The subset of JSON Schema: types, properties, items, default, enum, bounds, lengths, pattern.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;
use yaml::{At, Fields};

/// The types, by their names.
const TYPES: &[(&str, Type)] = &[
    ("object", Type::Object),
    ("string", Type::String),
    ("integer", Type::Integer),
    ("number", Type::Number),
    ("boolean", Type::Boolean),
    ("array", Type::Array),
];

const KEYWORDS: &[&str] = &[
    "type",
    "title",
    "description",
    "default",
    "from_seed",
    "enum",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Object,
    String,
    Integer,
    Number,
    Boolean,
    Array,
}

/// One schema.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    kind: Option<Type>,
    pub(crate) default: Option<Value>,
    /// What the seed of a case chooses from, instead of the default.
    pub(crate) from_seed: Vec<Value>,
    choices: Option<Vec<Value>>,
    properties: BTreeMap<String, Schema>,
    required: Vec<String>,
    closed: bool,
    items: Option<Box<Schema>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    length: (Option<u64>, Option<u64>),
    count: (Option<u64>, Option<u64>),
    pattern: Option<Regex>,
}

impl Schema {
    pub(crate) fn read(at: &At<'_>) -> Option<Self> {
        let fields = at.fields("JSON Schema", KEYWORDS)?;
        let kind = fields.maybe("type", |at| at.one_of(TYPES));
        let choices = fields.maybe("enum", |at| {
            at.nonempty_list("the possible values")?;
            at.each(At::json)
        });
        let properties = fields.or("properties", BTreeMap::new(), |at| properties(&at));
        let required = fields.list("required", At::text);
        let closed = fields.or("additionalProperties", true, |at| at.bool());
        let items = fields.maybe("items", |at| Self::read(&at).map(Box::new));
        let bound = |key| fields.maybe(key, |at| at.number(f64::MIN, f64::MAX));
        let (minimum, maximum) = (bound("minimum"), bound("maximum"));
        let size = |key| fields.maybe(key, |at| at.unsigned(0, u64::MAX));
        let (min_length, max_length) = (size("minLength"), size("maxLength"));
        let (min_items, max_items) = (size("minItems"), size("maxItems"));
        let pattern = fields.maybe("pattern", |at| pattern(&at));
        for key in ["title", "description"] {
            fields.maybe(key, |at| at.text())?;
        }
        let mut schema = Self {
            kind: kind?,
            default: None,
            from_seed: Vec::new(),
            choices: choices?,
            properties: properties?,
            required: required?,
            closed: !closed?,
            items: items?,
            minimum: minimum?,
            maximum: maximum?,
            length: (min_length?, max_length?),
            count: (min_items?, max_items?),
            pattern: pattern?,
        };
        schema.check_required(&fields)?;
        schema.default = fields.maybe("default", |at| {
            let value = at.json()?;
            match schema.check(&value) {
                Ok(()) => Some(value),
                Err(message) => at.error(format!("the default does not fit its own schema: {message}")),
            }
        })?;
        schema.from_seed = fields.list("from_seed", |at| {
            let value = at.json()?;
            match schema.check(&value) {
                Ok(()) => Some(value),
                Err(message) => at.error(format!("this value does not fit its own schema: {message}")),
            }
        })?;
        Some(schema)
    }

    fn check_required(&self, fields: &Fields<'_>) -> Option<()> {
        let unknown = self.required.iter().find(|name| !self.properties.contains_key(*name));
        match (unknown, fields.optional("required")) {
            (Some(name), Some(at)) => at.error(format!("`{name}` is required, but there is no such property")),
            _ => Some(()),
        }
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self.kind, None | Some(Type::Object)) && self.choices.is_none()
    }

    pub(crate) fn takes_text(&self) -> bool {
        self.kind == Some(Type::String)
    }

    pub(crate) fn properties(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.properties.iter().map(|(name, schema)| (name.as_str(), schema))
    }

    /// Whether a value fits; why not, in one sentence.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        if let Some(kind) = self.kind.filter(|kind| !kind.is(value)) {
            return Err(format!("expected {}, found {}", kind.in_words(), shown(value)));
        }
        if let Some(choices) = self.choices.as_ref().filter(|choices| !choices.contains(value)) {
            let all: Vec<String> = choices.iter().map(shown).collect();
            return Err(format!("{} is none of {}", shown(value), all.join(", ")));
        }
        match value {
            Value::Number(number) => self.check_number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => self.check_text(text),
            Value::Array(items) => self.check_items(items),
            Value::Object(map) => self.check_properties(map),
            _ => Ok(()),
        }
    }

    fn check_number(&self, number: f64) -> Result<(), String> {
        if let Some(minimum) = self.minimum.filter(|minimum| number < *minimum) {
            return Err(format!("{number} is below the minimum {minimum}"));
        }
        if let Some(maximum) = self.maximum.filter(|maximum| number > *maximum) {
            return Err(format!("{number} is above the maximum {maximum}"));
        }
        Ok(())
    }

    fn check_text(&self, text: &str) -> Result<(), String> {
        within(text.chars().count(), self.length, "characters")?;
        match &self.pattern {
            Some(pattern) if !pattern.is_match(text) => Err(format!("`{text}` does not match `{}`", pattern.as_str())),
            _ => Ok(()),
        }
    }

    fn check_items(&self, items: &[Value]) -> Result<(), String> {
        within(items.len(), self.count, "items")?;
        let Some(schema) = &self.items else { return Ok(()) };
        items.iter().enumerate().try_for_each(|(i, item)| schema.check(item).map_err(|e| format!("item {i}: {e}")))
    }

    fn check_properties(&self, map: &serde_json::Map<String, Value>) -> Result<(), String> {
        if let Some(missing) = self.required.iter().find(|name| !map.contains_key(*name)) {
            return Err(format!("`{missing}` is missing"));
        }
        for (name, value) in map {
            match self.properties.get(name) {
                Some(schema) => schema.check(value).map_err(|e| format!("`{name}`: {e}"))?,
                None if self.closed => return Err(format!("there is no property `{name}`")),
                None => {}
            }
        }
        Ok(())
    }
}

impl Type {
    fn is(self, value: &Value) -> bool {
        match self {
            Self::Object => value.is_object(),
            Self::String => value.is_string(),
            // As in JSON Schema: 2.0 is a whole number.
            Self::Integer => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Object => "a mapping",
            Self::String => "text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "`true` or `false`",
            Self::Array => "a list",
        }
    }
}

fn properties(at: &At<'_>) -> Option<BTreeMap<String, Schema>> {
    let (mut properties, mut fine) = (BTreeMap::new(), true);
    for (name, key, value) in at.entries()? {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !plain {
            fine = false;
            key.error_with_help::<()>(
                format!("`{name}` is not the name of a parameter"),
                "names are letters, digits, `_` and `-`",
            );
        }
        match Schema::read(&value) {
            Some(schema) => {
                properties.insert(name.to_owned(), schema);
            }
            None => fine = false,
        }
    }
    fine.then_some(properties)
}

fn pattern(at: &At<'_>) -> Option<Regex> {
    let text = at.text()?;
    match regex::RegexBuilder::new(&text).size_limit(1 << 20).build() {
        Ok(pattern) => Some(pattern),
        Err(regex::Error::CompiledTooBig(_)) => at.error("this pattern is too large"),
        Err(error) => {
            let message = error.to_string();
            let last = message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            at.error(format!("this is not a regular expression: {last}"))
        }
    }
}

fn within(size: usize, (least, most): (Option<u64>, Option<u64>), what: &str) -> Result<(), String> {
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    match (least, most) {
        (Some(least), _) if size < least => Err(format!("it has {size} {what}, at least {least} are needed")),
        (_, Some(most)) if size > most => Err(format!("it has {size} {what}, at most {most} are possible")),
        _ => Ok(()),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("`{short}…`") } else { format!("`{text}`") }
}
