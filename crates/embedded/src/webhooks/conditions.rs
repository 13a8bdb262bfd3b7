//! Match conditions: expressions in CEL that say of a write whether a webhook or policy is to be asked about it.

use expr::Expression;
use serde_json::Value;

use crate::error::Cause;
use crate::object;

/// What expressions may speak of here.
pub(crate) const VARIABLES: [&str; 3] = ["object", "oldObject", "request"];

/// Compiles an expression about a write.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn compile(text: &str, more: &[&str]) -> Result<Expression, String> {
    let names: Vec<&str> = VARIABLES.iter().chain(more).copied().collect();
    Expression::compile_with(text.trim(), &names).map_err(|error| format!("compilation failed: {error}"))
}

/// Whether all conditions hold.
///
/// # Errors
/// One that cannot be answered, when no other says no.
pub(crate) fn hold(conditions: &[Value], request: &Value) -> Result<bool, String> {
    let mut problem = None;
    for condition in conditions {
        let text = object::text(condition, &["expression"]);
        let variables = [("object", &request["object"]), ("oldObject", &request["oldObject"]), ("request", request)];
        let answer = compile(text, &[]).and_then(|expression| {
            expression.value(&variables).map_err(|error| format!("expression '{text}' resulted in error: {error}"))
        });
        match answer {
            Ok(Value::Bool(true)) => {}
            Ok(_) => return Ok(false),
            Err(why) => problem = problem.or(Some(why)),
        }
    }
    problem.map_or(Ok(true), Err)
}

/// What is wrong with the conditions of a configuration.
pub(crate) fn check(configuration: &Value, causes: &mut Vec<Cause>) {
    for (index, webhook) in object::list(configuration, &["webhooks"]).iter().enumerate() {
        for (number, condition) in object::list(webhook, &["matchConditions"]).iter().enumerate() {
            let place = format!("webhooks[{index}].matchConditions[{number}]");
            let text = object::text(condition, &["expression"]);
            if object::text(condition, &["name"]).is_empty() {
                causes.push(Cause::required(format!("{place}.name"), ""));
            }
            if text.trim().is_empty() {
                causes.push(Cause::required(format!("{place}.expression"), ""));
            } else if let Err(why) = compile(text, &[]) {
                causes.push(Cause::invalid(format!("{place}.expression"), &condition["expression"], &why));
            }
        }
    }
}
