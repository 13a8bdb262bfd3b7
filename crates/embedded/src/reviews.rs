//! What answers a POST and stores nothing: reviews of who one is and what one may do. Those of the gate's callers are
//! answered by the gate.

use std::sync::Arc;

use http::{Method, Response};
use serde_json::{Value, json};

use crate::authorise::{self, Attributes};
use crate::body::Body;
use crate::error::ApiError;
use crate::managed::{Writer, track};
use crate::registry::Info;
use crate::request::Call;
use crate::respond::{self, Answer};
use crate::state::State;
use crate::write::Write;
use crate::{Identity, object, writes};

pub(crate) fn answer(state: &mut State, info: &Arc<Info>, call: &Call) -> Result<Response<Body>, ApiError> {
    if call.method != Method::POST || call.target.name.is_some() {
        return Err(ApiError::method_not_allowed());
    }
    let (mut review, warnings) = writes::read_body(info, call, "CreateOptions")?;
    match info.resource.plural {
        "bindings" => {
            let namespace = call.target.namespace.clone().unwrap_or_default();
            let node = object::text(&review, &["target", "name"]).to_owned();
            let mut how = Write::by(&call.manager());
            how.dry_run = call.dry_run("CreateOptions")?;
            state.bind_pod(&namespace, object::name(&review), &node, &how)?;
            let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            return Ok(respond::document(Answer::new(201, body), call.accept.yaml));
        }
        "selfsubjectreviews" => {
            let now = format!("{:.0}", state.now());
            object::metadata(&mut review).insert("creationTimestamp".into(), json!(now));
            review["status"] = json!({"userInfo": {"username": call.identity.name, "groups": call.identity.groups}});
        }
        "selfsubjectrulesreviews" => {
            let namespace = object::text(&review, &["spec", "namespace"]).to_owned();
            review["spec"] = json!({});
            review["status"] = authorise::listed(state, &call.identity, &namespace);
        }
        "tokenreviews" => {
            review["status"] = match state.identity_of(object::text(&review, &["spec", "token"])) {
                Some(who) => json!({"authenticated": true, "user": {"username": who.name, "groups": who.groups}}),
                None => json!({"user": {}, "error": "invalid bearer token"}),
            };
        }
        plural => {
            let manager = call.manager();
            track(info, None, &mut review, &Writer { manager: &manager, subresource: "", now: state.now() });
            access(state, call, plural, &mut review)?;
        }
    }
    let mut answer = Answer::new(201, review);
    answer.warnings = warnings;
    Ok(respond::document(answer, call.accept.yaml))
}

fn access(state: &State, call: &Call, plural: &str, review: &mut Value) -> Result<(), ApiError> {
    let spec = &review["spec"];
    if spec["resourceAttributes"].is_null() == spec["nonResourceAttributes"].is_null() {
        let why = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
        let message = format!(".authorization.k8s.io \"\" is invalid: spec.resourceAttributes: {why}");
        return Err(ApiError::new(422, "Invalid", message).with_details(json!({
            "group": "authorization.k8s.io",
            "causes": [{"reason": "FieldValueInvalid", "message": why, "field": "spec.resourceAttributes"}],
        })));
    }
    let who = if plural == "selfsubjectaccessreviews" {
        call.identity.clone()
    } else {
        let groups = object::list(spec, &["groups"]).iter().filter_map(|group| group.as_str().map(str::to_owned));
        Identity { name: object::text(spec, &["user"]).to_owned(), groups: groups.collect() }
    };
    let decision = authorise::decide(state, &who, &Attributes::of_review(spec));
    review["status"] = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        review["status"]["reason"] = json!(decision.reason);
    }
    Ok(())
}
