//! Lists: selectors, pages, resource versions.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Response;
use serde_json::{Value, json};

use crate::body::Body;
use crate::error::{ApiError, Cause};
use crate::object;
use crate::registry::Info;
use crate::request::{Call, options_invalid};
use crate::respond::{self, Answer};
use crate::selectors::{FieldSelector, LabelSelector};
use crate::snapshot::objects_at;
use crate::state::State;

/// What a request selects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Selection {
    pub(crate) fn of(info: &Info, call: &Call) -> Result<Self, ApiError> {
        Ok(Self {
            namespace: call.target.namespace.clone(),
            name: call.target.name.clone(),
            labels: LabelSelector::parse(call.query.text("labelSelector"))?,
            fields: FieldSelector::parse(info, call.query.text("fieldSelector"))?,
        })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == object::namespace(object))
            && self.name.as_deref().is_none_or(|name| name == object::name(object))
            && self.labels.matches(object)
            && self.fields.matches(object)
    }

    /// Everything of the resource is selected, or everything of a namespace.
    pub(crate) fn has_selector(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }
}

fn parse_version(text: &str) -> Result<u64, String> {
    text.parse::<u64>().map_err(|_| {
        format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax")
    })
}

/// Refuses a `resourceVersion` that is malformed or lies in the future.
pub(crate) fn check_version(state: &State, call: &Call, get: bool) -> Result<(), ApiError> {
    let version = call.query.text("resourceVersion");
    let matching = call.query.text("resourceVersionMatch");
    if !get && !matching.is_empty() {
        let refuse = |why: &str| Err(options_invalid("ListOptions", Cause::forbidden("resourceVersionMatch", why)));
        if version.is_empty() {
            return refuse("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            let cause = Cause::unsupported("resourceVersionMatch", &json!(matching), &["Exact", "NotOlderThan", ""]);
            return Err(options_invalid("ListOptions", cause));
        }
        if matching == "Exact" && version == "0" {
            return refuse("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
    }
    if version.is_empty() {
        return Ok(());
    }
    let wanted =
        parse_version(version).map_err(|why| ApiError::bad_request(format!("invalid resource version: {why}")))?;
    let current = state.store.revision();
    if wanted > current {
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        return Err(ApiError::new(504, "Timeout", message).with_details(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        })));
    }
    Ok(())
}

/// The resource version that a watch starts from.
pub(crate) fn watch_version(call: &Call) -> Result<Option<u64>, ApiError> {
    match call.query.text("resourceVersion") {
        "" => Ok(None),
        text => parse_version(text).map(Some).map_err(|why| ApiError::new(500, "", why)),
    }
}

/// Where a page begins: behind this namespace and name, in the list of this revision.
fn continued(token: &str) -> Result<(u64, (String, String)), ApiError> {
    let invalid =
        |why: &str| ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|_| {
        ApiError::bad_request("invalid continue token: continue key is not valid: illegal base64 data at input byte 0")
    })?;
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| invalid(&crate::typed::json_error(&bytes, &error)))?;
    let start = value["start"].as_str().unwrap_or_default().trim_end_matches('\0').trim_start_matches('/');
    let (namespace, name) = start.split_once('/').unwrap_or(("", start));
    Ok((value["rv"].as_u64().unwrap_or(0), (namespace.to_owned(), name.to_owned())))
}

fn token(revision: u64, namespace: &str, name: &str) -> String {
    let start = format!("/{namespace}/{name}\0");
    let text = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string();
    URL_SAFE_NO_PAD.encode(text)
}

/// A list whose revision is no longer in the history can begin again, or go on with what is there now.
fn too_old(revision: u64, (namespace, name): &(String, String)) -> ApiError {
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new \
                   list without the continue parameter, or use the continue token in this response to retrieve the \
                   remainder of the results. Continuing with the provided token results in an inconsistent list - \
                   objects that were created, modified, or deleted between the time the first chunk was returned and \
                   now may show up in the list.";
    let mut error = ApiError::new(410, "Expired", message);
    error.continuation = Some(token(revision, namespace, name));
    error
}

/// GET of a collection.
pub(crate) fn list(state: &State, info: &Arc<Info>, call: &Call) -> Result<Response<Body>, ApiError> {
    let selection = Selection::of(info, call)?;
    let page = call.query.text("continue");
    if !page.is_empty() && !matches!(call.query.text("resourceVersion"), "" | "0") {
        return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
    }
    check_version(state, call, false)?;
    let stored = state.registry.stored(info);
    let (revision, after) = match page {
        "" => (state.store.revision(), None),
        token => {
            let (revision, after) = continued(token)?;
            // Zero is of a token that goes on with what is there now.
            (if revision == 0 { state.store.revision() } else { revision }, Some(after))
        }
    };
    let namespace = selection.namespace.as_deref();
    let table = state.store.table_if_any(&stored.resource);
    let all: Box<dyn Iterator<Item = &Arc<Value>>> = match (&after, table) {
        (_, None) => Box::new(std::iter::empty()),
        (None, Some(table)) => Box::new(table.iter(namespace)),
        (Some(after), Some(table)) => Box::new(
            objects_at(table, revision, namespace, after).ok_or_else(|| too_old(state.store.revision(), after))?,
        ),
    };
    let mut matching = all.map(|object| &**object).filter(|object| selection.matches(object));
    // A list "as of any time" is served from the cache, which has no pages.
    let limit = match (call.query.number("limit"), call.query.text("resourceVersion")) {
        (Some(limit), version) if limit > 0 && version != "0" => usize::try_from(limit).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let items: Vec<&Value> = matching.by_ref().take(limit).collect();
    // How many more there are is told where nothing is selected; else it is enough that there are.
    let rest = if selection.has_selector() { usize::from(matching.next().is_some()) } else { matching.count() };
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if info.custom {
        metadata["continue"] = json!("");
    }
    if rest > 0
        && let Some(last) = items.last()
    {
        metadata["continue"] = json!(token(revision, object::namespace(last), object::name(last)));
        if !selection.has_selector() {
            metadata["remainingItemCount"] = json!(rest);
        }
    }
    let body = respond::list(state, info, &items, metadata, &call.accept, call.query.text("includeObject"));
    Ok(respond::document(Answer::new(200, body), call.accept.yaml))
}
