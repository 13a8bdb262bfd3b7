//! How the server reads a request line, for those who must read it in the same way before it gets here.

use http::{Method, Uri};

use crate::request::{Path, Query, Verb, parse_path};

/// What a request asks for, as this server serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Namespace in the path, or empty; a namespace is in none.
    pub namespace: String,
    /// Name in the path, or empty.
    pub name: String,
}

/// Reads a request line with the code that serves it; none when it is no resource or is not served with this method.
pub fn reading(method: &Method, uri: &Uri) -> Option<Reading> {
    let Path::Resource(target) = parse_path(uri) else { return None };
    let verb = Verb::of(method, &target, &Query::parse(uri))?.as_str();
    Some(Reading {
        verb,
        group: target.group,
        version: target.version,
        resource: target.plural,
        subresource: target.subresource.unwrap_or_default(),
        namespace: target.namespace.unwrap_or_default(),
        name: target.name.unwrap_or_default(),
    })
}
