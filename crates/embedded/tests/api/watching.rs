//! Watches: order, selectors, resuming, expiry; and kube-rs on top of them.

use std::time::Duration;

use embedded::{Cluster, Identity};
use futures::{StreamExt, TryStreamExt};
use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use serde_json::{Value, json};

use crate::client::{Events, call, create, get, namespace, send, still};

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

async fn watch(cluster: &Cluster, query: &str) -> Events {
    Events::new(send(cluster, "GET", &format!("{MAPS}?watch=true{query}"), &[], "").await)
}

async fn map(cluster: &Cluster, name: &str, label: &str) {
    create(cluster, MAPS, json!({"metadata": {"name": name, "labels": {"l": label}}})).await;
}

fn pair(kind: &str, name: &str) -> Option<(String, String)> {
    Some((kind.to_owned(), name.to_owned()))
}

#[tokio::test]
async fn an_object_that_leaves_a_selection_is_deleted_for_its_watcher() {
    let cluster = still();
    namespace(&cluster, "a").await;
    map(&cluster, "x", "yes").await;
    let mut events = watch(&cluster, "&labelSelector=l%3Dyes").await;
    assert_eq!(events.summary().await, pair("ADDED", "x"));
    map(&cluster, "other", "no").await;
    call(&cluster, "PATCH", &format!("{MAPS}/x"), json!({"metadata": {"labels": {"l": "no"}}})).await;
    assert_eq!(events.summary().await, pair("DELETED", "x"));
    call(&cluster, "PATCH", &format!("{MAPS}/x"), json!({"metadata": {"labels": {"l": "yes"}}})).await;
    assert_eq!(events.summary().await, pair("ADDED", "x"));
    call(&cluster, "DELETE", &format!("{MAPS}/x"), json!(null)).await;
    assert_eq!(events.summary().await, pair("DELETED", "x"));
}

#[tokio::test]
async fn a_watch_goes_on_from_a_resource_version_and_expires_with_the_history() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let (_, list) = get(&cluster, MAPS).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    map(&cluster, "one", "1").await;
    map(&cluster, "two", "2").await;
    let mut events = watch(&cluster, &format!("&resourceVersion={version}")).await;
    assert_eq!(events.summary().await, pair("ADDED", "one"));
    assert_eq!(events.summary().await, pair("ADDED", "two"));
    for n in 0..2_100 {
        let value = json!({"data": {"n": n.to_string()}});
        call(&cluster, "PATCH", &format!("{MAPS}/one"), value).await;
    }
    // The one that lags, and one that begins too late.
    let mut late = watch(&cluster, &format!("&resourceVersion={version}")).await;
    for events in [&mut events, &mut late] {
        let event = events.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)), "{event}");
        assert!(events.next().await.is_none());
    }
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let cluster = still();
    namespace(&cluster, "a").await;
    map(&cluster, "x", "1").await;
    let query = "&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&labelSelector=l";
    let mut events = watch(&cluster, query).await;
    assert_eq!(events.summary().await, pair("ADDED", "x"));
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_watch_ends_with_its_cluster() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let mut events = watch(&cluster, "&labelSelector=none").await;
    let ended = tokio::spawn(async move { events.next().await.is_none() });
    tokio::task::yield_now().await;
    drop(cluster);
    assert!(tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap());
}

#[tokio::test]
async fn pages_join_to_the_whole_list() {
    let cluster = still();
    for space in ["a", "b"] {
        namespace(&cluster, space).await;
        for name in ["p", "q", "r"] {
            create(&cluster, &format!("/api/v1/namespaces/{space}/secrets"), json!({"metadata": {"name": name}})).await;
        }
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let (_, page) = get(&cluster, &format!("/api/v1/secrets?limit=2&continue={token}")).await;
        for item in page["items"].as_array().unwrap() {
            names.push(format!(
                "{}/{}",
                item["metadata"]["namespace"].as_str().unwrap(),
                item["metadata"]["name"].as_str().unwrap()
            ));
        }
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(names, ["a/p", "a/q", "a/r", "b/p", "b/q", "b/r"]);
}

/// `namespace/name=value` of every ConfigMap, in pages of two; `between` runs after the first.
async fn in_pages(cluster: &Cluster, between: impl AsyncFnOnce()) -> (Vec<String>, Vec<Value>) {
    let (mut shown, mut revisions, mut token, mut between) = (Vec::new(), Vec::new(), String::new(), Some(between));
    loop {
        let path = format!("/api/v1/configmaps?labelSelector=mine&limit=2&continue={token}");
        let (status, page) = get(cluster, &path).await;
        assert_eq!(status, 200, "{page}");
        for item in page["items"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let metadata = &item["metadata"];
            shown.push(format!(
                "{}/{}={}",
                text(&metadata["namespace"]),
                text(&metadata["name"]),
                text(&item["data"]["v"])
            ));
        }
        revisions.push(page["metadata"]["resourceVersion"].clone());
        let Some(next) = page["metadata"]["continue"].as_str() else { return (shown, revisions) };
        token = next.to_owned();
        if let Some(between) = between.take() {
            between().await;
        }
    }
}

#[tokio::test]
async fn all_pages_of_a_list_show_one_revision() {
    let cluster = still();
    let map = |name: &str| json!({"metadata": {"name": name, "labels": {"mine": ""}}, "data": {"v": "1"}});
    for space in ["a", "b"] {
        namespace(&cluster, space).await;
        for name in ["p", "q", "r"] {
            create(&cluster, &format!("/api/v1/namespaces/{space}/configmaps"), map(name)).await;
        }
    }
    let (shown, revisions) = in_pages(&cluster, async || {
        let maps = "/api/v1/namespaces/b/configmaps";
        for turn in 2..5 {
            call(&cluster, "PATCH", &format!("{maps}/q"), json!({"data": {"v": turn.to_string()}})).await;
        }
        call(&cluster, "PATCH", &format!("{maps}/p"), json!({"metadata": {"labels": {"mine": null}}})).await;
        assert_eq!(call(&cluster, "DELETE", &format!("{maps}/r"), Value::Null).await.0, 200);
        create(&cluster, maps, map("qq")).await;
        assert_eq!(call(&cluster, "DELETE", &format!("{maps}/qq"), Value::Null).await.0, 200);
        create(&cluster, maps, map("s")).await;
        create(&cluster, maps, map("r")).await;
    })
    .await;
    assert_eq!(shown, ["a/p=1", "a/q=1", "a/r=1", "b/p=1", "b/q=1", "b/r=1"]);
    assert!(revisions.iter().all(|revision| revision == &revisions[0]), "{revisions:?}");
    let (now, _) = in_pages(&cluster, async || ()).await;
    assert_eq!(now, ["a/p=1", "a/q=1", "a/r=1", "b/q=4", "b/r=1", "b/s=1"]);
}

#[tokio::test]
async fn a_page_that_comes_too_late_says_how_to_go_on() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let maps = "/api/v1/namespaces/a/configmaps";
    for name in ["p", "q", "r"] {
        create(&cluster, maps, json!({"metadata": {"name": name}, "data": {"v": "0"}})).await;
    }
    let (_, first) = get(&cluster, &format!("{maps}?limit=1")).await;
    for turn in 0..2_100 {
        call(&cluster, "PATCH", &format!("{maps}/p"), json!({"data": {"v": turn.to_string()}})).await;
    }
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (status, expired) = get(&cluster, &format!("{maps}?limit=9&continue={token}")).await;
    assert_eq!((status, &expired["reason"]), (410, &json!("Expired")), "{expired}");
    let token = expired["metadata"]["continue"].as_str().unwrap();
    let (status, rest) = get(&cluster, &format!("{maps}?limit=9&continue={token}")).await;
    let names: Vec<&Value> = rest["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(
        (status, first["items"].as_array().unwrap().len() + names.len()),
        (200, 4),
        "{names:?}, kube-root-ca.crt too"
    );
}

fn kube_client(cluster: &Cluster) -> kube::Client {
    let cluster = cluster.clone();
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let answer = cluster.handle(request, Identity::admin());
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    kube::Client::new(service, "a")
}

#[tokio::test]
async fn kube_rs_reads_writes_and_watches() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let api: Api<ConfigMap> = Api::default_namespaced(kube_client(&cluster));
    let mut seen = Box::pin(watcher(api.clone(), watcher::Config::default()));
    while !matches!(seen.try_next().await.unwrap(), Some(watcher::Event::InitDone)) {}
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some("x".into()), ..ObjectMeta::default() },
        data: Some([("k".to_owned(), "v".to_owned())].into()),
        ..ConfigMap::default()
    };
    api.create(&PostParams::default(), &map).await.unwrap();
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"more": "1"}});
    let applied = api.patch("x", &PatchParams::apply("tester"), &Patch::Apply(&apply)).await.unwrap();
    assert_eq!(applied.data.unwrap().len(), 2);
    assert_eq!(api.list(&ListParams::default().labels("!none")).await.unwrap().items.len(), 2);
    api.delete("x", &kube::api::DeleteParams::default()).await.unwrap();
    let gone = async {
        while let Some(event) = seen.try_next().await.unwrap() {
            if let watcher::Event::Delete(map) = event {
                return map.metadata.name;
            }
        }
        None
    };
    let gone = tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    assert_eq!(gone.as_deref(), Some("x"));
    let mut rest = api.watch(&kube::api::WatchParams::default().timeout(1), "0").await.unwrap().boxed();
    while rest.try_next().await.unwrap().is_some() {}
}
