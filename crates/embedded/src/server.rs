//! From a request to its answer: which path, which verb, in one turn under the cluster's lock.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, header};

use crate::authorise::{self, Attributes};
use crate::body::Body;
use crate::cluster::Shared;
use crate::error::ApiError;
use crate::registry::{Info, Storage};
use crate::request::{Call, Path, Query, Upgrade, Verb, is_served, negotiate, parse_path};
use crate::respond::{self, Answer};
use crate::state::State;
use crate::{Identity, discovery, listing, reviews, subresource, watch, webhooks, writes};

/// A write asks at most so many webhooks.
const TRIES: usize = 64;

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Answers one request whose body has been read. A write that a webhook has a word in is made again when that has been
/// heard; nothing of the cluster is held meanwhile.
pub(crate) async fn answer(shared: &Arc<Shared>, parts: Parts, body: Bytes, identity: Identity) -> Response<Body> {
    for _ in 0..TRIES {
        match attempt(shared, &parts, body.clone(), identity.clone()) {
            Ok(response) => return response,
            Err(calls) => {
                for call in calls {
                    let outcome = webhooks::make(&call).await;
                    shared.lock().webhooks.settle(call.key, outcome);
                }
            }
        }
    }
    let why = "Internal error occurred: webhooks do not come to an end";
    respond::failure(&ApiError::new(500, "InternalError", why))
}

/// An answer, or what must be asked first.
fn attempt(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: Bytes,
    identity: Identity,
) -> Result<Response<Body>, Vec<webhooks::Call>> {
    let identity = match impersonated(shared, parts, identity) {
        Ok(identity) => identity,
        Err(error) => return Ok(respond::failure(&error)),
    };
    let target = match parse_path(&parts.uri) {
        Path::Other(segments) => {
            let state = shared.lock();
            let asked = Attributes {
                verb: parts.method.as_str().to_lowercase(),
                path: Some(parts.uri.path().to_owned()),
                ..Attributes::default()
            };
            if let Err(error) = authorise::check(&state, &identity, &asked) {
                return Ok(respond::failure(&error));
            }
            return Ok(discovery::answer(&state, parts, &segments));
        }
        Path::Resource(target) => target,
    };
    let accept = match negotiate(&parts.headers) {
        Ok(accept) => accept,
        // What answers no objects is given whatever is accepted.
        Err(_) if matches!(target.subresource.as_deref(), Some("log" | "exec" | "attach" | "portforward")) => {
            crate::request::Accept::default()
        }
        Err(error) => return Ok(respond::failure(&error)),
    };
    let call = Call {
        query: Query::parse(&parts.uri),
        accept,
        content_type: header_text(&parts.headers, header::CONTENT_TYPE),
        body,
        identity,
        user_agent: header_text(&parts.headers, header::USER_AGENT),
        method: parts.method.clone(),
        target,
        upgrade: Upgrade::of(parts),
    };
    let mut state = shared.lock();
    state.catch_up();
    state.take_warnings();
    state.webhooks.client = Some(call.identity.clone());
    let mut response = dispatch(shared, &mut state, &call).unwrap_or_else(|error| respond::failure(&error));
    if let Some(warning) = deprecated(&call.target) {
        response.headers_mut().append(header::WARNING, warning);
    }
    state.webhooks.client = None;
    let wanted = state.webhooks.take_wanted();
    state.settle();
    drop(state);
    shared.notify.notify_one();
    if wanted.is_empty() { Ok(response) } else { Err(wanted) }
}

/// The warning that comes with every answer about a resource that is deprecated.
fn deprecated(target: &crate::request::Target) -> Option<HeaderValue> {
    (target.group.is_empty() && target.plural == "endpoints").then(|| {
        HeaderValue::from_static(
            "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"",
        )
    })
}

/// Who is meant: whoever asks, or whom they may speak for.
fn impersonated(shared: &Arc<Shared>, parts: &Parts, identity: Identity) -> Result<Identity, ApiError> {
    let all = |name: &str| -> Vec<String> {
        parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    };
    let (users, groups) = (all("impersonate-user"), all("impersonate-group"));
    let Some(user) = users.into_iter().next() else { return Ok(identity) };
    let state = shared.lock();
    let may = |resource: &str, namespace: &str, name: &str| {
        let asked = Attributes {
            verb: "impersonate".to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        authorise::check(&state, &identity, &asked)
    };
    let account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, name)) => may("serviceaccounts", namespace, name)?,
        None => may("users", "", &user)?,
    }
    for group in &groups {
        may("groups", "", group)?;
    }
    let mut meant = match account {
        Some((namespace, name)) if groups.is_empty() => Identity::of_account(namespace, name),
        _ => Identity { name: user, groups },
    };
    let known = "system:authenticated".to_owned();
    if meant.name != "system:anonymous" && !meant.groups.contains(&known) {
        meant.groups.push(known);
    }
    Ok(meant)
}

/// What a request for a resource asks to be allowed.
fn attributes(call: &Call) -> Attributes {
    let target = &call.target;
    let verb = Verb::of(&call.method, target, &call.query).map(Verb::as_str);
    let verb = match call.method.as_str() {
        // Subresources of a name are got, updated and made; there is nothing else to be done to them.
        "POST" if target.subresource.is_some() => "create",
        method => verb.unwrap_or(method),
    };
    Attributes::of_target(target, &verb.to_lowercase())
}

fn dispatch(shared: &Arc<Shared>, state: &mut State, call: &Call) -> Result<Response<Body>, ApiError> {
    let target = &call.target;
    authorise::check(state, &call.identity, &attributes(call))?;
    if !state.registry.has_group(&target.group) {
        // Nobody answers for the group: not the API server's machinery, but what stands before it.
        return Ok(respond::text(404, "404 page not found\n"));
    }
    if !is_served(&state.registry, target) {
        return Err(ApiError::unknown_path());
    }
    let found = state.registry.find(&target.group, &target.version, &target.plural);
    let Some(info) = found.map(Arc::clone) else { return Err(ApiError::unknown_path()) };
    if info.storage == Storage::Virtual {
        return reviews::answer(state, &info, call);
    }
    // A namespaced object has no path outside of its namespace, and the other way round.
    if info.resource.namespaced && target.name.is_some() && target.namespace.is_none()
        || !info.resource.namespaced && target.namespace.is_some()
    {
        return Err(ApiError::unknown_path());
    }
    if target.subresource.is_some() && !target.watch {
        return subresource::answer(shared, state, &info, call);
    }
    let name = target.name.as_deref().unwrap_or_default();
    match Verb::of(&call.method, target, &call.query) {
        Some(Verb::Watch) => watch::start(shared, state, &info, call),
        Some(Verb::Get) => get(state, &info, call, name),
        Some(Verb::List) => listing::list(state, &info, call),
        Some(Verb::Create) => writes::create(state, &info, call),
        Some(Verb::Update) => writes::update(state, &info, call, name, ""),
        Some(Verb::Patch) => writes::patch(state, &info, call, name, ""),
        Some(Verb::Delete) => writes::delete(state, &info, call, name),
        Some(Verb::DeleteCollection) if info.verbs().contains(&"deletecollection") => {
            writes::delete_collection(state, &info, call)
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn get(state: &State, info: &Arc<Info>, call: &Call, name: &str) -> Result<Response<Body>, ApiError> {
    let namespace = call.target.namespace.as_deref().unwrap_or_default();
    listing::check_version(state, call, true)?;
    let stored = state.registry.stored(info);
    let object = state.store.get(&stored.resource, namespace, name).ok_or_else(|| ApiError::not_found(info, name))?;
    Ok(object_answer(state, info, call, 200, object, Vec::new()))
}

/// An answer that is one object.
pub(crate) fn object_answer(
    state: &State,
    info: &Info,
    call: &Call,
    code: u16,
    object: &serde_json::Value,
    warnings: Vec<String>,
) -> Response<Body> {
    let body = respond::object(state, info, object, &call.accept, call.query.text("includeObject"));
    let mut answer = Answer::new(code, body);
    answer.warnings = warnings;
    respond::document(answer, call.accept.yaml)
}
