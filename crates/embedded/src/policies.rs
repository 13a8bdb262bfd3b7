//! Admission policies that validate (`ValidatingAdmissionPolicy`): expressions in CEL that a write must satisfy where a binding
//! says so. Parameters (`paramKind`) are not offered, and neither are audit annotations.

use serde_json::{Map, Value, json};
use simulation::{Resource, resources};

use crate::error::{ApiError, Cause};
use crate::object;
use crate::state::State;
use crate::webhooks::{Attempt, Operation, conditions, request_of, selects};

const fn resource(plural: &'static str, kind: &'static str) -> Resource {
    Resource { group: "admissionregistration.k8s.io", version: "v1", plural, kind, namespaced: false }
}

const POLICIES: Resource = resource("validatingadmissionpolicies", "ValidatingAdmissionPolicy");
const BINDINGS: Resource = resource("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding");

/// Refuses what a bound policy refuses.
pub(crate) fn check(state: &mut State, attempt: &Attempt<'_>, new: Option<&Value>) -> Result<(), ApiError> {
    let bindings = state.store.list(&BINDINGS, None);
    let own = attempt.info.resource.group == POLICIES.group;
    if bindings.is_empty() || own || state.webhooks.client.is_none() && attempt.operation != Operation::Create {
        return Ok(());
    }
    let space = new.or(attempt.old).map(object::namespace).unwrap_or_default().to_owned();
    let namespace = state.store.get(&resources::NAMESPACES, "", &space).cloned();
    let request = request_of(state, attempt, new, "");
    for binding in bindings {
        let name = object::text(&binding, &["spec", "policyName"]);
        let Some(policy) = state.store.get(&POLICIES, "", name).cloned() else { continue };
        let meant = [&policy["spec"]["matchConstraints"], &binding["spec"]["matchResources"]];
        if !meant.into_iter().all(|meant| is_meant(meant, attempt, namespace.as_deref(), new)) {
            continue;
        }
        if let Err(problem) = evaluate(&policy["spec"], &request, namespace.as_deref()) {
            report(state, attempt, new, (&policy, &binding), problem)?;
        }
    }
    Ok(())
}

/// A policy's rules are called otherwise than a webhook's, and mean the same.
fn is_meant(meant: &Value, attempt: &Attempt<'_>, namespace: Option<&Value>, new: Option<&Value>) -> bool {
    if meant.is_null() {
        return true;
    }
    let as_webhook = |key: &str| {
        json!({
            "rules": meant[key], "namespaceSelector": meant["namespaceSelector"],
            "objectSelector": meant["objectSelector"],
        })
    };
    let rules = !meant["resourceRules"].is_null();
    (!rules || selects(&as_webhook("resourceRules"), attempt, namespace, new))
        && !selects(&as_webhook("excludeResourceRules"), attempt, namespace, new)
}

/// Why a policy does not let a write pass.
struct Problem {
    message: String,
    reason: String,
    /// It could not be asked: its failure policy decides.
    is_error: bool,
}

fn evaluate(spec: &Value, request: &Value, namespace: Option<&Value>) -> Result<(), Problem> {
    let fail = |message: String| Problem { message, reason: String::new(), is_error: true };
    if !spec["paramKind"].is_null() {
        return Err(fail("policies with parameters are not evaluated by this cluster".to_owned()));
    }
    if !conditions::hold(object::list(spec, &["matchConditions"]), request).map_err(&fail)? {
        return Ok(());
    }
    let null = Value::Null;
    let mut variables = Value::Object(Map::new());
    let value = |text: &str, known: &Value| -> Result<Value, String> {
        let expression = conditions::compile(text, &["variables", "namespaceObject"])?;
        let names = [
            ("object", &request["object"]),
            ("oldObject", &request["oldObject"]),
            ("request", request),
            ("variables", known),
            ("namespaceObject", namespace.unwrap_or(&null)),
        ];
        expression.value(&names).map_err(|error| format!("expression '{text}' resulted in error: {error}"))
    };
    for variable in object::list(spec, &["variables"]) {
        // One that cannot be told is missed only by those who ask for it.
        if let Ok(known) = value(object::text(variable, &["expression"]), &variables) {
            variables[object::text(variable, &["name"])] = known;
        }
    }
    for validation in object::list(spec, &["validations"]) {
        let text = object::text(validation, &["expression"]).trim();
        match value(text, &variables) {
            Ok(Value::Bool(true)) => {}
            Ok(_) => {
                let told = object::text(validation, &["messageExpression"]);
                let told = Some(told).filter(|text| !text.is_empty()).and_then(|text| value(text, &variables).ok());
                let message = match (told.as_ref().and_then(Value::as_str), object::text(validation, &["message"])) {
                    (Some(told), _) => told.to_owned(),
                    (None, "") => format!("failed expression: {text}"),
                    (None, message) => message.trim().to_owned(),
                };
                let reason = object::text(validation, &["reason"]).to_owned();
                return Err(Problem { message, reason, is_error: false });
            }
            Err(why) => return Err(fail(why)),
        }
    }
    Ok(())
}

fn report(
    state: &mut State,
    attempt: &Attempt<'_>,
    new: Option<&Value>,
    (policy, binding): (&Value, &Value),
    problem: Problem,
) -> Result<(), ApiError> {
    if problem.is_error && policy["spec"]["failurePolicy"] == "Ignore" {
        return Ok(());
    }
    let names =
        format!("ValidatingAdmissionPolicy '{}' with binding '{}'", object::name(policy), object::name(binding));
    let actions = object::list(binding, &["spec", "validationActions"]);
    if actions.iter().any(|action| action == "Warn") {
        state.warn(format!("Validation failed for {names}: {}", problem.message));
    }
    if !actions.iter().any(|action| action == "Deny") && !problem.is_error {
        return Ok(());
    }
    let name = new.or(attempt.old).map(object::name).unwrap_or_default();
    let why = format!("{names} denied request: {}", problem.message);
    let mut error = ApiError::forbidden(attempt.info, name, &why);
    (error.code, error.reason) = match problem.reason.as_str() {
        "Unauthorized" => (401, "Unauthorized"),
        "Forbidden" => (403, "Forbidden"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    if let Some(details) = &mut error.details {
        details["causes"] = json!([{"message": why}]);
    }
    Err(error)
}

/// What is wrong with a policy.
pub(crate) fn check_policy(policy: &Value, causes: &mut Vec<Cause>) {
    let spec = &policy["spec"];
    if object::list(spec, &["validations"]).is_empty() && object::list(spec, &["auditAnnotations"]).is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        causes.push(Cause::required("spec.validations", why));
    }
    if spec["matchConstraints"].is_null() {
        causes.push(Cause::required("spec.matchConstraints", ""));
    }
    for key in ["matchConditions", "variables", "validations"] {
        for (index, part) in object::list(spec, &[key]).iter().enumerate() {
            let field = format!("spec.{key}[{index}].expression");
            let text = object::text(part, &["expression"]);
            if text.trim().is_empty() {
                causes.push(Cause::required(field, "expression is not specified"));
            } else if let Err(why) = conditions::compile(text, &["variables", "namespaceObject", "params"]) {
                causes.push(Cause::invalid(field, &part["expression"], &why));
            }
        }
    }
}
