//! Parameters of a failure: a subset of JSON Schema (2020-12, validation vocabulary) for what they may be, with defaults.
//! A keyword that is not understood is an error, never ignored.

mod schema;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use yaml::{At, did_you_mean};

use schema::Schema;

/// What is wrong with a parameter that somebody gave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{name}`: {message}")]
pub struct ParamProblem {
    /// The parameter.
    pub name: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

/// The JSON Schema of a failure's parameters.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Value", into = "Value")]
#[schemars(with = "Map<String, Value>")]
pub struct ParamsSchema {
    written: Value,
    schema: Schema,
}

impl PartialEq for ParamsSchema {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// No parameters.
impl Default for ParamsSchema {
    fn default() -> Self {
        Self { written: json!({"type": "object"}), schema: Schema::default() }
    }
}

impl TryFrom<Value> for ParamsSchema {
    type Error = String;

    fn try_from(written: Value) -> Result<Self, String> {
        let source = yaml::Source::new("params", written.to_string());
        yaml::read(&source, |at| Self::read(&at)).map_err(|errors| errors.to_string())
    }
}

impl From<ParamsSchema> for Value {
    fn from(params: ParamsSchema) -> Self {
        params.written
    }
}

impl ParamsSchema {
    /// Reads the schema out of a document, every error at its place.
    pub(crate) fn read(at: &At<'_>) -> Option<Self> {
        let schema = Schema::read(at)?;
        if !schema.is_object() {
            return at.error_with_help("the parameters of a failure are an object", "write `type: object`");
        }
        let mut fine = true;
        for (name, property) in schema.properties() {
            if property.default.is_none() {
                fine = false;
                let place = at
                    .entries()
                    .and_then(|all| all.into_iter().find(|(key, ..)| *key == "properties"))
                    .and_then(|(_, _, properties)| properties.entries())
                    .and_then(|all| all.into_iter().find(|(key, ..)| *key == name))
                    .map_or_else(|| at.clone(), |(_, key, _)| key);
                place.error_with_help::<()>(
                    format!("parameter `{name}` needs a default"),
                    "add `default: …`, so that the failure runs without being told anything",
                );
            }
        }
        fine.then(|| Self { written: at.node().to_json(), schema })
    }

    /// Whether there is a parameter of this name.
    pub fn has(&self, name: &str) -> bool {
        self.schema.properties().any(|(key, _)| key == name)
    }

    /// The names of all parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.schema.properties().map(|(name, _)| name)
    }

    /// The parameters that a seed chooses, with what it chooses from.
    pub fn choices(&self) -> impl Iterator<Item = (&str, &[Value])> {
        let all = self.schema.properties().map(|(name, property)| (name, property.from_seed.as_slice()));
        all.filter(|(_, choices)| !choices.is_empty())
    }

    /// The schema as it is written.
    pub fn as_json(&self) -> &Value {
        &self.written
    }

    /// Reads the text of a parameter as its type asks: `3` is a number where one is wanted, and text elsewhere.
    pub fn from_text(&self, name: &str, text: &str) -> Value {
        let wants_text = self.schema.properties().any(|(key, property)| key == name && property.takes_text());
        if wants_text {
            return Value::String(text.to_owned());
        }
        serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
    }

    /// What is given, and for the parameters with a `from_seed` that are not given, the choice of the seed: so that names
    /// differ from case to case and no answer can be learned by heart. No two of them get the same value as long as
    /// there are others left.
    pub fn seeded(&self, given: &BTreeMap<String, Value>, seed: u64) -> BTreeMap<String, Value> {
        let mut values = given.clone();
        for (name, property) in self.schema.properties() {
            if values.contains_key(name) || property.from_seed.is_empty() {
                continue;
            }
            let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name.as_bytes()).finalize();
            let number = digest.iter().take(4).fold(0_usize, |number, byte| (number << 8) | usize::from(*byte));
            let choices = &property.from_seed;
            let first = number % choices.len();
            let in_turn = || choices[first..].iter().chain(&choices[..first]);
            let free = in_turn().find(|choice| !values.values().any(|taken| taken == *choice));
            if let Some(value) = free.or_else(|| in_turn().next()) {
                values.insert(name.to_owned(), value.clone());
            }
        }
        values
    }

    /// The values of all parameters: those given, checked, and the defaults of the others.
    ///
    /// # Errors
    /// Everything that is wrong with what was given.
    pub fn values(&self, given: &BTreeMap<String, Value>) -> Result<Value, Vec<ParamProblem>> {
        let mut problems = Vec::new();
        for name in given.keys().filter(|name| !self.has(name)) {
            let message = match did_you_mean(name, "there are", self.names()) {
                Some(help) => format!("there is no such parameter; {help}"),
                None => "this failure has no parameters".to_owned(),
            };
            problems.push(ParamProblem { name: name.clone(), message });
        }
        let mut values = Map::new();
        for (name, property) in self.schema.properties() {
            let value = given.get(name).or(property.default.as_ref());
            let Some(value) = value else { continue };
            match property.check(value) {
                Ok(()) => {
                    values.insert(name.to_owned(), value.clone());
                }
                Err(message) => problems.push(ParamProblem { name: name.to_owned(), message }),
            }
        }
        if problems.is_empty() { Ok(Value::Object(values)) } else { Err(problems) }
    }
}
