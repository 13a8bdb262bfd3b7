//! Attributes against the table of k8s.io/apiserver's own `requestinfo_test.go`, and paths that nobody should read.

use gate::{BadRequest, MAX_PATH, attributes};
use http::{Method, Uri};
use proptest::prelude::*;

/// method, target → verb, group, version, namespace, resource, subresource, name
type Row = (&'static str, &'static str, [&'static str; 7]);

const RESOURCES: &[Row] = &[
    ("GET", "/api/v1/namespaces", ["list", "", "v1", "", "namespaces", "", ""]),
    ("GET", "/api/v1/namespaces/other", ["get", "", "v1", "other", "namespaces", "", "other"]),
    ("PUT", "/api/v1/namespaces/other/finalize", ["update", "", "v1", "other", "namespaces", "finalize", "other"]),
    ("PUT", "/api/v1/namespaces/other/status", ["update", "", "v1", "other", "namespaces", "status", "other"]),
    ("GET", "/api/v1/namespaces/other/pods", ["list", "", "v1", "other", "pods", "", ""]),
    ("GET", "/api/v1/namespaces/other/pods/foo", ["get", "", "v1", "other", "pods", "", "foo"]),
    ("HEAD", "/api/v1/namespaces/other/pods/foo", ["get", "", "v1", "other", "pods", "", "foo"]),
    ("GET", "/api/v1/pods", ["list", "", "v1", "", "pods", "", ""]),
    ("HEAD", "/api/v1/pods", ["list", "", "v1", "", "pods", "", ""]),
    ("GET", "/api/v1/pods?watch=true", ["watch", "", "v1", "", "pods", "", ""]),
    ("GET", "/api/v1/pods?watch=1", ["watch", "", "v1", "", "pods", "", ""]),
    ("GET", "/api/v1/pods?watch", ["watch", "", "v1", "", "pods", "", ""]),
    ("GET", "/api/v1/pods?watch=False", ["list", "", "v1", "", "pods", "", ""]),
    ("GET", "/api/v1/pods?watch=0", ["list", "", "v1", "", "pods", "", ""]),
    ("GET", "/api/v1/namespaces/other/pods/foo?watch=true", ["get", "", "v1", "other", "pods", "", "foo"]),
    ("GET", "/api/v1/watch/pods", ["watch", "", "v1", "", "pods", "", ""]),
    ("GET", "/api/v1/watch/namespaces/other/pods", ["watch", "", "v1", "other", "pods", "", ""]),
    ("GET", "/api/v1/watch/namespaces/other/pods/foo", ["watch", "", "v1", "other", "pods", "", "foo"]),
    ("GET", "/api/v1/proxy/namespaces/other/pods/foo/x", ["proxy", "", "v1", "other", "pods", "", "foo"]),
    (
        "GET",
        "/api/v1/namespaces/other/pods?fieldSelector=metadata.name%3Dfoo",
        ["list", "", "v1", "other", "pods", "", "foo"],
    ),
    (
        "GET",
        "/api/v1/namespaces/other/pods?watch=1&fieldSelector=spec.nodeName%3Dn,metadata.name%3Dfoo",
        ["watch", "", "v1", "other", "pods", "", "foo"],
    ),
    ("GET", "/api/v1/nodes/n1/proxy/stats/summary", ["get", "", "v1", "", "nodes", "proxy", "n1"]),
    ("GET", "/api/v1/namespaces/other/pods/foo/log?follow=true", ["get", "", "v1", "other", "pods", "log", "foo"]),
    ("POST", "/api/v1/namespaces/other/pods/foo/exec", ["create", "", "v1", "other", "pods", "exec", "foo"]),
    ("POST", "/api/v1/namespaces/other/pods/foo/eviction", ["create", "", "v1", "other", "pods", "eviction", "foo"]),
    ("DELETE", "/api/v1/namespaces/other/pods/foo", ["delete", "", "v1", "other", "pods", "", "foo"]),
    ("DELETE", "/api/v1/namespaces/other/pods", ["deletecollection", "", "v1", "other", "pods", "", ""]),
    ("PATCH", "/api/v1/namespaces/other/pods/foo", ["patch", "", "v1", "other", "pods", "", "foo"]),
    ("POST", "/apis/apps/v1/namespaces/other/deployments", ["create", "apps", "v1", "other", "deployments", "", ""]),
    (
        "PUT",
        "/apis/apps/v1/namespaces/other/deployments/web/scale",
        ["update", "apps", "v1", "other", "deployments", "scale", "web"],
    ),
    (
        "GET",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
        ["get", "rbac.authorization.k8s.io", "v1", "", "clusterroles", "", "system:node"],
    ),
    ("GET", "/apis/example.com/v1/namespaces/a/b/c/d/e/f", ["get", "example.com", "v1", "a", "b", "d", "c"]),
];

fn derive(method: &str, target: &str) -> Result<gate::Attributes, BadRequest> {
    attributes(&method.parse::<Method>().expect("a method"), &target.parse::<Uri>().expect("a URI"))
}

#[test]
fn resources_are_read_as_kubernetes_reads_them() {
    for (method, target, [verb, group, version, namespace, resource, subresource, name]) in RESOURCES {
        let a = derive(method, target).unwrap_or_else(|e| panic!("{target}: {e}"));
        let found = [&a.verb, &a.group, &a.version, &a.namespace, &a.resource, &a.subresource, &a.name];
        assert_eq!(
            found.map(String::as_str),
            [*verb, group, version, namespace, resource, subresource, name],
            "{target}"
        );
        assert!(a.is_resource, "{target}");
    }
}

#[test]
fn other_paths_are_no_resources() {
    for target in
        ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/version", "/healthz", "/openapi/v3"]
    {
        let a = derive("GET", target).expect("attributes");
        assert!(!a.is_resource && a.verb == "get" && a.path == target && a.resource.is_empty(), "{target}");
    }
    assert_eq!(derive("POST", "/metrics").expect("attributes").verb, "post");
}

#[test]
fn paths_that_could_be_read_twice_are_refused() {
    let odd = [
        "//api/v1/pods",
        "/api//v1/pods",
        "/api/v1/pods/",
        "/api/v1/namespaces/a/../b/secrets",
        "/api/v1/./secrets",
        "/api/v1/namespaces/a%2fsecrets",
        "/api/v1/%73ecrets",
        "/api/v1/namespaces/c-1/pods/a;b",
        "/api/v1/namespaces/c-1/pods/a\\b",
    ];
    for target in odd {
        // What is no URI at all never reaches the gate.
        if let Ok(uri) = target.parse::<Uri>() {
            assert_eq!(attributes(&Method::GET, &uri), Err(BadRequest::OddPath), "{target}");
        }
    }
    let long = format!("/api/v1/{}", "a".repeat(MAX_PATH));
    assert_eq!(derive("GET", &long), Err(BadRequest::TooLong));
    assert_eq!(derive("GET", "/api/v1/pods?watch=0&watch=1"), Err(BadRequest::Repeated("watch".into())));
    assert_eq!(derive("GET", "/api/v1/pods?limit=1;watch=1"), Err(BadRequest::OddQuery));
    assert_eq!(derive("GET", "/api/v1/pods?labelSelector=%ff"), Err(BadRequest::OddQuery));
    assert_eq!(derive("TRACE", "/api/v1/pods"), Err(BadRequest::Method("TRACE".into())));
    assert_eq!(derive("GET", "/api/v1/watch"), Err(BadRequest::NoResource));
}

proptest! {
    #[test]
    fn what_is_judged_is_what_is_forwarded(
        path in "(/[a-z0-9.%~:-]{0,8}){0,8}",
        query in proptest::option::of("[a-zA-Z0-9=&%+,.-]{0,30}"),
    ) {
        let target = match &query { Some(q) => format!("{path}?{q}"), None => path.clone() };
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        let Ok(judged) = attributes(&Method::GET, &uri) else { return Ok(()) };
        let forwarded: Uri = judged.target().parse().expect("a URI");
        prop_assert_eq!(forwarded.path().as_bytes(), uri.path().as_bytes());
        // Reading what is forwarded once more changes nothing: there is one way to read it.
        let again = attributes(&Method::GET, &forwarded).expect("attributes");
        prop_assert_eq!(again.target(), judged.target());
        prop_assert_eq!(again, judged);
    }
}
