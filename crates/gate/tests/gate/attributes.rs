//! Attributes against the table of k8s.io/apiserver's own `requestinfo_test.go`, and paths that nobody should read.

use gate::{BadRequest, MAX_PATH, attributes};
use http::{Method, Uri};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

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
    // The field selector of the old form of a watch is not asked for a name, a selector that is wrong somewhere neither.
    ("GET", "/apis/g/v/watch/things?fieldSelector=metadata.name=a", ["watch", "g", "v", "", "things", "", ""]),
    ("GET", "/apis/g/v/things?fieldSelector=metadata.name=a,b", ["list", "g", "v", "", "things", "", ""]),
    ("GET", "/apis/g/v/things/a?fieldSelector=metadata.name=b", ["get", "g", "v", "", "things", "", "a"]),
    ("GET", "/apis/g/v/watch/namespaces/other", ["watch", "g", "v", "other", "namespaces", "", "other"]),
    ("DELETE", "/api/v1/nodes", ["deletecollection", "", "v1", "", "nodes", "", ""]),
    ("DELETE", "/api/v1/namespaces", ["deletecollection", "", "v1", "", "namespaces", "", ""]),
    (
        "DELETE",
        "/api/v1/namespaces/other/pods?labelSelector=a%3Db&resourceVersionMatch=Exact&resourceVersion=7",
        ["deletecollection", "", "v1", "other", "pods", "", ""],
    ),
    // An aggregated API is read like any other.
    ("GET", "/apis/metrics.k8s.io/v1beta1/nodes/n1", ["get", "metrics.k8s.io", "v1beta1", "", "nodes", "", "n1"]),
    ("GET", "/api/v1/namespaces/other/pods/foo/proxy/a/b", ["get", "", "v1", "other", "pods", "proxy", "foo"]),
    (
        "GET",
        "/api/v1/namespaces/other/services/web:80/proxy/",
        ["get", "", "v1", "other", "services", "proxy", "web:80"],
    ),
    (
        "POST",
        "/api/v1/namespaces/other/pods/foo/exec?command=a&command=b",
        ["create", "", "v1", "other", "pods", "exec", "foo"],
    ),
    // Without its namespace: no server serves it, and only who may act everywhere may ask.
    ("GET", "/api/v1/pods/foo", ["get", "", "v1", "", "pods", "", "foo"]),
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
    for repeated in ["fieldSelector=a&fieldSelector=b", "dryRun=&dryRun=All", "x=1&x=1", "container=a&%63ontainer=b"] {
        let found = derive("GET", &format!("/api/v1/pods?{repeated}"));
        assert!(matches!(found, Err(BadRequest::Repeated(_))), "{repeated}: {found:?}");
    }
}

#[test]
fn what_no_server_serves_is_refused() {
    let served_nowhere = [
        ("GET", "/api/v1/watch"),
        ("GET", "/api/v1/watch/namespaces/c-1/pods/a/log"),
        ("GET", "/api/v1/proxy/namespaces/other/pods/foo/x"),
        ("GET", "/api/v1/proxy"),
    ];
    for (method, target) in served_nowhere {
        assert_eq!(derive(method, target), Err(BadRequest::NoResource), "{target}");
    }
    // The authoriser would take the first four for watches and lists; done would be what the method says.
    let methods = [
        ("DELETE", "/api/v1/watch/namespaces/c-1/pods/a"),
        ("POST", "/api/v1/watch/namespaces/c-1/pods"),
        ("HEAD", "/api/v1/watch/pods"),
        ("HEAD", "/api/v1/pods?watch=1"),
        ("POST", "/api/v1/namespaces/c-1/pods/a"),
        ("PUT", "/api/v1/namespaces/c-1/pods"),
        ("PATCH", "/api/v1/pods"),
    ];
    for (method, target) in methods {
        assert_eq!(derive(method, target), Err(BadRequest::Method(method.into())), "{target}");
    }
}

#[test]
fn a_watch_of_what_is_named_is_a_plain_get_for_everybody() {
    let read = derive("GET", "/api/v1/namespaces/c-1/secrets/s?watch=true&limit=1").expect("attributes");
    assert_eq!((read.verb.as_str(), read.target().as_str()), ("get", "/api/v1/namespaces/c-1/secrets/s?limit=1"));
}

/// Pieces of which nasty request lines are made.
const PIECES: &[&str] = &[
    "api",
    "apis",
    "v1",
    "apps",
    "watch",
    "proxy",
    "namespaces",
    "c-1",
    "kube-system",
    "pods",
    "secrets",
    "status",
    "finalize",
    "log",
    "exec",
    "a",
    "",
    ".",
    "..",
    "%2e%2e",
    "%2f",
    "a%2fb",
    "%00",
    "a;b",
    "a:b",
    "*",
    "\u{fc}",
    "~",
    "+",
];
const PARAMETERS: &[&str] = &[
    "watch=1",
    "watch=0",
    "watch=False",
    "watch=yes",
    "watch",
    "%77atch=true",
    "Watch=1",
    "fieldSelector=metadata.name=a",
    "fieldSelector=metadata.name%3Db",
    "fieldSelector=metadata.name!=a",
    "labelSelector=a",
    "dryRun=All",
    "limit=1",
    "resourceVersionMatch=Exact",
    "",
    "=",
    "a%20b=c+d",
    "timeoutSeconds=1",
];

fn target() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(&["", "/api/v1", "/apis/apps/v1", "/api/v1/namespaces/c-1"][..]);
    let path = proptest::collection::vec(proptest::sample::select(PIECES), 0..7);
    let query = proptest::collection::vec(proptest::sample::select(PARAMETERS), 0..4);
    (known, path, query).prop_map(|(known, path, query)| {
        let path: String = path.iter().map(|piece| format!("/{piece}")).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("{known}{path}{query}")
    })
}

fn method() -> impl Strategy<Value = Method> {
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    proptest::sample::select(methods.to_vec())
}

/// Selectors, right and wrong, with the escapes that they have.
fn selector() -> impl Strategy<Value = String> {
    let term = (
        proptest::sample::select(&["metadata.name", "metadata.namespace", "Metadata.name", "data", ""][..]),
        proptest::sample::select(&["=", "==", "!=", "===", "=!", ""][..]),
        proptest::sample::select(&["a", "b", "default", "a,metadata.name", "a\\,b", "a\\", "a=b", " a", ""][..]),
    );
    let term = term.prop_map(|(field, operator, value)| format!("{field}{operator}{value}"));
    proptest::collection::vec(term, 0..3).prop_map(|terms| terms.join(","))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_selects_no_other_name_than_the_gate_read() {
    let cluster = embedded::Cluster::start(embedded::Options::default());
    let ask = |request: http::Request<kube::client::Body>| {
        let cluster = cluster.clone();
        async move {
            let answer = cluster.handle(request, embedded::Identity::admin()).await;
            let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("infallible").to_bytes();
            serde_json::from_slice::<serde_json::Value>(&body).expect("JSON")
        }
    };
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b"] {
        let body = serde_json::json!({"metadata": {"name": name}}).to_string();
        ask(crate::mock::request("POST", MAPS, Some("application/json"), body.as_bytes())).await;
    }
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut pinned = 0;
    for _ in 0..5_000 {
        let selector = selector().new_tree(&mut runner).expect("a selector").current();
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("fieldSelector", &selector).finish();
        let judged = derive("GET", &format!("{MAPS}?{query}")).expect("attributes");
        if judged.name.is_empty() {
            continue;
        }
        let list = ask(crate::mock::request("GET", &judged.target(), None, b"")).await;
        let names = list["items"].as_array().into_iter().flatten().map(|item| item["metadata"]["name"].clone());
        for name in names {
            assert_eq!(name, serde_json::json!(judged.name), "{selector}");
            pinned += 1;
        }
    }
    assert!(pinned > 10, "the selectors that pin a name find it: {pinned}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_server_reads_what_the_gate_judged(method in method(), target in target()) {
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        let Ok(judged) = attributes(&method, &uri) else { return Ok(()) };
        let forwarded: Uri = judged.target().parse().expect("a URI");
        match embedded::reading(&method, &forwarded) {
            // Served as something else than a resource, or not at all: then nothing is read and nothing is done.
            None => prop_assert!(!judged.is_resource, "{:?}", judged),
            Some(served) => {
                prop_assert!(judged.is_resource);
                prop_assert_eq!(served.verb, &judged.verb);
                prop_assert_eq!(&served.group, &judged.group);
                prop_assert_eq!(&served.version, &judged.version);
                prop_assert_eq!(&served.resource, &judged.resource);
                prop_assert_eq!(&served.subresource, &judged.subresource);
                // Authorisers count a namespace as its own, and take a name also from the selector of a collection.
                let own = served.resource == "namespaces" && served.namespace.is_empty();
                prop_assert_eq!(if own { &served.name } else { &served.namespace }, &judged.namespace);
                let collection = matches!(judged.verb.as_str(), "list" | "watch");
                let pinned = collection && served.name.is_empty() && target.contains("metadata.name");
                prop_assert!(pinned || served.name == judged.name, "{:?}", judged);
            }
        }
    }

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
