//! The law of the write path: whatever goes wrong on the way, the cluster ends as if nothing had, and the journal says
//! what happened to each object.

use std::collections::BTreeMap;

use gate::{NONCE, Policy, State};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::server::{Fault, Scene};

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/c-1/networkpolicies";

#[derive(Clone, Debug)]
enum Deed {
    Create(u8),
    Replace(u8, u8),
    Merge(u8, u8),
    Append(u8, u8),
    Apply(u8, u8),
    Delete(u8),
    DeleteAll,
}

fn deed() -> impl Strategy<Value = Deed> {
    let (name, value) = (0..3u8, 1..200u8);
    prop_oneof![
        3 => name.clone().prop_map(Deed::Create),
        2 => (name.clone(), value.clone()).prop_map(|(n, v)| Deed::Replace(n, v)),
        2 => (name.clone(), value.clone()).prop_map(|(n, v)| Deed::Merge(n, v)),
        3 => (name.clone(), value.clone()).prop_map(|(n, v)| Deed::Append(n, v)),
        2 => (name.clone(), value).prop_map(|(n, v)| Deed::Apply(n, v)),
        2 => name.prop_map(Deed::Delete),
        1 => Just(Deed::DeleteAll),
    ]
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        5 => Just(None),
        1 => Just(Some(Fault::LostBefore)),
        1 => Just(Some(Fault::LostAfter)),
        1 => prop::sample::select(vec![500, 502, 503, 504]).prop_map(|code| Some(Fault::Code(code))),
        1 => prop::sample::select(vec![500, 502, 503, 504]).prop_map(|code| Some(Fault::CodeAfter(code))),
        1 => Just(Some(Fault::Busy(0))),
    ]
}

/// Never more than two in a row, so that patience is always enough.
fn faults() -> impl Strategy<Value = Vec<Option<Fault>>> {
    prop::collection::vec((fault(), fault()), 0..30)
        .prop_map(|pairs| pairs.into_iter().flat_map(|(a, b)| [a, b, None]).collect())
}

fn object(name: u8, ports: &[u8]) -> Value {
    let rules: Vec<Value> = ports.iter().map(|port| rule(*port)).collect();
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": format!("n-{name}")},
           "spec": {"podSelector": {}, "ingress": rules, "policyTypes": ["Ingress"]}})
}

fn rule(port: u8) -> Value {
    json!({"ports": [{"protocol": "TCP", "port": port}]})
}

async fn act(scene: &Scene, deed: &Deed) -> u16 {
    let path = |name: u8| format!("{POLICIES}/n-{name}");
    let (method, target, content_type, body) = match *deed {
        Deed::Create(n) => ("POST", POLICIES.to_owned(), "application/json", object(n, &[0])),
        Deed::Replace(n, v) => ("PUT", path(n), "application/json", object(n, &[v])),
        Deed::Merge(n, v) => {
            let patch = json!({"metadata": {"annotations": {"v": v.to_string()}}});
            ("PATCH", path(n), "application/merge-patch+json", patch)
        }
        Deed::Append(n, v) => {
            let patch = json!([{"op": "add", "path": "/spec/ingress/-", "value": rule(v)}]);
            ("PATCH", path(n), "application/json-patch+json", patch)
        }
        Deed::Apply(n, v) => {
            let target = format!("{}?fieldManager=m&force=true", path(n));
            ("PATCH", target, "application/apply-patch+yaml", object(n, &[v, v]))
        }
        Deed::Delete(n) => ("DELETE", path(n), "application/json", Value::Null),
        Deed::DeleteAll => ("DELETE", POLICIES.to_owned(), "application/json", Value::Null),
    };
    scene.send_as(&Policy::everything(), method, &target, content_type, &body).await.0
}

/// Everything that is there, without what differs from run to run.
async fn dump(scene: &Scene) -> Vec<Value> {
    let list = scene.get(POLICIES).await.expect("a list");
    let mut items = list["items"].as_array().expect("items").clone();
    for item in &mut items {
        let metadata = item["metadata"].as_object_mut().expect("metadata");
        for key in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            metadata.remove(key);
        }
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(NONCE);
        }
    }
    items
}

async fn check(deeds: &[Deed], faults: Vec<Option<Fault>>) -> Result<(), TestCaseError> {
    let (calm, rough) = (Scene::new().await, Scene::new().await);
    rough.fail(faults);
    for deed in deeds {
        let (expected, found) = (act(&calm, deed).await, act(&rough, deed).await);
        prop_assert_eq!(expected, found, "{:?}", deed);
    }
    prop_assert_eq!(dump(&calm).await, dump(&rough).await);

    let mut last: BTreeMap<String, Option<Value>> = BTreeMap::new();
    let (mut done, mut calm_done) = (0, 0);
    for entry in rough.entries().await {
        match entry.state {
            State::Done { after } => {
                let before = last.get(&entry.intent.key.path()).cloned().flatten();
                prop_assert_eq!(&entry.intent.before, &before, "each begins where the one before has ended");
                done += 1;
                last.insert(entry.intent.key.path(), after);
            }
            State::Refused => {}
            other => prop_assert!(false, "not settled: {:?}", other),
        }
    }
    for entry in calm.entries().await {
        calm_done += u32::from(matches!(entry.state, State::Done { .. }));
    }
    prop_assert_eq!(done, calm_done, "one entry for each write that took effect");
    for (path, after) in last {
        prop_assert_eq!(after, rough.get(&path).await, "{}", path);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_done_twice(deeds in prop::collection::vec(deed(), 1..12), faults in faults()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(check(&deeds, faults))?;
    }
}
