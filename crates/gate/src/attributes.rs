//! What a request asks for, derived as Kubernetes' own authoriser derives it (`RequestInfo` of k8s.io/apiserver).
//! Paths that two readers could read in two ways are refused here, so that what is judged is what is forwarded.

use http::{Method, Uri};

use crate::field_selector;

/// The longest path and the longest query that are read, in bytes.
pub const MAX_PATH: usize = 2048;
/// See [`MAX_PATH`].
pub const MAX_QUERY: usize = 16 * 1024;

/// Query parameters that decide what a request is; given twice, readers differ in which one counts.
const DECISIVE: [&str; 4] = ["watch", "fieldSelector", "dryRun", "follow"];

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
    /// A parameter that decides what the request is was given twice.
    #[error("the query parameter `{0}` is given more than once")]
    Repeated(String),
    /// Not one of GET, HEAD, POST, PUT, PATCH, DELETE.
    #[error("the method {0} is not known")]
    Method(String),
    /// `/api/v1/watch` and `/api/v1/proxy` without anything after them.
    #[error("the path names no resource")]
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
        _ => return Ok(attributes),
    };
    attributes.is_resource = true;
    attributes.verb = verb.to_owned();
    read_resource(&mut attributes, rest)?;
    settle_collection_verb(&mut attributes);
    Ok(attributes)
}

fn read_resource(attributes: &mut Attributes, mut parts: &[&str]) -> Result<(), BadRequest> {
    if let Some((special @ ("watch" | "proxy"), rest)) = parts.split_first().map(|(first, rest)| (*first, rest)) {
        if rest.is_empty() {
            return Err(BadRequest::NoResource);
        }
        attributes.verb = special.to_owned();
        parts = rest;
    }
    if let ["namespaces", namespace, rest @ ..] = parts {
        attributes.namespace = (*namespace).to_owned();
        // "status" and "finalize" are subresources of the namespace, anything else is a resource in it.
        if !matches!(rest, [] | ["status" | "finalize", ..]) {
            parts = rest;
        }
    }
    attributes.resource = parts.first().copied().unwrap_or_default().to_owned();
    attributes.name = parts.get(1).copied().unwrap_or_default().to_owned();
    if attributes.verb != "proxy" {
        attributes.subresource = parts.get(2).copied().unwrap_or_default().to_owned();
    }
    Ok(())
}

fn settle_collection_verb(attributes: &mut Attributes) {
    if !attributes.name.is_empty() {
        return;
    }
    match attributes.verb.as_str() {
        "get" => {
            let watch = attributes.parameter("watch").is_some_and(|v| !v.eq_ignore_ascii_case("false") && v != "0");
            attributes.verb = if watch { "watch" } else { "list" }.to_owned();
            let pinned = attributes.parameter("fieldSelector").and_then(field_selector::exact_name);
            attributes.name = pinned.unwrap_or_default();
        }
        "delete" => attributes.verb = "deletecollection".to_owned(),
        _ => {}
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
    let parts: Vec<&str> = relative.split('/').collect();
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
    for name in DECISIVE {
        if pairs.iter().filter(|(k, _)| k == name).count() > 1 {
            return Err(BadRequest::Repeated(name.to_owned()));
        }
    }
    Ok(pairs)
}
