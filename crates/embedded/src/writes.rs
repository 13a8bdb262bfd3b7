//! Clients' writes: POST, PUT, PATCH, DELETE on objects, and deletions of collections.

use std::sync::Arc;

use http::Response;
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::delete::{DeleteHow, Deleted};
use crate::error::{ApiError, Cause};
use crate::listing::Selection;
use crate::object;
use crate::patch::Kind;
use crate::registry::Info;
use crate::request::{Call, options_invalid};
use crate::respond::{self, Answer};
use crate::server::object_answer;
use crate::state::State;
use crate::webhooks::{self, Attempt, Operation};
use crate::write::Write;
use crate::{apply, patch, typed, versions};

/// The body as an object of the resource, and warnings.
pub(crate) fn read_body(info: &Info, call: &Call, options: &str) -> Result<(Value, Vec<String>), ApiError> {
    let validation = call.validation(options)?;
    let kind = info.resource.kind;
    let parsed = wire::decode_noting(&call.content_type, &call.body).map_err(|error| match error {
        wire::WireError::MediaType(_) | wire::WireError::Undecodable(_) => ApiError::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        ),
        wire::WireError::TooLarge => ApiError::new(413, "RequestEntityTooLarge", error.to_string()),
        wire::WireError::Malformed(_) | wire::WireError::TooDeep => {
            let text = String::from_utf8_lossy(&call.body);
            let shown = match text.char_indices().nth(30) {
                _ if text.is_empty() => "<empty>".to_owned(),
                Some((end, _)) => format!("{} ...", &text[..end]),
                None => text.clone().into_owned(),
            };
            let why = match serde_json::from_slice::<Value>(&call.body) {
                Err(error) => typed::json_error(&call.body, &error),
                Ok(_) => error.to_string(),
            };
            ApiError::bad_request(format!(
                "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why} ({shown})"
            ))
        }
    })?;
    typed::of_request(info, parsed.value, parsed.duplicates, validation, &call.body)
}

/// How this request writes.
pub(crate) fn write_of(call: &Call, options: &str, subresource: &'static str) -> Result<Write, ApiError> {
    Ok(Write { manager: call.manager(), dry_run: call.dry_run(options)?, subresource, managed: false })
}

/// The namespace in the body must be that of the path.
pub(crate) fn check_namespace(info: &Info, call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let wanted = call.target.namespace.as_deref().unwrap_or_default();
    let given = object::namespace(object);
    if info.resource.namespaced && !given.is_empty() && given != wanted {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if info.resource.namespaced {
        object::metadata(object).insert("namespace".into(), json!(wanted));
    } else {
        object::metadata(object).remove("namespace");
    }
    Ok(())
}

/// POST of an object.
pub(crate) fn create(state: &mut State, info: &Arc<Info>, call: &Call) -> Result<Response<Body>, ApiError> {
    if info.resource.namespaced && call.target.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let how = write_of(call, "CreateOptions", "")?;
    let (mut object, mut warnings) = read_body(info, call, "CreateOptions")?;
    check_namespace(info, call, &mut object)?;
    warnings.extend(annotations_without_effect(info, &object));
    let stored = state.registry.stored(info);
    let object = versions::to_stored(info, &stored, object);
    let namespace = call.target.namespace.clone().unwrap_or_default();
    check_served(state, info)?;
    let created = state.create_object(&stored, &namespace, object, &how)?;
    warnings.extend(state.take_warnings());
    Ok(object_answer(state, info, call, 201, &created, warnings))
}

/// Nothing new comes where the definition is on its way out.
pub(crate) fn check_served(state: &mut State, info: &Info) -> Result<(), ApiError> {
    if state.is_terminating(info) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::new(405, "MethodNotAllowed", why).with_details(json!({})));
    }
    if let Some(warning) = info.definition.as_ref().and_then(|definition| definition.warning.clone()) {
        state.warn(warning);
    }
    Ok(())
}

fn annotations_without_effect(info: &Info, object: &Value) -> Vec<String> {
    let annotations = object::at(object, &["metadata", "annotations"]);
    if info.resource.plural != "pods" {
        return Vec::new();
    }
    let key = "seccomp.security.alpha.kubernetes.io/pod";
    annotations
        .get(key)
        .map(|_| {
            format!("metadata.annotations[{key}]: non-functional in v1.27+; use the \"seccompProfile\" field instead")
        })
        .into_iter()
        .collect()
}

/// PUT of an object or one of its parts.
pub(crate) fn update(
    state: &mut State,
    info: &Arc<Info>,
    call: &Call,
    name: &str,
    subresource: &'static str,
) -> Result<Response<Body>, ApiError> {
    let how = write_of(call, "UpdateOptions", subresource)?;
    let (mut object, mut warnings) = read_body(info, call, "UpdateOptions")?;
    check_namespace(info, call, &mut object)?;
    let given = object::name(&object);
    if given != name {
        let why = if given.is_empty() {
            "name must be provided".to_owned()
        } else {
            format!("the name of the object ({given}) does not match the name on the URL ({name})")
        };
        return Err(if given.is_empty() {
            ApiError::invalid(info, "", &[Cause::required("metadata.name", &why)])
        } else {
            ApiError::bad_request(why)
        });
    }
    let stored = state.registry.stored(info);
    let object = versions::to_stored(info, &stored, object);
    let written = state.replace_object(&stored, object, &how)?;
    warnings.extend(state.take_warnings());
    Ok(object_answer(state, info, call, 200, &written, warnings))
}

/// PATCH of an object or one of its parts.
pub(crate) fn patch(
    state: &mut State,
    info: &Arc<Info>,
    call: &Call,
    name: &str,
    subresource: &'static str,
) -> Result<Response<Body>, ApiError> {
    let kind = patch::kind(&call.content_type, info.custom)?;
    if kind == Kind::Apply {
        return apply::apply(state, info, call, name, subresource);
    }
    if call.query.flag("force") {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(options_invalid("PatchOptions", cause));
    }
    let how = write_of(call, "PatchOptions", subresource)?;
    let validation = call.validation("PatchOptions")?;
    let parsed = patch::body(call)?;
    let namespace = call.target.namespace.clone().unwrap_or_default();
    let stored = state.registry.stored(info);
    let Some(old) = state.store.get(&stored.resource, &namespace, name).cloned() else {
        return Err(ApiError::not_found(info, name));
    };
    let base = versions::to_version(info, &old);
    // A JSON patch is read into no tree of members: the object that it makes is written as a whole.
    let touched = if kind == Kind::Merge { parsed.value.clone() } else { Value::Null };
    let patched = patch::apply(kind, info, &base, parsed.value)?;
    let (mut object, mut warnings) = retyped(info, call, patched, (parsed.duplicates, &touched), validation)?;
    check_patched(info, name, &object)?;
    check_namespace(info, call, &mut object)?;
    let object = versions::to_stored(info, &stored, object);
    let written = state.replace_object(&stored, object, &how)?;
    warnings.extend(state.take_warnings());
    Ok(object_answer(state, info, call, 200, &written, warnings))
}

/// A patched object in its types: what does not fit is 422 here, and quotes the whole object.
fn retyped(
    info: &Info,
    call: &Call,
    patched: Value,
    (duplicates, touched): (Vec<String>, &Value),
    validation: typed::Validation,
) -> Result<(Value, Vec<String>), ApiError> {
    let message = wire::schema::of_kind(&info.resource.api_version(), info.resource.kind).filter(|_| !info.custom);
    let whole = patched.clone();
    typed::of_request(info, patched, duplicates, validation, &call.body).map_err(|error| {
        let shown = typed::as_written(message, &whole, touched);
        let message = error
            .message
            .rsplit_once("cannot be handled as a ")
            .map_or(error.message.as_str(), |(_, rest)| rest.split_once(": ").map_or(rest, |(_, why)| why));
        let cause = Cause::invalid("patch", &Value::String(shown), message);
        let field = cause.field.clone();
        ApiError::new(422, "Invalid", format!(" \"\" is invalid: {field}: {}", cause.message)).with_details(json!({
            "causes": [{"reason": cause.reason, "message": cause.message, "field": field}],
        }))
    })
}

fn check_patched(info: &Info, name: &str, object: &Value) -> Result<(), ApiError> {
    let given = object::name(object);
    if given == name {
        return Ok(());
    }
    let cause = Cause::invalid("metadata.name", &json!(given), "field is immutable");
    Err(ApiError::invalid(info, name, &[cause]))
}

/// `DeleteOptions` from the body or, only when there is none, from the query.
pub(crate) fn delete_options(call: &Call) -> Result<DeleteHow, ApiError> {
    let body = if call.body.is_empty() { options_of_query(call)? } else { body_of(call)? };
    let dry_run: Vec<&Value> = body["dryRun"].as_array().into_iter().flatten().collect();
    if let Some(other) = dry_run.iter().find(|value| **value != "All") {
        return Err(options_invalid("DeleteOptions", Cause::unsupported("dryRun", &json!([other]), &["All"])));
    }
    let dry_run = !dry_run.is_empty();
    let propagation = body["propagationPolicy"].as_str().map(str::to_owned);
    let orphan = body["orphanDependents"].as_bool();
    if let Some(policy) = &propagation {
        const KNOWN: [&str; 4] = ["Foreground", "Background", "Orphan", "nil"];
        if !KNOWN[..3].contains(&policy.as_str()) {
            let cause = Cause::unsupported("propagationPolicy", &json!(policy), &KNOWN);
            return Err(options_invalid("DeleteOptions", cause));
        }
        if orphan.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            return Err(options_invalid("DeleteOptions", Cause::invalid("propagationPolicy", &json!(policy), why)));
        }
    }
    Ok(DeleteHow {
        grace_seconds: body["gracePeriodSeconds"].as_i64(),
        propagation: propagation.or_else(|| (orphan == Some(true)).then(|| "Orphan".to_owned())),
        uid: body["preconditions"]["uid"].as_str().map(str::to_owned),
        resource_version: body["preconditions"]["resourceVersion"].as_str().map(str::to_owned),
        dry_run,
    })
}

fn body_of(call: &Call) -> Result<Value, ApiError> {
    wire::decode(&call.content_type, &call.body)
        .map_err(|error| ApiError::new(error.status(), "BadRequest", error.to_string()))
}

fn options_of_query(call: &Call) -> Result<Value, ApiError> {
    let text = |key: &str| call.query.get(key).filter(|value| !value.is_empty());
    Ok(json!({
        "gracePeriodSeconds": call.query.number("gracePeriodSeconds"),
        "propagationPolicy": text("propagationPolicy"),
        "orphanDependents": text("orphanDependents").map(|value| value == "true"),
        "dryRun": if call.dry_run("DeleteOptions")? { json!(["All"]) } else { json!([]) },
    }))
}

/// Kinds of which the last state is answered even when they are gone at once.
fn answers_object(info: &Info) -> bool {
    matches!(
        (info.resource.group, info.resource.plural),
        (
            "",
            "pods"
                | "services"
                | "persistentvolumeclaims"
                | "persistentvolumes"
                | "serviceaccounts"
                | "resourcequotas"
                | "podtemplates"
        )
    )
}

/// DELETE of an object.
pub(crate) fn delete(state: &mut State, info: &Arc<Info>, call: &Call, name: &str) -> Result<Response<Body>, ApiError> {
    let how = delete_options(call)?;
    let namespace = call.target.namespace.clone().unwrap_or_default();
    let stored = state.registry.stored(info);
    if let Some(old) = state.store.get(&stored.resource, &namespace, name).cloned() {
        let attempt = Attempt {
            info: &stored,
            operation: Operation::Delete,
            subresource: "",
            old: Some(&old),
            dry_run: how.dry_run,
        };
        crate::policies::check(state, &attempt, None)?;
        webhooks::validate(state, &attempt, None)?;
    }
    let deleted = state.delete_object(&stored, &namespace, name, &how)?;
    match &deleted {
        Deleted::Gone(object) if !answers_object(info) => {
            let mut details = Map::new();
            details.insert("name".into(), json!(name));
            if !info.resource.group.is_empty() {
                details.insert("group".into(), json!(info.resource.group));
            }
            details.insert("kind".into(), json!(info.resource.plural));
            details.insert("uid".into(), json!(object::uid(object)));
            Ok(respond::document(Answer::new(200, respond::success(details)), call.accept.yaml))
        }
        _ => Ok(object_answer(state, info, call, 200, deleted.object(), Vec::new())),
    }
}

/// DELETE of what a selection matches.
pub(crate) fn delete_collection(state: &mut State, info: &Arc<Info>, call: &Call) -> Result<Response<Body>, ApiError> {
    if info.resource.namespaced && call.target.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let how = delete_options(call)?;
    let selection = Selection::of(info, call)?;
    let stored = state.registry.stored(info);
    let selected: Vec<Arc<Value>> = state
        .store
        .list(&stored.resource, selection.namespace.as_deref())
        .into_iter()
        .filter(|object| selection.matches(object))
        .collect();
    let metadata = json!({"resourceVersion": state.store.revision().to_string()});
    for object in &selected {
        let namespace = object::namespace(object).to_owned();
        match state.delete_object(&stored, &namespace, object::name(object), &how) {
            Ok(_) => {}
            // Gone meanwhile, with an owner that was deleted before it.
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let items: Vec<&Value> = selected.iter().map(|object| &**object).collect();
    let body = respond::list(state, info, &items, metadata, &call.accept, "");
    Ok(respond::document(Answer::new(200, body), call.accept.yaml))
}
