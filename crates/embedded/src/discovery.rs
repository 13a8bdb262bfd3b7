//! What the server offers: discovery old and aggregated, version, health, OpenAPI.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::body::Body;
use crate::error::ApiError;
use crate::openapi;
use crate::registry::{Info, Registry, Storage};
use crate::request::{Query, negotiate};
use crate::respond::{self, Answer};
use crate::state::State;

/// The version that the cluster says it is, and whose recordings it follows.
pub(crate) const VERSION: &str = "v1.36.2";

/// Answers what is not a resource.
pub(crate) fn answer(state: &State, parts: &Parts, segments: &[String]) -> Response<Body> {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return respond::failure(&ApiError::method_not_allowed());
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let registry = &state.registry;
    let query = Query::parse(&parts.uri);
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz", rest @ ..] => health(segments[0], rest, &query),
        ["openapi", "v2"] => openapi::v2(&parts.headers),
        ["openapi", "v3", path @ ..] => openapi::v3(registry, path),
        _ => document(registry, parts, &segments),
    }
}

fn document(registry: &Registry, parts: &Parts, segments: &[&str]) -> Response<Body> {
    let accept = match negotiate(&parts.headers) {
        Ok(accept) => accept,
        Err(error) => return respond::failure(&error),
    };
    if let (Some(version), ["api"] | ["apis"]) = (&accept.discovery, segments) {
        return aggregated(registry, parts, segments[0] == "api", version);
    }
    let body = match segments {
        [] => json!({"paths": paths(registry)}),
        ["version"] => version(),
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.88.0.1:6443"}],
        }),
        ["apis"] => json!({"kind": "APIGroupList", "apiVersion": "v1",
            "groups": groups(registry).iter().map(|(name, versions)| group(name, versions)).collect::<Vec<_>>()}),
        ["apis", name] => match groups(registry).iter().find(|(group, _)| group == name) {
            Some((name, versions)) => {
                let mut body = group(name, versions);
                body["kind"] = json!("APIGroup");
                body["apiVersion"] = json!("v1");
                body
            }
            None => return not_found(),
        },
        ["api", "v1"] => resources(registry, "", "v1"),
        ["apis", group, version] if registry.has_version(group, version) => resources(registry, group, version),
        _ => return not_found(),
    };
    respond::document(Answer::new(200, body), accept.yaml)
}

fn not_found() -> Response<Body> {
    respond::text(404, "404 page not found\n")
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35", "gitVersion": VERSION, "gitCommit": "98b35193b2ac7a23a673325f5e9b830ecd5ba406",
        "gitTreeState": "clean", "buildDate": "2026-08-21T00:00:00Z", "goVersion": "go1.27.3", "compiler": "gc",
        "platform": "linux/amd64",
    })
}

fn health(which: &str, rest: &[&str], query: &Query) -> Response<Body> {
    const CHECKS: [&str; 4] = ["ping", "log", "etcd", "informer-sync"];
    match rest {
        [] if query.get("verbose").is_some() => {
            let mut text: String = CHECKS.iter().map(|check| format!("[+]{check} ok\n")).collect();
            text.push_str(&format!("{which} check passed\n"));
            respond::text(200, text)
        }
        [] => respond::text(200, "ok"),
        [check] if CHECKS.contains(check) => respond::text(200, "ok"),
        _ => not_found(),
    }
}

/// Groups in the order of the table, each with its versions, the preferred first.
fn groups(registry: &Registry) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
    for info in registry.iter().filter(|info| !info.resource.group.is_empty()) {
        match groups.iter_mut().find(|(name, _)| *name == info.resource.group) {
            Some((_, versions)) => {
                if !versions.contains(&info.resource.version) {
                    versions.push(info.resource.version);
                }
            }
            None => groups.push((info.resource.group, vec![info.resource.version])),
        }
    }
    groups
}

fn group(name: &str, versions: &[&str]) -> Value {
    let version = |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({
        "name": name, "versions": versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(version),
    })
}

fn paths(registry: &Registry) -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned(), "/apis/".to_owned()];
    for (group, versions) in groups(registry) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.extend(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    paths.sort();
    paths
}

fn subresource_kind(info: &Info, subresource: &str) -> (&'static str, Vec<&'static str>) {
    match subresource {
        "scale" => ("Scale", vec!["get", "patch", "update"]),
        "binding" => ("Binding", vec!["create"]),
        "eviction" => ("Eviction", vec!["create"]),
        "token" => ("TokenRequest", vec!["create"]),
        "log" => ("Pod", vec!["get"]),
        "exec" => ("PodExecOptions", vec!["create", "get"]),
        "attach" => ("PodAttachOptions", vec!["create", "get"]),
        "portforward" => ("PodPortForwardOptions", vec!["create", "get"]),
        "proxy" if info.resource.plural == "services" => {
            ("ServiceProxyOptions", vec!["create", "delete", "get", "patch", "update"])
        }
        "proxy" => ("PodProxyOptions", vec!["create", "delete", "get", "patch", "update"]),
        "finalize" => (info.resource.kind, vec!["update"]),
        _ => (info.resource.kind, vec!["get", "patch", "update"]),
    }
}

/// Where the kind of a subresource comes from, when not from the resource's own group.
fn foreign(subresource: &str) -> Option<(&'static str, &'static str)> {
    match subresource {
        "scale" => Some(("autoscaling", "v1")),
        "eviction" => Some(("policy", "v1")),
        "token" => Some(("authentication.k8s.io", "v1")),
        _ => None,
    }
}

fn resources(registry: &Registry, group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    let rows = registry.iter().filter(|i| i.resource.group == group && i.resource.version == version);
    for info in rows {
        let resource = &info.resource;
        let mut row = json!({
            "name": resource.plural, "singularName": info.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": info.verbs(),
        });
        if !info.short_names.is_empty() {
            row["shortNames"] = json!(info.short_names);
        }
        if !info.categories.is_empty() {
            row["categories"] = json!(info.categories);
        }
        if info.storage != Storage::Virtual {
            row["storageVersionHash"] = json!(storage_hash(registry, info));
        }
        list.push(row);
        for subresource in &info.subresources {
            let (kind, verbs) = subresource_kind(info, subresource);
            let mut row = json!({
                "name": format!("{}/{subresource}", resource.plural), "singularName": "",
                "namespaced": resource.namespaced, "kind": kind, "verbs": verbs,
            });
            if let Some((group, version)) = foreign(subresource) {
                row["group"] = json!(group);
                row["version"] = json!(version);
            }
            list.push(row);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list})
}

/// A short hash of how the objects are stored: the same in every version that shows them.
fn storage_hash(registry: &Registry, info: &Arc<Info>) -> String {
    let stored = registry.stored(info).resource;
    let digest = Sha256::digest(format!("{}/{}/{}", stored.group, stored.version, stored.kind));
    STANDARD.encode(&digest[..8])
}

/// One document with everything, in the form that clients since 1.27 ask for.
fn aggregated(registry: &Registry, parts: &Parts, core: bool, version: &str) -> Response<Body> {
    let document = registry.remembered(core, version, || Aggregated::of(registry, core, version));
    let unchanged =
        parts.headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()) == Some(document.tag.as_str());
    let (code, body) = if unchanged { (304, Bytes::new()) } else { (200, document.body.clone()) };
    let content_type = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let mut response = respond::build(code, &content_type, Body::whole(body));
    if let Ok(value) = HeaderValue::from_str(&document.tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// An aggregated document as it is sent, and its ETag.
#[derive(Clone, Debug)]
pub(crate) struct Aggregated {
    body: Bytes,
    tag: String,
}

impl Aggregated {
    fn of(registry: &Registry, core: bool, version: &str) -> Self {
        let groups = if core { vec![("", vec!["v1"])] } else { groups(registry) };
        let items: Vec<Value> = groups
            .iter()
            .map(|(name, versions)| {
                let versions: Vec<Value> =
                    versions.iter().map(|version| aggregated_version(registry, name, version)).collect();
                let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
                json!({"metadata": metadata, "versions": versions})
            })
            .collect();
        let body = json!({
            "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {},
            "items": items,
        });
        let text = body.to_string();
        let tag = format!("\"{}\"", hex::encode_upper(Sha512::digest(&text)));
        Self { body: Bytes::from(text + "\n"), tag }
    }
}

fn aggregated_version(registry: &Registry, group: &str, version: &str) -> Value {
    let kind = |kind: &str, custom: bool| {
        let (group, version) = if custom { (group, version) } else { ("", "") };
        json!({"group": group, "version": version, "kind": kind})
    };
    let resources: Vec<Value> = registry
        .iter()
        .filter(|info| info.resource.group == group && info.resource.version == version)
        .map(|info| {
            let mut row = json!({
                "resource": info.resource.plural, "responseKind": kind(info.resource.kind, info.custom),
                "scope": if info.resource.namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": info.singular, "verbs": info.verbs(),
            });
            if !info.short_names.is_empty() {
                row["shortNames"] = json!(info.short_names);
            }
            if !info.categories.is_empty() {
                row["categories"] = json!(info.categories);
            }
            if !info.subresources.is_empty() {
                let parts: Vec<Value> = info
                    .subresources
                    .iter()
                    .map(|name| {
                        let (of, verbs) = subresource_kind(info, name);
                        let mut of = kind(of, info.custom);
                        if let Some((group, version)) = foreign(name) {
                            of["group"] = json!(group);
                            of["version"] = json!(version);
                        }
                        json!({"subresource": name, "responseKind": of, "verbs": verbs})
                    })
                    .collect();
                row["subresources"] = json!(parts);
            }
            row
        })
        .collect();
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

/// A document's hash, as the index of OpenAPI documents names it.
pub(crate) fn hash(text: &str) -> String {
    hex::encode_upper(Sha512::digest(text))
}
