//! Requests through the gate in process: what is forwarded, answered, recorded.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use gate::{Access, GATE_DENIED, Gate, Limits, Policy, Power, Rule, Upstream};
use http::{Request, StatusCode};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use model::{Decision, Party};
use serde_json::json;
use tower::{BoxError, ServiceExt as _};

use crate::mock::{CASE, body_of, gate, gate_before, gate_within, json_response, request};

fn editor() -> Arc<Policy> {
    Arc::new(Access::EditCase.policy(CASE))
}

async fn send(gate: &Gate, party: Party, policy: &Arc<Policy>, request: Request<Body>) -> http::Response<Body> {
    gate.service(party, Arc::clone(policy)).oneshot(request).await.expect("infallible")
}

#[tokio::test]
async fn a_kube_client_works_and_every_request_is_recorded() {
    let (gate, seen) = gate();
    let client = gate.client(Party::Plugin, editor());
    assert_eq!(client.default_namespace(), CASE);
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let made =
        serde_json::from_value(json!({"metadata": {"name": "m"}, "data": {"k": "secret value"}})).expect("a map");
    maps.create(&PostParams::default(), &made).await.expect("created");
    let patch = Patch::Merge(json!({"data": {"k": "v"}}));
    maps.patch("m", &PatchParams::default(), &patch).await.expect("patched");
    maps.patch("m", &PatchParams { dry_run: true, ..PatchParams::default() }, &patch).await.expect("patched");

    let records = seen.records();
    let short: Vec<_> = records.iter().map(|r| (r.verb.as_str(), r.name.as_str(), r.mutation, r.status)).collect();
    assert_eq!(short, [("create", "m", true, 201), ("patch", "m", true, 200), ("patch", "m", false, 200)]);
    let text = serde_json::to_string(&records).expect("JSON");
    assert!(!text.contains("secret value"), "a record never holds a body");
    assert!(records.iter().all(|r| r.party == Party::Plugin && r.decision == Decision::Allowed && r.namespace == CASE));
}

#[tokio::test]
async fn a_made_up_name_is_made_here_and_recorded() {
    let (gate, seen) = gate();
    let pods: Api<Pod> = Api::default_namespaced(gate.client(Party::Agent, editor()));
    let pod = json!({"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made =
        pods.create(&PostParams::default(), &serde_json::from_value(pod).expect("a pod")).await.expect("created");
    let name = made.metadata.name.expect("a name");
    assert!(name.len() == 7 && name.starts_with("p-"), "{name}");
    assert_eq!(made.metadata.generate_name.as_deref(), Some("p-"));
    assert_eq!(seen.last().name, name);
}

#[tokio::test]
async fn denials_are_marked_for_failures_and_plain_for_agents() {
    let (gate, seen) = gate();
    let policy = Arc::new(Policy::new(Vec::new()).with_subject("failure `x`"));
    for (party, marked) in [(Party::Plugin, true), (Party::Script, true), (Party::Agent, false)] {
        let pods: Api<Pod> = Api::default_namespaced(gate.client(party, Arc::clone(&policy)));
        let error = pods.list(&ListParams::default()).await.expect_err("denied");
        let kube::Error::Api(status) = error else { panic!("{error}") };
        assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
        let causes = status.details.map(|d| d.causes).unwrap_or_default();
        assert_eq!(causes.first().is_some_and(|c| c.reason == GATE_DENIED), marked, "{party}");
        assert_eq!(status.message.contains("failure `x`"), marked, "{}", status.message);
        assert_eq!(status.message.contains("User \"user\" cannot list resource \"pods\""), !marked);
        // Who can add a line is told it; an agent is not, but the record has it.
        let line = "- {apiGroups: [\"\"], resources: [pods], verbs: [list], namespaces: [$(case)]}";
        assert_eq!(status.message.contains(line), marked, "{}", status.message);
        let record = seen.last();
        assert_eq!((record.party, record.verb.as_str(), record.resource.as_str()), (party, "list", "pods"));
        assert!(record.allow_with.contains(line), "{}", record.allow_with);
        assert_eq!(record.namespace, "c-1");
    }
    assert!(seen.arrived().is_empty());
    let record = seen.last();
    assert_eq!((record.decision, record.status, record.because.as_str()), (Decision::Denied, 403, "no rule allows it"));
}

#[tokio::test]
async fn credentials_and_impersonation_stay_here() {
    let (gate, seen) = gate();
    let mut request = request("GET", "/api/v1/namespaces/c-1/pods?limit=5&labelSelector=a%3Db", None, b"");
    for name in ["authorization", "impersonate-user", "impersonate-group", "x-remote-user", "cookie", "x-forwarded-for"]
    {
        request.headers_mut().insert(name, "mallory".parse().expect("a value"));
    }
    request.headers_mut().insert("accept", "application/json;as=Table".parse().expect("a value"));
    request.headers_mut().insert("user-agent", "failure-oom-killed/1.0".parse().expect("a value"));
    assert_eq!(send(&gate, Party::Agent, &editor(), request).await.status(), 200);
    let arrived = &seen.arrived()[0];
    assert_eq!(arrived.target, "/api/v1/namespaces/c-1/pods?limit=5&labelSelector=a%3Db");
    let names: Vec<&str> = arrived.headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(arrived.headers["user-agent"].to_str().expect("text").starts_with("kubectl/"));
}

#[tokio::test]
async fn a_script_is_not_told_from_the_host_by_its_field_manager() {
    let (gate, seen) = gate();
    let target = "/api/v1/namespaces/c-1/configmaps?fieldManager=kubectl-create&fieldValidation=Strict";
    for (party, manager) in [(Party::Script, "kubectl"), (Party::Agent, "kubectl-create")] {
        let body = br#"{"metadata": {"name": "m"}}"#;
        send(&gate, party, &editor(), request("POST", target, Some("application/json"), body)).await;
        let arrived = seen.arrived().pop().expect("a request").target;
        assert!(arrived.contains(&format!("fieldManager={manager}&")), "{party}: {arrived}");
    }
}

#[tokio::test]
async fn odd_paths_and_upgrades_are_refused_and_recorded() {
    let (gate, seen) = gate();
    let cases = [
        ("GET", "/api/v1/namespaces/c-1//pods", 400),
        ("GET", "/api/v1/namespaces/%63-1/pods", 400),
        ("TRACE", "/api/v1/namespaces/c-1/pods", 405),
        ("POST", "/api/v1/namespaces/c-1/pods/a/exec?command=sh", 400),
    ];
    for (method, target, code) in cases {
        let response = send(&gate, Party::Agent, &editor(), request(method, target, None, b"")).await;
        assert_eq!(response.status(), code, "{target}");
        assert_eq!(body_of(response).await["code"], json!(code), "{target}");
        let record = seen.last();
        assert_eq!((record.decision, record.status), (Decision::Refused, code), "{target}");
    }
    let reader = Arc::new(Access::ReadCase.policy(CASE));
    let exec = request("POST", "/api/v1/namespaces/c-1/pods/a/exec", None, b"");
    let response = send(&gate, Party::Agent, &reader, exec).await;
    assert_eq!(response.status(), 403, "authorised first, refused then");
    assert!(seen.arrived().is_empty());
}

#[tokio::test]
async fn reviews_are_answered_from_the_policy() {
    let (gate, seen) = gate();
    let policy = Arc::new(Access::ReadCase.policy(CASE));
    let post = |target: &str, body: serde_json::Value| {
        request("POST", target, Some("application/json"), body.to_string().as_bytes())
    };
    for (verb, resource, allowed) in
        [("list", "pods", true), ("delete", "pods", false), ("get", "secrets", false), ("*", "*", false)]
    {
        let body = json!({"spec": {"resourceAttributes": {"namespace": CASE, "verb": verb, "resource": resource}}});
        let target = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let response = send(&gate, Party::Agent, &policy, post(target, body.clone())).await;
        assert_eq!(response.status(), 201);
        let answer = body_of(response).await;
        assert_eq!(answer["status"]["allowed"], json!(allowed), "{verb} {resource}");
        assert_eq!(answer["spec"], body["spec"]);
    }
    let target = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(send(&gate, Party::Agent, &policy, post(target, json!({"spec": {}}))).await.status(), 422);

    let target = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let answer =
        body_of(send(&gate, Party::Agent, &policy, post(target, json!({"spec": {"namespace": "other"}}))).await).await;
    let rules = answer["status"]["resourceRules"].as_array().expect("rules").clone();
    assert!(!rules.iter().any(|r| r["resources"].as_array().is_some_and(|r| r.contains(&json!("pods")))), "{rules:?}");

    let target = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = body_of(send(&gate, Party::Agent, &policy, post(target, json!({}))).await).await;
    assert_eq!(answer["status"]["userInfo"]["username"], json!("user"));
    assert!(seen.arrived().is_empty(), "the cluster is not asked");
    assert!(seen.records().iter().all(|r| !r.mutation && r.verb == "create"));
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_reads_and_not_writes() {
    let (release, gate_open) = tokio::sync::watch::channel(false);
    let upstream = Upstream::new(tower::service_fn(move |_: Request<Body>| {
        let mut open = gate_open.clone();
        async move {
            open.wait_for(|o| *o).await?;
            Ok::<_, BoxError>(json_response(StatusCode::OK, &json!({})))
        }
    }));
    let (gate, seen) = gate_before(upstream);
    for (method, target) in [("DELETE", "/api/v1/namespaces/c-1/pods/a"), ("GET", "/api/v1/namespaces/c-1/pods/a")] {
        let policy = editor();
        let call = send(&gate, Party::Agent, &policy, request(method, target, None, b""));
        assert!(call.now_or_never().is_none(), "the server has not answered yet");
        // The write's own task must get as far as the server before the next request is made.
        tokio::task::yield_now().await;
    }
    let read = seen.last();
    assert_eq!((read.verb.as_str(), read.status), ("get", 0), "a read that nobody waits for is recorded as broken off");
    assert_eq!(seen.records().len(), 1, "the write goes on");
    release.send_replace(true);
    gate.settled().await;
    let write = seen.last();
    assert_eq!((write.verb.as_str(), write.status, write.mutation), ("delete", 200, true));
}

#[tokio::test]
async fn an_api_server_that_cannot_be_reached_is_a_502() {
    let upstream = Upstream::new(tower::service_fn(|_: Request<Body>| async {
        Err::<http::Response<Body>, BoxError>("10.0.0.5 refused".into())
    }));
    let (gate, seen) = gate_before(upstream);
    let response = send(&gate, Party::Plugin, &editor(), request("GET", "/api/v1/nodes", None, b"")).await;
    assert_eq!(response.status(), 502);
    assert!(!body_of(response).await.to_string().contains("10.0.0.5"));
    assert_eq!(seen.last().status, 0);
}

#[tokio::test]
async fn only_what_both_sides_allow_passes() {
    let (gate, _seen) = gate();
    let power = |verbs: &[&str]| Power {
        rules: vec![Rule::resources(&[""], &["configmaps"], verbs, &[CASE])],
        ..Power::default()
    };
    let policy = Arc::new(Policy::intersection(power(&["get", "delete"]), power(&["get", "patch"])));
    for (method, code) in [("GET", 200), ("DELETE", 403), ("PATCH", 403)] {
        let r = request(method, "/api/v1/namespaces/c-1/configmaps/m", Some("application/merge-patch+json"), b"{}");
        assert_eq!(send(&gate, Party::Plugin, &policy, r).await.status(), code, "{method}");
    }
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_a_504() {
    let silent = Upstream::new(tower::service_fn(|_: Request<Body>| std::future::pending::<Result<_, BoxError>>()));
    let limits = Limits { answer: Duration::from_millis(50), ..Limits::default() };
    let (gate, seen) = gate_within(silent, limits);
    for (method, target) in [("GET", "/api/v1/nodes"), ("DELETE", "/api/v1/namespaces/c-1/pods/a")] {
        let response = send(&gate, Party::Agent, &editor(), request(method, target, None, b"")).await;
        assert_eq!(response.status(), 504, "{method}");
        assert_eq!((seen.last().decision, seen.last().status), (Decision::Allowed, 0));
    }
    gate.settled().await;
    let policy = editor();
    let watch = send(&gate, Party::Agent, &policy, request("GET", "/api/v1/namespaces/c-1/pods?watch=1", None, b""));
    assert!(tokio::time::timeout(Duration::from_millis(200), watch).await.is_err(), "a watch may be silent");
}

/// What `kubectl auth can-i delete pods` of 1.32 sends.
const CAN_I: &str = "6b3873000a320a17617574686f72697a6174696f6e2e6b38732e696f2f7631121753656c665375626a65637441636365737352657669\
                     6577123c0a100a0012001a0022002a00320038004200121e0a1c0a046b633332120664656c6574651a0022002a04706f64733200\
                     3a001a08080012001a0020001a002200";
/// What `kubectl create configmap cfg --from-literal=a=b` sends.
const CREATE: &str = "6b3873000a0f0a0276311209436f6e6669674d617012210a170a0363666712001a046b63333222002a003200380042001206\
                      0a01611201621a002200";

#[tokio::test]
async fn protobuf_is_read_judged_and_sent_as_json() {
    let (gate, seen) = gate();
    let post = |target: &str, hex: &str| {
        request("POST", target, Some("application/vnd.kubernetes.protobuf"), &hex::decode(hex).expect("hex"))
    };
    let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (access, allowed) in [(Access::ReadCase, false), (Access::EditCase, true)] {
        let policy = Arc::new(access.policy("kc32"));
        let answer = body_of(send(&gate, Party::Agent, &policy, post(review, CAN_I)).await).await;
        assert_eq!(answer["status"]["allowed"], json!(allowed), "{answer}");
        assert_eq!(answer["spec"]["resourceAttributes"]["resource"], json!("pods"));
    }
    let policy = Arc::new(Access::EditCase.policy("kc32"));
    let maps = "/api/v1/namespaces/kc32/configmaps?fieldManager=kubectl-create";
    assert_eq!(send(&gate, Party::Agent, &policy, post(maps, CREATE)).await.status(), 201);
    let arrived = &seen.arrived()[0];
    assert_eq!(arrived.headers["content-type"], "application/json");
    assert_eq!((&arrived.json()["metadata"]["name"], &arrived.json()["data"]), (&json!("cfg"), &json!({"a": "b"})));
    assert_eq!(seen.last().name, "cfg");
}
