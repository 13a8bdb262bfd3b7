//! Rules in CEL (`x-kubernetes-validations`): compiled when a definition is served, asked of each value that is written.

use expr::Expression;
use serde_json::Value;

use super::schema::{ListType, Schema};
use crate::error::Cause;
use crate::object;

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// None: it cannot be compiled, and definitions with it are refused.
    expression: Option<Expression>,
    text: String,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
    field: String,
    /// It compares with what was there before.
    pub(super) is_transition: bool,
}

const VARIABLES: [&str; 2] = ["self", "oldSelf"];

/// Compiles an expression over an object.
///
/// # Errors
/// What is wrong with it.
pub(super) fn compile(text: &str) -> Result<Expression, String> {
    Expression::compile_with(text.trim(), &VARIABLES).map_err(|error| match error.help {
        Some(help) => format!("{} ({help})", error.message),
        None => error.message,
    })
}

impl Rule {
    pub(super) fn read(rule: &Value) -> Self {
        let text = |key: &str| object::text(rule, &[key]).trim().to_owned();
        let own = text("rule");
        Self {
            expression: compile(&own).ok(),
            is_transition: own.contains("oldSelf"),
            text: own,
            message: text("message"),
            message_expression: compile(&text("messageExpression")).ok(),
            reason: text("reason"),
            field: text("fieldPath"),
        }
    }

    /// How the rule is called where it says nothing else.
    fn name(&self) -> &str {
        if self.message.is_empty() { &self.text } else { &self.message }
    }

    fn refusal(&self, path: &str, variables: &[(&str, &Value)]) -> Cause {
        let told = self.message_expression.as_ref().and_then(|expression| expression.value(variables).ok());
        let told = told.as_ref().and_then(Value::as_str).map(str::trim).filter(|text| is_message(text));
        let detail = match told {
            Some(text) => text.to_owned(),
            None if self.message.is_empty() => format!("failed rule: {}", self.text),
            None => self.message.clone(),
        };
        let path = match self.field.strip_prefix('.').unwrap_or(&self.field) {
            "" => path.to_owned(),
            field if path == ROOT => field.to_owned(),
            field => format!("{path}.{field}"),
        };
        match self.reason.as_str() {
            "FieldValueForbidden" => Cause::forbidden(path, &detail),
            "FieldValueRequired" => Cause::required(path, &detail),
            "FieldValueDuplicate" => cause("FieldValueDuplicate", "Duplicate value", path, ""),
            _ => invalid(path, &detail),
        }
    }
}

/// The field of what is wrong with the object as a whole.
pub(super) const ROOT: &str = "<nil>";

fn cause(reason: &'static str, what: &str, field: String, detail: &str) -> Cause {
    let message = if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") };
    Cause { reason, message, field }
}

/// The server leaves the value out where a rule is broken.
fn invalid(path: String, detail: &str) -> Cause {
    cause("FieldValueInvalid", "Invalid value", path, detail)
}

fn is_message(text: &str) -> bool {
    !text.is_empty() && !text.contains('\n') && text.len() <= 5 * 1024
}

/// All rules that a value breaks, here and below.
pub(super) fn check(schema: &Schema, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    if value.is_null() || !schema.has_rules() {
        return;
    }
    own(schema, value, old, path, causes);
    for part in &schema.limits.all_of {
        // What stands under allOf has the names of the schema that it belongs to.
        check(part, value, old, path, causes);
    }
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if let Some(member) = schema.member(name) {
                    let before = old.and_then(|old| old.get(name)).filter(|_| !schema.atomic_map);
                    check(member, inner, before, &below(schema, path, name), causes);
                }
            }
        }
        Value::Array(items) => {
            let Some(of_items) = &schema.items else { return };
            for (index, item) in items.iter().enumerate() {
                check(of_items, item, counterpart(schema, item, old), &format!("{path}[{index}]"), causes);
            }
        }
        _ => {}
    }
}

/// `spec.size`; keys of a map stand in brackets.
fn below(schema: &Schema, path: &str, name: &str) -> String {
    match (schema.properties.contains_key(name), path) {
        (true, ROOT) => name.to_owned(),
        (true, path) => format!("{path}.{name}"),
        (false, path) => format!("{path}[{name}]"),
    }
}

/// The item that stood for the same thing before: only lists with keys tell.
pub(super) fn counterpart<'a>(schema: &Schema, item: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
    if schema.list_type != ListType::Map {
        return None;
    }
    let key = |item: &Value| -> Vec<Value> { schema.list_keys.iter().map(|key| item[*key].clone()).collect() };
    old?.as_array()?.iter().find(|before| key(before) == key(item))
}

fn own(schema: &Schema, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    let this = named(schema, value);
    let before = old.filter(|old| !old.is_null()).map(|old| named(schema, old));
    for rule in &schema.rules {
        let Some(expression) = &rule.expression else { continue };
        if rule.is_transition && before.is_none() {
            continue;
        }
        let mut variables = vec![("self", &this)];
        variables.extend(before.as_ref().map(|before| ("oldSelf", before)));
        // What was broken before and has not changed since may stay.
        let unchanged = !rule.is_transition && old == Some(value);
        match expression.value(&variables) {
            Ok(Value::Bool(true)) => {}
            Ok(_) if unchanged => {}
            Ok(_) => causes.push(rule.refusal(path, &variables)),
            Err(error) => {
                let why = format!("{} evaluating rule: {}", in_their_words(&error.message), rule.name());
                causes.push(invalid(path.to_owned(), &why));
            }
        }
    }
}

/// A member that is not there is `no such key` to users of Kubernetes.
fn in_their_words(reason: &str) -> String {
    match reason.strip_prefix("there is no `").and_then(|rest| rest.split_once('`')) {
        Some((key, _)) => format!("no such key: {key}"),
        None => reason.to_owned(),
    }
}

/// The names of CEL itself, which a member cannot have.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// How a rule calls a member: what CEL cannot write is escaped.
fn escaped(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

/// The value with the names that rules use.
fn named(schema: &Schema, value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(name, inner)| match (schema.properties.get(name), schema.additional_schema()) {
                (Some(member), _) => (escaped(name), named(member, inner)),
                (None, Some(member)) => (name.clone(), named(member, inner)),
                (None, None) => (name.clone(), inner.clone()),
            })
            .collect(),
        Value::Array(items) => match &schema.items {
            Some(of_items) => items.iter().map(|item| named(of_items, item)).collect(),
            None => value.clone(),
        },
        other => other.clone(),
    }
}
