//! What answers a POST and stores nothing: reviews of who one is and what one may do. The server itself allows
//! everything to everyone it knows; narrower answers are the gate's.

use std::sync::Arc;

use http::{Method, Response};
use serde_json::{Value, json};

use crate::body::Body;
use crate::error::ApiError;
use crate::registry::Info;
use crate::request::Call;
use crate::respond::{self, Answer};
use crate::state::State;
use crate::write::Write;
use crate::{object, writes};

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
            review["status"] = json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            });
        }
        "tokenreviews" => review["status"] = json!({"user": {}, "error": "tokens are not checked here"}),
        _ => access(&mut review)?,
    }
    let mut answer = Answer::new(201, review);
    answer.warnings = warnings;
    Ok(respond::document(answer, call.accept.yaml))
}

fn access(review: &mut Value) -> Result<(), ApiError> {
    let spec = &review["spec"];
    if spec["resourceAttributes"].is_null() == spec["nonResourceAttributes"].is_null() {
        let why = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
        let message = format!(".authorization.k8s.io \"\" is invalid: spec.resourceAttributes: {why}");
        return Err(ApiError::new(422, "Invalid", message).with_details(json!({
            "group": "authorization.k8s.io",
            "causes": [{"reason": "FieldValueInvalid", "message": why, "field": "spec.resourceAttributes"}],
        })));
    }
    review["status"] = json!({"allowed": true});
    Ok(())
}
