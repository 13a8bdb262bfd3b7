//! What a request asks for, derived as Kubernetes' own authoriser derives it (`RequestInfo` of k8s.io/apiserver).
//! What two readers could read in two ways is refused here, so that what is judged is what is served: odd paths, repeated
//! parameters, and what the authoriser has a name for that no API server has served for years (`/proxy/` in front).

use std::collections::HashSet;

use http::{Method, Uri};

use crate::{ObjectKey, field_selector};

/// The longest path and the longest query that are read, in bytes.
pub const MAX_PATH: usize = 2048;
/// See [`MAX_PATH`].
pub const MAX_QUERY: usize = 16 * 1024;

/// Query parameters that are lists. Of any other that is given twice, readers differ in which one counts.
const LISTS: [&str; 2] = ["command", "ports"];

/// A request as the authoriser sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or the lower-case method of a
    /// non-resource request.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// API version; empty for non-resource requests.
    pub version: String,
    /// Plural resource; empty for non-resource requests.
    pub resource: String,
    /// Subresource, where there is one.
    pub subresource: String,
    /// Namespace; for the resource `namespaces` the name itself, as in Kubernetes.
    pub namespace: String,
    /// Name in the path, or the one that a field selector pins.
    pub name: String,
    /// The canonical path, byte for byte what is forwarded.
    pub path: String,
    /// The decoded query.
    pub query: Vec<(String, String)>,
    /// Whether the path names a resource.
    pub is_resource: bool,
}

/// A request that cannot be read in exactly one way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Longer than [`MAX_PATH`] or [`MAX_QUERY`].
    #[error("the path or the query is too long")]
    TooLong,
    /// Empty, `.` or `..` segments, percent-encoding, or bytes that no Kubernetes path has.
    #[error(
        "the path is not in canonical form: write it without empty or dotted segments and without percent-encoding"
    )]
    OddPath,
    /// A query that is not UTF-8 after decoding.
    #[error("the query is not valid text")]
    OddQuery,
    /// A parameter that is no list was given twice.
    #[error("the query parameter `{0}` is given more than once")]
    Repeated(String),
    /// Not one of GET, HEAD, POST, PUT, PATCH, DELETE, or one that this path is not served with.
    #[error("the method {0} is not served here")]
    Method(String),
    /// `/watch/` in front of nothing or of a subresource, `/proxy/` in front of anything.
    #[error("no API server serves this path")]
    NoResource,
}

impl Attributes {
    /// `resource` or `resource/subresource`, as rules name it.
    pub fn combined_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// `deployments.apps`, `pods`: as Kubernetes' messages name it.
    pub fn qualified_resource(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }

    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// Whether the verb changes objects.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// The object, as the journal knows it: a namespace is in none.
    pub(crate) fn key(&self) -> ObjectKey {
        let own = self.group.is_empty() && self.resource == "namespaces";
        ObjectKey {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            namespace: if own { String::new() } else { self.namespace.clone() },
            name: self.name.clone(),
        }
    }

    /// Another name for the field manager, where the request names one.
    pub(crate) fn rename_manager(&mut self, manager: &str) {
        for (_, value) in self.query.iter_mut().filter(|(name, _)| name == "fieldManager") {
            manager.clone_into(value);
        }
    }

    /// Path and query as they are forwarded: the path that was judged, the query in one spelling.
    pub fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.query);
        format!("{}?{}", self.path, query.finish())
    }
}

/// Derives the attributes of a request.
///
/// # Errors
/// [`BadRequest`] when the request could be read in more than one way.
pub fn attributes(method: &Method, uri: &Uri) -> Result<Attributes, BadRequest> {
    let (path, raw_query) = (uri.path(), uri.query().unwrap_or_default());
    let parts = segments(path)?;
    let mut attributes = Attributes {
        verb: method.as_str().to_ascii_lowercase(),
        path: path.to_owned(),
        query: query(raw_query)?,
        ..Attributes::default()
    };
    let verb = match method.as_str() {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        other => return Err(BadRequest::Method(other.to_owned())),
    };
    // "/api/v1" and "/apis/apps/v1" are discovery; one more segment makes a resource.
    let rest = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => {
            attributes.version = (*version).to_owned();
            rest
        }
        ["apis", group, version, rest @ ..] if !rest.is_empty() => {
            attributes.group = (*group).to_owned();
            attributes.version = (*version).to_owned();
            rest
        }
        _ if path.len() > 1 && path.ends_with('/') => return Err(BadRequest::OddPath),
        _ => return Ok(attributes),
    };
    attributes.is_resource = true;
    attributes.verb = verb.to_owned();
    let watch = rest.first() == Some(&"watch");
    read_resource(&mut attributes, if watch { &rest[1..] } else { rest })?;
    // Only proxied paths mean something by a slash at the end.
    if path.ends_with('/') && attributes.subresource != "proxy" {
        return Err(BadRequest::OddPath);
    }
    if watch {
        if !attributes.subresource.is_empty() {
            return Err(BadRequest::NoResource);
        }
        // The authoriser says `watch` whatever the method; a server that is lax about it would do what the method says.
        attributes.verb = "watch".to_owned();
    } else {
        settle_verb(&mut attributes);
    }
    if attributes.verb == "watch" && method != Method::GET || !is_served_with(&attributes) {
        return Err(BadRequest::Method(method.to_string()));
    }
    Ok(attributes)
}

fn read_resource(attributes: &mut Attributes, mut parts: &[&str]) -> Result<(), BadRequest> {
    if matches!(parts, [] | ["proxy", ..]) {
        return Err(BadRequest::NoResource);
    }
    if let ["namespaces", namespace, rest @ ..] = parts {
        attributes.namespace = (*namespace).to_owned();
        // "status" and "finalize" are subresources of the namespace, anything else is a resource in it.
        if !matches!(rest, [] | ["status" | "finalize", ..]) {
            parts = rest;
        }
    }
    let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
    (attributes.resource, attributes.name, attributes.subresource) = (part(0), part(1), part(2));
    Ok(())
}

fn settle_verb(attributes: &mut Attributes) {
    let named = !attributes.name.is_empty();
    match attributes.verb.as_str() {
        // On an object that is named in the path the parameter means nothing; nobody after us is to think otherwise.
        "get" if named => attributes.query.retain(|(k, _)| k != "watch"),
        "get" => {
            let watch = attributes.parameter("watch").is_some_and(|v| !v.eq_ignore_ascii_case("false") && v != "0");
            attributes.verb = if watch { "watch" } else { "list" }.to_owned();
            let pinned = attributes.parameter("fieldSelector").and_then(field_selector::exact_name);
            attributes.name = pinned.unwrap_or_default();
        }
        "delete" if !named => attributes.verb = "deletecollection".to_owned(),
        _ => {}
    }
}

/// A collection takes new objects only, and only an object can be changed.
fn is_served_with(attributes: &Attributes) -> bool {
    let (named, sub) = (!attributes.name.is_empty(), !attributes.subresource.is_empty());
    match attributes.verb.as_str() {
        "create" => named == sub,
        "update" | "patch" => named,
        _ => true,
    }
}

fn segments(path: &str) -> Result<Vec<&str>, BadRequest> {
    if path.len() > MAX_PATH {
        return Err(BadRequest::TooLong);
    }
    let Some(relative) = path.strip_prefix('/') else { return Err(BadRequest::OddPath) };
    if relative.is_empty() {
        return Ok(Vec::new());
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:@+=,".contains(&b);
    let parts: Vec<&str> = relative.strip_suffix('/').unwrap_or(relative).split('/').collect();
    if parts.iter().any(|p| p.is_empty() || *p == "." || *p == ".." || !p.bytes().all(plain)) {
        return Err(BadRequest::OddPath);
    }
    Ok(parts)
}

fn query(raw: &str) -> Result<Vec<(String, String)>, BadRequest> {
    if raw.len() > MAX_QUERY {
        return Err(BadRequest::TooLong);
    }
    // Go refuses pairs with a raw semicolon, others split at it.
    if raw.contains(';') {
        return Err(BadRequest::OddQuery);
    }
    let pairs: Vec<(String, String)> = form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
    // The parser replaces what is no UTF-8; Kubernetes would keep the bytes.
    if pairs.iter().any(|(k, v)| k.contains('\u{fffd}') || v.contains('\u{fffd}')) {
        return Err(BadRequest::OddQuery);
    }
    let mut seen = HashSet::new();
    let again = pairs.iter().find(|(k, _)| !LISTS.contains(&k.as_str()) && !seen.insert(k.as_str()));
    if let Some((name, _)) = again {
        return Err(BadRequest::Repeated(name.clone()));
    }
    Ok(pairs)
}
