//! Parts of objects with paths of their own: status, scale, binding, eviction, tokens, logs.

use std::sync::Arc;

use http::{Method, Response};
use serde_json::{Value, json};
use simulation::resources;

use crate::body::Body;
use crate::cluster::Shared;
use crate::custom::Scale;
use crate::delete::check_preconditions;
use crate::error::{ApiError, Cause};
use crate::object;
use crate::registry::Info;
use crate::request::{Call, Shape};
use crate::respond::{self, Answer};
use crate::selectors::LabelSelector;
use crate::server::object_answer;
use crate::state::State;
use crate::writes::{self, delete_options, write_of};
use crate::{exec, patch, podlog};

type Result1 = Result<Response<Body>, ApiError>;

/// Answers a request for a subresource.
pub(crate) fn answer(shared: &Arc<Shared>, state: &mut State, info: &Arc<Info>, call: &Call) -> Result1 {
    let name = call.target.name.as_deref().unwrap_or_default();
    let subresource = call.target.subresource.as_deref().unwrap_or_default();
    if !info.has(subresource) {
        return Err(ApiError::unknown_path());
    }
    match (subresource, call.method.as_str()) {
        ("status", "GET") => get(state, info, call, name),
        ("status", "PUT") => writes::update(state, info, call, name, "status"),
        ("status", "PATCH") => writes::patch(state, info, call, name, "status"),
        ("ephemeralcontainers" | "resize" | "approval", "GET") => get(state, info, call, name),
        ("ephemeralcontainers", "PUT") => writes::update(state, info, call, name, "ephemeralcontainers"),
        ("ephemeralcontainers", "PATCH") => writes::patch(state, info, call, name, "ephemeralcontainers"),
        ("resize", "PUT") => writes::update(state, info, call, name, "resize"),
        ("resize", "PATCH") => writes::patch(state, info, call, name, "resize"),
        ("approval", "PUT") => writes::update(state, info, call, name, "approval"),
        ("approval", "PATCH") => writes::patch(state, info, call, name, "approval"),
        ("finalize", "PUT") => writes::update(state, info, call, name, "finalize"),
        ("scale", _) => scale(state, info, call, name),
        ("binding", "POST") => binding(state, info, call, name),
        ("eviction", "POST") => eviction(state, info, call, name),
        ("token", "POST") => token(state, info, call, name),
        ("log", "GET") => podlog::answer(shared, state, info, call, name),
        ("exec", "GET" | "POST") => {
            let pod = find(state, info, call, name)?;
            exec::answer(shared, state, &pod, call)
        }
        ("attach" | "portforward", "GET" | "POST") => {
            find(state, info, call, name)?;
            Err(exec::refused(subresource))
        }
        ("proxy", _) => {
            find(state, info, call, name)?;
            let why = format!("no endpoints available for service {name:?}");
            Err(ApiError::new(503, "ServiceUnavailable", why))
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn find(state: &State, info: &Arc<Info>, call: &Call, name: &str) -> Result<Arc<Value>, ApiError> {
    let namespace = call.target.namespace.as_deref().unwrap_or_default();
    let stored = state.registry.stored(info);
    state.store.get(&stored.resource, namespace, name).cloned().ok_or_else(|| ApiError::not_found(info, name))
}

fn get(state: &State, info: &Arc<Info>, call: &Call, name: &str) -> Result1 {
    let object = find(state, info, call, name)?;
    Ok(object_answer(state, info, call, 200, &object, Vec::new()))
}

/// The scale of a custom resource, where its definition says that it stands.
fn custom_scale(scale: &Scale, object: &Value) -> Result<Value, ApiError> {
    let at = |names: &[String]| names.iter().try_fold(object, |value, name| value.get(name)).cloned();
    let Some(replicas) = at(&scale.replicas) else {
        let path = format!(".{}", scale.replicas.join("."));
        let why = format!("Internal error occurred: the spec replicas field {path:?} does not exist");
        return Err(ApiError::new(500, "InternalError", why));
    };
    let mut shown = plain_scale(object);
    if replicas != 0 {
        shown["spec"]["replicas"] = replicas;
    }
    shown["status"]["replicas"] = at(&scale.status_replicas).unwrap_or(json!(0));
    if let Some(selector) = scale.selector.as_deref().and_then(at).filter(|text| text != "") {
        shown["status"]["selector"] = selector;
    }
    Ok(shown)
}

/// A scale that says nothing yet.
fn plain_scale(object: &Value) -> Value {
    let mut metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(key) {
            metadata[key] = value.clone();
        }
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {}, "status": {}})
}

fn scale_of(info: &Info, object: &Value) -> Result<Value, ApiError> {
    match &info.definition {
        Some(definition) => {
            let scale = definition.scale.as_ref().ok_or_else(ApiError::unknown_path)?;
            custom_scale(scale, object)
        }
        None => Ok(built_in_scale(object)),
    }
}

fn built_in_scale(object: &Value) -> Value {
    let mut shown = plain_scale(object);
    let selector = match object::at(object, &["spec", "selector"]) {
        Value::Object(map) if map.contains_key("matchLabels") || map.contains_key("matchExpressions") => {
            crate::table::selector_text(&object["spec"]["selector"])
        }
        Value::Object(_) => crate::table::selector_text(&json!({"matchLabels": object["spec"]["selector"]})),
        _ => String::new(),
    };
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(0);
    let mut status = json!({"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)});
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    if replicas != 0 {
        shown["spec"]["replicas"] = json!(replicas);
    }
    shown["status"] = status;
    shown
}

fn scale(state: &mut State, info: &Arc<Info>, call: &Call, name: &str) -> Result1 {
    let object = find(state, info, call, name)?;
    let current = scale_of(info, &object)?;
    let wanted = match call.method {
        Method::GET if call.accept.shape == Shape::Table => {
            let (version, include) = (&call.accept.shape_version, call.query.text("includeObject"));
            let table = crate::table::of_scale(state, &current, version, include);
            return Ok(respond::document(Answer::new(200, table), call.accept.yaml));
        }
        Method::GET => return Ok(respond::document(Answer::new(200, current), call.accept.yaml)),
        Method::PUT => wire::decode(&call.content_type, &call.body)
            .map_err(|error| ApiError::new(error.status(), "BadRequest", error.to_string()))?,
        Method::PATCH => {
            let kind = patch::kind(&call.content_type, false)?;
            patch::apply(kind, info, &current, patch::body(call)?.value)?
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let replicas = wanted["spec"].get("replicas").map_or(Some(0), Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let cause = Cause::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        let message = format!("Scale.autoscaling {name:?} is invalid: {}: {}", cause.field, cause.message);
        return Err(ApiError::new(422, "Invalid", message).with_details(json!({
            "name": name, "group": "autoscaling", "kind": "Scale",
            "causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field}],
        })));
    }
    let mut new = (*object).clone();
    let version = object::text(&wanted, &["metadata", "resourceVersion"]).to_owned();
    let metadata = object::metadata(&mut new);
    if version.is_empty() {
        metadata.remove("resourceVersion");
    } else {
        metadata.insert("resourceVersion".into(), json!(version));
    }
    match info.definition.as_ref().and_then(|definition| definition.scale.as_ref()) {
        Some(scale) => {
            let slot = scale.replicas.iter().fold(&mut new, |value, name| {
                // Makes an object of what is none, as a path into it asks.
                object::child(value, name);
                &mut value[name]
            });
            *slot = json!(replicas);
        }
        None => {
            object::child(&mut new, "spec").insert("replicas".into(), json!(replicas));
        }
    }
    let how = write_of(call, "UpdateOptions", "scale")?;
    let stored = state.registry.stored(info);
    let written = state.replace_object(&stored, new, &how)?;
    Ok(respond::document(Answer::new(200, scale_of(info, &written)?), call.accept.yaml))
}

fn body_of(call: &Call) -> Result<Value, ApiError> {
    wire::decode(&call.content_type, &call.body)
        .map_err(|error| ApiError::new(error.status(), "BadRequest", error.to_string()))
}

/// A Status of success without details.
fn created() -> Response<Body> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    respond::document(Answer::new(201, body), false)
}

fn binding(state: &mut State, _info: &Arc<Info>, call: &Call, name: &str) -> Result1 {
    let body = body_of(call)?;
    let namespace = call.target.namespace.clone().unwrap_or_default();
    let node = object::text(&body, &["target", "name"]);
    let how = write_of(call, "CreateOptions", "")?;
    state.bind_pod(&namespace, name, node, &how)?;
    Ok(created())
}

fn eviction(state: &mut State, info: &Arc<Info>, call: &Call, name: &str) -> Result1 {
    let body = body_of(call)?;
    let given = object::name(&body);
    if !given.is_empty() && given != name {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let pod = find(state, info, call, name)?;
    let mut how = delete_options(&Call { body: bytes::Bytes::new(), ..call.clone() })?;
    let options = &body["deleteOptions"];
    how.grace_seconds = options["gracePeriodSeconds"].as_i64();
    how.dry_run |= options["dryRun"].as_array().is_some_and(|values| values.iter().any(|value| value == "All"));
    how.uid = options["preconditions"]["uid"].as_str().map(str::to_owned);
    how.resource_version = options["preconditions"]["resourceVersion"].as_str().map(str::to_owned);
    check_preconditions(info, &pod, &how)?;
    allow_disruption(state, &pod, how.dry_run)?;
    if !how.dry_run {
        state.mark_evicted(info, &pod);
        // It was the version of the pod as it came.
        how.resource_version = None;
    }
    let namespace = object::namespace(&pod).to_owned();
    state.delete_object(info, &namespace, name, &how)?;
    Ok(created())
}

impl State {
    /// Says on a pod why it goes.
    fn mark_evicted(&mut self, info: &Arc<Info>, pod: &Value) {
        let mut marked = pod.clone();
        let now = format!("{:.0}", self.now());
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
            "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        });
        let conditions = object::child(&mut marked, "status").entry("conditions").or_insert_with(|| json!([]));
        if let Value::Array(conditions) = conditions {
            conditions.retain(|condition| condition["type"] != "DisruptionTarget");
            conditions.push(condition);
        }
        self.commit(info, crate::store::Event::Modified, marked);
    }
}

/// Refuses what a disruption budget does not allow, and takes it off the budget.
fn allow_disruption(state: &mut State, pod: &Value, dry_run: bool) -> Result<(), ApiError> {
    let ended = matches!(object::text(pod, &["status", "phase"]), "Succeeded" | "Failed" | "Pending");
    if ended || object::is_deleting(pod) {
        return Ok(());
    }
    let budgets = state.store.list(&resources::POD_DISRUPTION_BUDGETS, Some(object::namespace(pod)));
    let budget = budgets.into_iter().find(|budget| {
        LabelSelector::from_object(&budget["spec"]["selector"]).is_ok_and(|selector| selector.matches(pod))
    });
    let Some(budget) = budget else { return Ok(()) };
    let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
    if allowed <= 0 {
        let (needs, has) = (
            budget["status"]["desiredHealthy"].as_i64().unwrap_or(0),
            budget["status"]["currentHealthy"].as_i64().unwrap_or(0),
        );
        let why = format!(
            "The disruption budget {} needs {needs} healthy pods and has {has} currently",
            object::name(&budget)
        );
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        return Err(ApiError::new(429, "TooManyRequests", message)
            .with_details(json!({"causes": [{"reason": "DisruptionBudget", "message": why}]})));
    }
    if !dry_run && let Some(info) = state.info(&resources::POD_DISRUPTION_BUDGETS) {
        let mut new = (*budget).clone();
        new["status"]["disruptionsAllowed"] = json!(allowed - 1);
        let now = format!("{:.0}", state.now());
        object::child(&mut new["status"], "disruptedPods").insert(object::name(pod).to_owned(), json!(now));
        if allowed == 1 {
            for condition in new["status"]["conditions"].as_array_mut().into_iter().flatten() {
                condition["status"] = json!("False");
                condition["reason"] = json!("InsufficientPods");
                condition["lastTransitionTime"] = json!(now);
            }
        }
        state.commit(&info, crate::store::Event::Modified, new);
    }
    Ok(())
}

/// A token for an account.
fn token(state: &mut State, info: &Arc<Info>, call: &Call, name: &str) -> Result1 {
    let account = find(state, info, call, name)?;
    let body = body_of(call)?;
    let seconds = body["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    let audiences = match &body["spec"]["audiences"] {
        Value::Array(audiences) if !audiences.is_empty() => Value::Array(audiences.clone()),
        _ => json!(["https://kubernetes.default.svc.cluster.local"]),
    };
    let token = state.token_for(&account, seconds, &audiences);
    let answer = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": name, "namespace": object::namespace(&account), "uid": object::uid(&account),
                     "creationTimestamp": format!("{:.0}", state.now())},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": null},
        "status": {"token": token.text, "expirationTimestamp": format!("{:.0}", token.end)},
    });
    Ok(respond::document(Answer::new(201, answer), call.accept.yaml))
}
