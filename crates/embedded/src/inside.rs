//! The API as processes in the cluster's own pods read it: with their account's token, as far as its roles go.

use std::sync::Arc;

use http::{Method, Uri};
use serde_json::{Value, json};

use crate::Identity;
use crate::authorise::{self, Attributes};
use crate::error::ApiError;
use crate::request::{Accept, Path, Query, Verb, is_served, parse_path};
use crate::selectors::LabelSelector;
use crate::state::State;
use crate::{discovery, respond, versions};

/// What a GET answers.
pub(crate) fn answer(state: &State, authorization: &str, path: &str) -> Result<Value, ApiError> {
    let who = match authorization.strip_prefix("Bearer ") {
        Some(token) => {
            state.identity_of(token.trim()).ok_or_else(|| ApiError::new(401, "Unauthorized", "Unauthorized"))?
        }
        None => Identity { name: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] },
    };
    let uri: Uri = path.parse().map_err(|_| ApiError::unknown_path())?;
    let target = match parse_path(&uri) {
        Path::Resource(target) => target,
        Path::Other(segments) => return other(state, &who, &uri, &segments),
    };
    let query = Query::parse(&uri);
    let verb = Verb::of(&Method::GET, &target, &query).ok_or_else(ApiError::method_not_allowed)?;
    let asked = Attributes::of_target(&target, verb.as_str());
    authorise::check(state, &who, &asked)?;
    let found = state.registry.find(&target.group, &target.version, &target.plural).map(Arc::clone);
    let Some(info) = found.filter(|_| is_served(&state.registry, &target) && target.subresource.is_none()) else {
        return Err(ApiError::unknown_path());
    };
    let stored = state.registry.stored(&info);
    let namespace = target.namespace.as_deref();
    if let Some(name) = &target.name {
        let found = state.store.get(&stored.resource, namespace.unwrap_or_default(), name);
        let found = found.ok_or_else(|| ApiError::not_found(&info, name))?;
        return Ok(versions::to_version(&info, found));
    }
    let selector = LabelSelector::parse(query.text("labelSelector"))?;
    let objects = state.store.list(&stored.resource, namespace);
    let items: Vec<&Value> = objects.iter().map(|object| &**object).filter(|object| selector.matches(object)).collect();
    let metadata = json!({"resourceVersion": state.store.revision().to_string()});
    Ok(respond::list(state, &info, &items, metadata, &Accept::default(), ""))
}

fn other(state: &State, who: &Identity, uri: &Uri, segments: &[String]) -> Result<Value, ApiError> {
    let path = uri.path().trim_end_matches('/');
    match path {
        "/healthz" | "/livez" | "/readyz" => return Ok(json!("ok")),
        "/version" => return Ok(json!({"major": "1", "minor": "36", "gitVersion": discovery::VERSION})),
        _ => {}
    }
    let asked = Attributes { verb: "get".to_owned(), path: Some(path.to_owned()), ..Attributes::default() };
    authorise::check(state, who, &asked)?;
    match segments {
        [root] if root == "api" => Ok(json!({"kind": "APIVersions", "versions": ["v1"]})),
        [root, ..] if root == "apis" => {
            let mut groups: Vec<&str> =
                state.registry.iter().map(|info| info.resource.group).filter(|group| !group.is_empty()).collect();
            groups.sort_unstable();
            groups.dedup();
            let groups: Vec<Value> = groups.into_iter().map(|group| json!({"name": group})).collect();
            Ok(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        _ => Err(ApiError::unknown_path()),
    }
}
