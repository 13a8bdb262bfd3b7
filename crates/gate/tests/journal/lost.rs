//! Answers that do not arrive: what took effect is found, what did not is sent again, and nothing is done twice.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use gate::{Entry, Intent, Journal, JournalError, Policy, State};
use serde_json::{Value, json};

use crate::server::{Fault, MAPS, PODS, Scene, map};

const NETWORK_POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/c-1/networkpolicies";

fn policy(ports: &[u32]) -> Value {
    let rules: Vec<Value> = ports.iter().map(|port| json!({"ports": [{"protocol": "TCP", "port": port}]})).collect();
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"},
           "spec": {"podSelector": {}, "ingress": rules, "policyTypes": ["Ingress"]}})
}

/// Ways to lose an answer: whether it took effect is all that differs.
fn losses() -> Vec<Vec<Fault>> {
    use Fault::{Code, CodeAfter, LostAfter, LostBefore};
    let mut all = vec![vec![LostBefore], vec![LostAfter], vec![LostBefore, LostAfter], vec![LostBefore; 3]];
    for code in [500, 502, 503, 504] {
        all.extend([vec![Code(code)], vec![CodeAfter(code)], vec![Code(code), CodeAfter(code)]]);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_neither_lost_nor_done_twice() {
    let append =
        json!([{"op": "add", "path": "/spec/ingress/-", "value": {"ports": [{"protocol": "TCP", "port": 2}]}}]);
    let merge = json!({"spec": {"ingress": policy(&[1, 2])["spec"]["ingress"]}});
    let cases: [(&str, &str, Value, Option<u16>); 6] = [
        ("POST", "application/json", policy(&[1, 2]), Some(201)),
        ("PUT", "application/json", policy(&[1, 2]), Some(200)),
        ("PATCH", "application/merge-patch+json", merge, Some(200)),
        ("PATCH", "application/json-patch+json", append, Some(200)),
        ("PATCH", "application/apply-patch+yaml", policy(&[1, 2]), Some(200)),
        ("DELETE", "application/json", Value::Null, None),
    ];
    for (method, content_type, body, made) in cases {
        for faults in losses() {
            let scene = Scene::new().await;
            let object = format!("{NETWORK_POLICIES}/n");
            if method != "POST" {
                scene.direct("POST", NETWORK_POLICIES, policy(&[1])).await;
            }
            let target = match content_type {
                _ if method == "POST" => NETWORK_POLICIES.to_owned(),
                "application/apply-patch+yaml" => format!("{object}?fieldManager=m&force=true"),
                _ => object.clone(),
            };
            scene.fail_writes(faults.clone());
            let (status, said) = scene.send_as(&Policy::everything(), method, &target, content_type, &body).await;
            let what = format!("{method} {content_type} {faults:?}: {said}");
            assert_eq!(status, made.unwrap_or(200), "{what}");
            let (_, after) = scene.done().await;
            let now = scene.get(&object).await;
            assert_eq!(after, now, "{what}");
            assert_eq!(now.is_some(), made.is_some(), "{what}");
            if let Some(now) = now {
                assert_eq!(now["spec"], policy(&[1, 2])["spec"], "{what}");
                assert_eq!(said["metadata"]["uid"], now["metadata"]["uid"], "{what}");
                assert!(now["metadata"]["generation"].as_i64() <= Some(2), "{what}");
            }
            assert_eq!(scene.gate.lost_since(), None);
        }
    }
}

#[tokio::test]
async fn a_lost_answer_and_a_rival_do_not_hide_each_other() {
    for lost in [Fault::LostBefore, Fault::LostAfter] {
        for method in ["PUT", "PATCH"] {
            let scene = Scene::new().await;
            scene.direct("POST", MAPS, map("m", "1")).await;
            let path = format!("{MAPS}/m");
            // The second look finds another version, whoever made it.
            let theirs = Fault::Rival(path.clone(), json!({"metadata": {"labels": {"theirs": "1"}}}));
            scene.fail([None, Some(lost.clone()), Some(theirs)]);
            let (status, said) = scene.send(method, &path, &map("m", "mine")).await;
            assert_eq!(status, 200, "{said}");
            let (_, after) = scene.done().await;
            let now = scene.get(&path).await;
            assert_eq!(now.as_ref().expect("a map")["data"]["k"], "mine", "{method} {lost:?}");
            assert_eq!(after, now, "{method} {lost:?}");
        }
    }
}

#[tokio::test]
async fn a_pod_that_goes_slowly_is_going() {
    let scene = Scene::new().await;
    let pod = json!({"metadata": {"name": "p", "finalizers": ["example.com/hold"]},
                     "spec": {"containers": [{"name": "c", "image": "i"}]}});
    scene.direct("POST", PODS, pod).await;
    scene.fail_writes([Fault::LostAfter]);
    let (status, said) = scene.send("DELETE", &format!("{PODS}/p"), &Value::Null).await;
    assert_eq!((status, &said["kind"]), (200, &json!("Pod")));
    let (_, after) = scene.done().await;
    assert!(after.expect("still there")["metadata"]["deletionTimestamp"].is_string());
    // The last finalizer takes the object with it, although the answer shows it.
    let patch = json!({"metadata": {"finalizers": null}});
    let (status, _) = scene.send("PATCH", &format!("{PODS}/p"), &patch).await;
    assert_eq!(status, 200);
    let last = scene.entries().await.pop().expect("an entry");
    let grace = scene.get(&format!("{PODS}/p")).await;
    assert_eq!(last.state, State::Done { after: grace });
}

#[tokio::test]
async fn a_busy_server_is_waited_for() {
    let scene = Scene::new().await;
    let begin = Instant::now();
    scene.fail([Some(Fault::Busy(1)), Some(Fault::Busy(0))]);
    assert_eq!(scene.send("POST", MAPS, &map("m", "1")).await.0, 201);
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(scene.methods(), ["POST", "POST", "POST"]);
    scene.fail([Some(Fault::Busy(0)), Some(Fault::Code(503)), Some(Fault::LostBefore)]);
    assert_eq!(scene.send("GET", &format!("{MAPS}/m"), &Value::Null).await.0, 200);
    assert_eq!(scene.methods().len(), 4);
    // A budget that forbids an eviction says so with a 429 that asks for nothing.
    scene.fail_writes([Fault::Status(json!({"kind": "Status", "code": 429, "reason": "TooManyRequests"}))]);
    assert_eq!(scene.send("DELETE", &format!("{MAPS}/m"), &Value::Null).await.0, 429);
    assert_eq!(scene.entries().await.pop().expect("an entry").state, State::Refused);
}

#[tokio::test]
async fn a_server_that_stays_away_is_said_to_be_away() {
    let scene = Scene::new().await;
    scene.direct("POST", MAPS, map("m", "1")).await;
    let path = format!("{MAPS}/m");
    assert_eq!(scene.gate.lost_since(), None);
    scene.fail(std::iter::once(None).chain(vec![Some(Fault::LostBefore); 200]));
    let (status, _) = scene.send("PATCH", &path, &json!({"data": {"k": "2"}})).await;
    assert_eq!(status, 503);
    assert_eq!(scene.entries().await.pop().expect("an entry").state, State::Unknown);
    let since = scene.gate.lost_since().expect("lost");
    let (status, _) = scene.send("PATCH", &path, &json!({"data": {"k": "3"}})).await;
    assert_eq!(status, 502, "what cannot be read is not written");
    assert_eq!(scene.entries().await.len(), 1);
    assert_eq!(scene.gate.lost_since(), Some(since));
    scene.fail([]);
    assert_eq!(scene.send("GET", &path, &Value::Null).await.1["data"]["k"], "1");
    assert_eq!(scene.gate.lost_since(), None);
}

#[tokio::test]
async fn an_error_that_lasts_is_the_answer() {
    let scene = Scene::new().await;
    let broken = json!({"kind": "Status", "code": 500, "reason": "InternalError", "message": "no webhook"});
    scene.fail_writes(vec![Fault::Status(broken.clone()); 20]);
    let (status, said) = scene.send("POST", MAPS, &map("m", "1")).await;
    assert_eq!((status, said), (500, broken));
    assert_eq!(scene.entries().await.pop().expect("an entry").state, State::Refused, "it left no trace");
    assert_eq!(scene.gate.lost_since(), None, "a server that says what is wrong is there");
}

/// A journal on a full disk.
#[derive(Debug)]
struct Full;

impl Journal for Full {
    fn intend(&self, _: Intent) -> BoxFuture<'_, Result<u64, JournalError>> {
        std::future::ready(Err(JournalError("no space left on /data/journal.db".to_owned()))).boxed()
    }

    fn settle(&self, _: u64, _: State) -> BoxFuture<'_, Result<(), JournalError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn entries(&self) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_sent() {
    let scene = Scene::with(|_, _| std::sync::Arc::new(Full)).await;
    scene.direct("POST", MAPS, map("m", "1")).await;
    let path = format!("{MAPS}/m");
    for (method, target, body) in [
        ("POST", MAPS, map("n", "1")),
        ("PUT", &path, map("m", "2")),
        ("PATCH", &path, json!({"data": {"k": "2"}})),
        ("DELETE", &path, Value::Null),
        ("DELETE", MAPS, Value::Null),
    ] {
        let (status, said) = scene.send(method, target, &body).await;
        assert_eq!((status, &said["reason"]), (500, &json!("InternalError")), "{method}");
        assert!(!said.to_string().contains("journal"), "{said}");
    }
    let sent: Vec<String> = scene.methods().into_iter().filter(|m| m != "GET" && !m.ends_with('?')).collect();
    assert!(sent.is_empty(), "{sent:?}");
}
