//! What a request asks for: path, query, accepted forms.

use std::collections::HashMap;

use http::request::Parts;
use http::{HeaderMap, Method, Uri, header};
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::Identity;
use crate::error::ApiError;
use crate::registry::Registry;
use crate::typed::Validation;

/// The resource path of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) plural: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    /// The rest behind a subresource (`proxy/…`).
    pub(crate) rest: Vec<String>,
    /// The old `/watch/` form.
    pub(crate) watch: bool,
}

/// What kind of path it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Resource(Target),
    /// `/api`, `/apis/apps/v1`, `/version`: without empty segments.
    Other(Vec<String>),
}

/// Takes a path apart, as the API server does.
pub(crate) fn parse_path(uri: &Uri) -> Path {
    let segments: Vec<String> = uri
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let (group, version, mut rest) = match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["api", version, _, ..] => (String::new(), (*version).to_owned(), &segments[2..]),
        ["apis", group, version, _, ..] => ((*group).to_owned(), (*version).to_owned(), &segments[3..]),
        _ => return Path::Other(segments),
    };
    let mut target = Target { group, version, ..Target::default() };
    if rest.first().is_some_and(|first| first == "watch") && rest.len() > 1 {
        target.watch = true;
        rest = &rest[1..];
    }
    // A namespace's own path looks like that of what it holds.
    if rest.len() > 2 && rest[0] == "namespaces" && !matches!(rest[2].as_str(), "status" | "finalize") {
        target.namespace = Some(rest[1].clone());
        rest = &rest[2..];
    }
    target.plural = rest.first().cloned().unwrap_or_default();
    target.name = rest.get(1).cloned();
    target.subresource = rest.get(2).cloned();
    target.rest = rest.get(3..).unwrap_or_default().to_vec();
    Path::Resource(target)
}

/// What a request does, as [`crate::Reading::verb`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// None when the path is not served with this method.
    pub(crate) fn of(method: &Method, target: &Target, query: &Query) -> Option<Self> {
        let named = target.name.is_some();
        if target.watch {
            return (method == Method::GET && target.subresource.is_none()).then_some(Self::Watch);
        }
        match method.as_str() {
            "GET" | "HEAD" if named => Some(Self::Get),
            "GET" if query.watches() => Some(Self::Watch),
            "GET" | "HEAD" => Some(Self::List),
            "POST" if named == target.subresource.is_some() => Some(Self::Create),
            "PUT" if named => Some(Self::Update),
            "PATCH" if named => Some(Self::Patch),
            "DELETE" => Some(if named { Self::Delete } else { Self::DeleteCollection }),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// The query's parameters; of a repeated one the first counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(HashMap<String, Vec<String>>);

impl Query {
    pub(crate) fn parse(uri: &Uri) -> Self {
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            query.0.entry(key.into_owned()).or_default().push(value.into_owned());
        }
        query
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|values| values.first()).map(String::as_str)
    }

    /// The text, or nothing.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    pub(crate) fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1" | "True" | "t" | "T"))
    }

    /// Whether a list is to be a watch: as the API server converts the parameter, anything but a clear no is yes.
    pub(crate) fn watches(&self) -> bool {
        self.get("watch").is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(|value| value.parse().ok())
    }
}

/// The form of objects in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Shape {
    #[default]
    Plain,
    Table,
    Metadata,
}

/// One accepted media type that the server can write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) shape: Shape,
    pub(crate) yaml: bool,
    /// `v1`, of tables and metadata.
    pub(crate) shape_version: String,
    /// A discovery document: `v2` or `v2beta1`, aggregated.
    pub(crate) discovery: Option<String>,
    /// Plain JSON is accepted too, where the shape is not to be had.
    pub(crate) plain_too: bool,
}

/// The first entry of `Accept` that can be written.
pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Accept, ApiError> {
    let text = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut chosen: Option<Accept> = None;
    for entry in text.split(',').map(str::trim) {
        let mut parts = entry.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters: HashMap<&str, &str> = parts.filter_map(|part| part.split_once('=')).collect();
        let yaml = match kind.as_str() {
            "" | "*/*" | "application/*" | "application/json" => false,
            "application/yaml" => true,
            _ => continue,
        };
        let mut accept = Accept { yaml, ..Accept::default() };
        match parameters.get("as").copied() {
            Some("Table") => accept.shape = Shape::Table,
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => accept.shape = Shape::Metadata,
            Some("APIGroupDiscoveryList") => match parameters.get("v") {
                Some(version @ (&"v2" | &"v2beta1")) => accept.discovery = Some((*version).to_owned()),
                // A form that is not known is no offer.
                _ => continue,
            },
            _ => {}
        }
        accept.shape_version = parameters.get("v").copied().unwrap_or("v1").to_owned();
        match &mut chosen {
            None => chosen = Some(accept),
            Some(first) => first.plain_too |= accept.shape == Shape::Plain && accept.discovery.is_none(),
        }
    }
    match chosen {
        Some(accept) => Ok(accept),
        None => Err(ApiError::new(
            406,
            "NotAcceptable",
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
        )
        .with_details(json!({}))),
    }
}

/// What a request that asks for another protocol brings.
#[derive(Clone, Debug)]
pub(crate) struct Upgrade {
    /// `websocket`, `SPDY/3.1`.
    pub(crate) protocol: String,
    pub(crate) key: String,
    /// What may be spoken over a WebSocket.
    pub(crate) protocols: Vec<String>,
    pub(crate) connection: Option<OnUpgrade>,
}

impl Upgrade {
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        let texts = |name| parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let protocols = texts(header::SEC_WEBSOCKET_PROTOCOL).flat_map(|list| list.split(','));
        Some(Self {
            protocol: texts(header::UPGRADE).next()?.to_owned(),
            key: texts(header::SEC_WEBSOCKET_KEY).next().unwrap_or_default().to_owned(),
            protocols: protocols.map(|protocol| protocol.trim().to_owned()).collect(),
            connection: parts.extensions.get::<OnUpgrade>().cloned(),
        })
    }
}

/// One request, its body already read.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) accept: Accept,
    pub(crate) content_type: String,
    pub(crate) body: bytes::Bytes,
    pub(crate) identity: Identity,
    pub(crate) user_agent: String,
    pub(crate) target: Target,
    pub(crate) upgrade: Option<Upgrade>,
}

impl Call {
    /// The field manager: as asked, or the client's name.
    pub(crate) fn manager(&self) -> String {
        match self.query.text("fieldManager") {
            "" => match self.user_agent.split('/').next().unwrap_or_default() {
                "" => "unknown".to_owned(),
                agent => agent.chars().take(128).collect(),
            },
            manager => manager.to_owned(),
        }
    }

    pub(crate) fn dry_run(&self, options: &str) -> Result<bool, ApiError> {
        let values: Vec<&String> = self.query.all("dryRun").iter().filter(|value| !value.is_empty()).collect();
        if let Some(other) = values.iter().find(|value| value.as_str() != "All") {
            let cause = crate::error::Cause::unsupported("dryRun", &json!([other]), &["All"]);
            return Err(options_invalid(options, cause));
        }
        Ok(!values.is_empty())
    }

    pub(crate) fn validation(&self, options: &str) -> Result<Validation, ApiError> {
        match self.query.text("fieldValidation") {
            "" | "Warn" => Ok(Validation::Warn),
            "Ignore" => Ok(Validation::Ignore),
            "Strict" => Ok(Validation::Strict),
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                let cause = crate::error::Cause::unsupported("fieldValidation", &json!(other), &supported);
                Err(options_invalid(options, cause))
            }
        }
    }
}

/// 422 about the options of a request.
pub(crate) fn options_invalid(options: &str, cause: crate::error::Cause) -> ApiError {
    let message = format!("{options}.meta.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message);
    ApiError::new(422, "Invalid", message).with_details(json!({
        "group": "meta.k8s.io", "kind": options,
        "causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field}],
    }))
}

/// True when the path's group and version are served.
pub(crate) fn is_served(registry: &Registry, target: &Target) -> bool {
    registry.has_version(&target.group, &target.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        match parse_path(&path.parse().unwrap()) {
            Path::Resource(target) => target,
            Path::Other(segments) => panic!("{segments:?}"),
        }
    }

    #[test]
    fn paths_are_taken_apart() {
        let t = target("/api/v1/namespaces/a/pods/p/log?x=y");
        assert_eq!((t.namespace.as_deref(), t.plural.as_str(), t.name.as_deref()), (Some("a"), "pods", Some("p")));
        assert_eq!(t.subresource.as_deref(), Some("log"));
        let t = target("/api/v1/namespaces/a/finalize");
        assert_eq!((t.namespace, t.plural.as_str(), t.subresource.as_deref()), (None, "namespaces", Some("finalize")));
        let t = target("/api/v1/namespaces/a");
        assert_eq!((t.plural.as_str(), t.name.as_deref()), ("namespaces", Some("a")));
        let t = target("/apis/apps/v1/deployments");
        assert_eq!((t.group.as_str(), t.plural.as_str(), t.name), ("apps", "deployments", None));
        let t = target("/api/v1/watch/namespaces/a/pods");
        assert!(t.watch && t.namespace.as_deref() == Some("a"));
        assert!(matches!(parse_path(&"/apis/apps/v1".parse().unwrap()), Path::Other(_)));
    }
}
