//! CEL: an expression, and behind a line `---` the JSON that it is asked over. That it ends in time and within memory is
//! held by libFuzzer's own limits.

use expr::{ExprError, Expression, MAX_SOURCE};
use serde_json::{Value, json};

pub(crate) fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (source, object) = text.split_once("\n---\n").unwrap_or((text, "null"));
    let object: Value = serde_json::from_str(object).unwrap_or(Value::Null);
    let checked = Expression::compile_with(source, &["object", "params", "baseline"]);
    let expression = match Expression::compile(source) {
        Ok(expression) => expression,
        Err(error) => {
            points_into(source, &error);
            assert!(checked.is_err(), "compiles with fewer variables: {source}");
            return;
        }
    };
    assert!(source.len() <= MAX_SOURCE && expression.source() == source);
    if let Err(error) = checked {
        points_into(source, &error);
    }
    let variables = [("object", &object), ("params", &json!({"app": "web"}))];
    let answer = expression.evaluate(&variables);
    if let Ok(value) = expression.value(&variables) {
        // Of what is true, no question may say that it does not hold: but the work is bounded by time too.
        let late = matches!(&answer, expr::Evaluation::DoesNotHold(Some(why)) if why.contains("cost limit"));
        // Maps have no order: a list that is made of one may be another the next time.
        let ordered = ["{", "map", "filter"].iter().all(|word| !source.contains(word));
        if ordered {
            assert!(late || answer.holds() == (value == json!(true)), "{source}: {value}, {answer:?}");
        }
    }
}

fn points_into(source: &str, error: &ExprError) {
    assert!(source.get(error.range.clone()).is_some(), "{:?} is not a part of {source:?}", error.range);
    assert!(!error.message.is_empty());
}
