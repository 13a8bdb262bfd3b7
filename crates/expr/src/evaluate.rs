//! Runs a compiled expression over JSON objects.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt};
use cel::common::value::Val;
use cel::{Context, Env, ExecutionError, Value};

use crate::analysis::Uses;
use crate::budget::{Budget, GROWN, RANGE};
use crate::{Expression, quantity};

/// Reasons are shown to people; the library prints whole values into some.
const MAX_REASON: usize = 200;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// The value, or why there is none, in words.
pub(crate) fn run(expression: &Expression, variables: &[(&str, &serde_json::Value)]) -> Result<Value, String> {
    // The library is young: an oversight in it must cost one answer, not the process.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut context = Context::with_env(ENV.clone());
        for (name, value) in variables {
            if let Some(uses) = expression.uses.get(*name) {
                context.add_variable_as_val(*name, seen(value, uses));
            }
        }
        add_functions(&mut context)?;
        Value::resolve(&expression.root, &context)
    }));
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(in_words(&error)),
        Err(_) => Err("the expression could not be evaluated".to_owned()),
    }
}

fn add_functions(context: &mut Context<'_, '_>) -> Result<(), ExecutionError> {
    let budget = Arc::new(Budget::new());
    let declared = |error: cel::DeclarationError| ExecutionError::InternalError(error.to_string());
    let grown = budget.clone();
    let range = move |value: Value| budget.range(&value).map(|()| value);
    context.add_function(RANGE, range).map_err(declared)?;
    context.add_function(GROWN, move |value: Value| grown.grown(&value).map(|()| value)).map_err(declared)?;
    context.add_function("quantity", quantity::function).map_err(declared)
}

/// What an expression can see of a value: objects are large, and most expressions look at one or two of their fields.
fn seen<'v>(value: &'v serde_json::Value, uses: &Uses) -> Box<dyn Val + 'v> {
    match value {
        serde_json::Value::Object(map) if !uses.whole => {
            let found = uses.fields.iter().filter_map(|(field, uses)| Some((map.get_key_value(field)?, uses)));
            let entry = |((key, value), uses): ((&'v String, &'v serde_json::Value), &Uses)| {
                (CelMapKey::from(key.as_str()), seen(value, uses))
            };
            Box::new(CelMap::from(found.map(entry).collect::<HashMap<_, _>>()))
        }
        other => from_json(other),
    }
}

/// Whole numbers become `int`, so that they compare and add as people expect; all others `double`. Text is borrowed.
fn from_json<'v>(value: &'v serde_json::Value) -> Box<dyn Val + 'v> {
    match value {
        serde_json::Value::Null => Box::new(CelNull),
        serde_json::Value::Bool(value) => Box::new(CelBool::from(*value)),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Box::new(CelInt::from(int)),
            (None, Some(uint)) => Box::new(CelUInt::from(uint)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        serde_json::Value::String(text) => Box::new(CelString::from(text.as_str())),
        serde_json::Value::Array(items) => Box::new(CelList::from(items.iter().map(from_json).collect::<Vec<_>>())),
        serde_json::Value::Object(map) => {
            let entry =
                |(key, value): (&'v String, &'v serde_json::Value)| (CelMapKey::from(key.as_str()), from_json(value));
            Box::new(CelMap::from(map.iter().map(entry).collect::<HashMap<_, _>>()))
        }
    }
}

fn in_words(error: &ExecutionError) -> String {
    let text = match error {
        ExecutionError::NoSuchKey(key) => format!("there is no `{key}` (yet)"),
        ExecutionError::IndexOutOfBounds(index) => format!("there is no item {} (yet)", short(index)),
        ExecutionError::UndeclaredReference(name) => format!("unknown name `{name}`"),
        ExecutionError::InternalError(message) => message.clone(),
        ExecutionError::FunctionError { function, message } => format!("{function}(): {message}"),
        ExecutionError::ValuesNotComparable(a, b) => format!("{} cannot be compared with {}", kind(a), kind(b)),
        other => other.to_string(),
    };
    let mut cut: String = text.chars().take(MAX_REASON).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

fn short(value: &Value) -> String {
    match value {
        Value::Int(int) => int.to_string(),
        Value::UInt(uint) => uint.to_string(),
        other => kind(other).to_owned(),
    }
}

/// The kind of a value, with an article.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Int(_) | Value::UInt(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::String(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "a truth value",
        Value::Null => "null",
        _ => "a value of another kind",
    }
}
