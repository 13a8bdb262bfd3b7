//! Bodies: decoded, compared with the path, judged as the object that would be stored, forwarded in one form.

use std::collections::BTreeSet;
use std::sync::Arc;

use gate::{Access, Hazard, Policy, Power, Rule};
use http::StatusCode;
use model::{Decision, Party};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::mock::{CASE, body_of, gate, gate_with, json_response, request};

const PODS: &str = "/api/v1/namespaces/c-1/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/c-1/deployments";

fn policy(hazards: &[Hazard]) -> Arc<Policy> {
    let rules = vec![Rule::resources(&["*"], &["*"], &["*"], &[CASE])];
    Arc::new(Policy::from_power(Power { rules, hazards: BTreeSet::from_iter(hazards.iter().copied()) }))
}

async fn status(method: &str, target: &str, content_type: &str, body: &[u8]) -> (u16, Value) {
    let (gate, _) = gate();
    let service = gate.service(Party::Plugin, policy(&[]));
    let response = service.oneshot(request(method, target, Some(content_type), body)).await.expect("infallible");
    (response.status().as_u16(), body_of(response).await)
}

#[tokio::test]
async fn what_cannot_be_decoded_is_not_forwarded() {
    let cases: [(&str, &str, &[u8], u16); 9] = [
        ("POST", "application/x-www-form-urlencoded", b"a=b", 415),
        ("POST", "application/cbor", b"\xd9\xd9\xf7\xa0", 415),
        ("POST", "text/plain", b"{}", 415),
        ("POST", "application/merge-patch+json", b"{}", 415),
        ("POST", "application/json", b"{\"a\":", 400),
        ("PATCH", "application/json", b"{}", 415),
        ("PATCH", "application/merge-patch+json", b"{\"a\":", 400),
        ("PATCH", "application/apply-patch+cbor", b"\xa0", 415),
        ("POST", "application/vnd.kubernetes.protobuf", b"k8s\x00\xff\xff\xff", 400),
    ];
    for (method, content_type, body, code) in cases {
        let target = if method == "PATCH" { format!("{PODS}/a") } else { PODS.to_owned() };
        let (found, answer) = status(method, &target, content_type, body).await;
        let fine = found == code || (code == 400 && found == 415);
        assert!(fine, "{method} {content_type}: {found} {answer}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let (gate, seen) = gate();
    let body = format!("{{\"data\": \"{}\"}}", "x".repeat(4 * 1024 * 1024));
    let r = request("POST", PODS, Some("application/json"), body.as_bytes());
    let response = gate.service(Party::Agent, policy(&[])).oneshot(r).await.expect("infallible");
    assert_eq!(response.status(), 413);
    assert_eq!((seen.last().decision, seen.last().status), (Decision::Refused, 413));
    assert!(seen.arrived().is_empty());
}

#[tokio::test]
async fn name_and_namespace_must_agree_with_the_path() {
    let body = |name: &str, namespace: &str| json!({"metadata": {"name": name, "namespace": namespace}}).to_string();
    let cases = [
        ("POST", PODS.to_owned(), body("a", "c-1"), 201),
        ("POST", PODS.to_owned(), body("a", ""), 201),
        ("POST", PODS.to_owned(), body("a", "kube-system"), 400),
        ("PUT", format!("{PODS}/a"), body("a", "c-1"), 200),
        ("PUT", format!("{PODS}/a"), body("b", "c-1"), 400),
        ("PUT", format!("{PODS}/a"), body("a", "other"), 400),
    ];
    for (method, target, body, code) in cases {
        assert_eq!(status(method, &target, "application/json", body.as_bytes()).await.0, code, "{method} {body}");
    }
}

#[tokio::test]
async fn the_options_of_a_delete_stand_in_one_place() {
    let body = br#"{"gracePeriodSeconds": 0}"#;
    // Kubernetes would delete for real here: with a body it does not ask the query.
    for option in ["dryRun=All", "gracePeriodSeconds=1", "propagationPolicy=Orphan"] {
        for path in [PODS.to_owned(), format!("{PODS}/a")] {
            let target = format!("{path}?{option}");
            assert_eq!(status("DELETE", &target, "application/json", body).await.0, 400, "{target}");
            assert_eq!(status("DELETE", &target, "application/json", b"").await.0, 200, "{target}");
        }
    }
    assert_eq!(status("DELETE", &format!("{PODS}/a"), "application/json", body).await.0, 200);
}

#[tokio::test]
async fn what_is_forwarded_is_what_was_judged() {
    let (gate, seen) = gate();
    // Of a member that is there twice readers take the first or the last; on the way there is one.
    let body = br#"{"metadata": {"name": "a"}, "spec": {"hostNetwork": true, "hostNetwork": false}}"#;
    let r = request("POST", PODS, Some("application/json; charset=utf-8"), body);
    let response = gate.service(Party::Plugin, policy(&[])).oneshot(r).await.expect("infallible");
    assert_eq!(response.status(), 201);
    let arrived = &seen.arrived()[0];
    assert_eq!(arrived.headers["content-type"], "application/json");
    assert_eq!(String::from_utf8_lossy(&arrived.body).matches("hostNetwork").count(), 1);
    assert_eq!(arrived.json()["spec"]["hostNetwork"], json!(false));

    let yaml = b"metadata:\n  name: a\nspec: {x: 1}\n";
    let r = request("PATCH", &format!("{PODS}/a?fieldManager=m"), Some("application/apply-patch+yaml"), yaml);
    gate.service(Party::Plugin, policy(&[])).oneshot(r).await.expect("infallible");
    let arrived = seen.arrived().into_iter().rfind(|a| a.method == "PATCH").expect("a patch");
    assert_eq!(arrived.headers["content-type"], "application/apply-patch+yaml");
    assert_eq!(arrived.json(), json!({"metadata": {"name": "a"}, "spec": {"x": 1}}));
}

#[tokio::test]
async fn every_pod_template_is_judged() {
    let privileged = json!({"containers": [{"name": "c", "securityContext": {"privileged": true}}]});
    let capable =
        json!({"containers": [], "initContainers": [{"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]});
    let host_path = json!({"containers": [], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]});
    let host_network = json!({"containers": [], "hostNetwork": true});
    let harmless =
        json!({"containers": [{"name": "c", "securityContext": {"privileged": false}}], "hostNetwork": false});
    let bodies = [
        (PODS, json!({"spec": privileged}), Some(Hazard::PrivilegedPods)),
        (PODS, json!({"spec": capable}), Some(Hazard::PrivilegedPods)),
        (DEPLOYMENTS, json!({"spec": {"template": {"spec": host_path}}}), Some(Hazard::HostPath)),
        (
            "/apis/batch/v1/namespaces/c-1/cronjobs",
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": host_network}}}}}),
            Some(Hazard::HostNamespaces),
        ),
        (
            "/apis/example.com/v1/namespaces/c-1/tools",
            json!({"spec": {"deep": [{"podSpec": host_network}]}}),
            Some(Hazard::HostNamespaces),
        ),
        (PODS, json!({"metadata": {"name": "a", "finalizers": ["x/y"]}, "spec": {}}), Some(Hazard::Finalizers)),
        (
            "/api/v1/namespaces/c-1/secrets",
            json!({"kind": "Secret", "type": "kubernetes.io/service-account-token"}),
            Some(Hazard::Tokens),
        ),
        // The baseline of the Pod Security Standards is the measure, not a list of what is known to be bad.
        (
            PODS,
            json!({"spec": {"containers": [{"securityContext": {"capabilities": {"add": ["net_raw"]}}}]}}),
            Some(Hazard::PrivilegedPods),
        ),
        (PODS, json!({"spec": {"containers": [{"securityContext": {"capabilities": {"add": ["CAP_CHOWN"]}}}]}}), None),
        (
            PODS,
            json!({"spec": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}}),
            Some(Hazard::PrivilegedPods),
        ),
        (PODS, json!({"spec": {"containers": [{"ports": [{"hostPort": 80}]}]}}), Some(Hazard::HostNamespaces)),
        (PODS, json!({"spec": {"containers": [{"ports": [{"hostPort": 0}]}]}}), None),
        (
            PODS,
            json!({"items": [{"spec": {"ephemeralContainers": [{"securityContext": {"privileged": true}}]}}]}),
            Some(Hazard::PrivilegedPods),
        ),
        // What the namespace of the case holds is the case's.
        (PODS, json!({"spec": {"serviceAccountName": "builder", "containers": []}}), None),
        (PODS, json!({"spec": {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}}), None),
        (PODS, json!({"metadata": {"name": "a", "annotations": {"hostPath": "no"}}, "spec": harmless}), None),
    ];
    for (target, body, hazard) in bodies {
        let expected = if hazard.is_some() { 403 } else { 201 };
        let (found, answer) = status("POST", target, "application/json", body.to_string().as_bytes()).await;
        assert_eq!(found, expected, "{body} {answer}");
        let Some(hazard) = hazard else { continue };
        assert!(answer["message"].as_str().is_some_and(|m| m.contains(&format!("unsafe: [{hazard}]"))), "{answer}");
        let (gate, _) = gate();
        let r = request("POST", target, Some("application/json"), body.to_string().as_bytes());
        let response = gate.service(Party::Plugin, policy(&[hazard])).oneshot(r).await.expect("infallible");
        assert_eq!(response.status(), 201, "granted, {body} passes");
    }
}

#[tokio::test]
async fn pods_elsewhere_get_nothing_that_is_others() {
    let bodies = [
        json!({"spec": {"serviceAccountName": "admin"}}),
        json!({"spec": {"serviceAccount": "admin"}}),
        json!({"spec": {"template": {"spec": {"serviceAccountName": "admin"}}}}),
        json!({"spec": {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}}),
        json!({"spec": {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]}}),
        json!({"spec": {"containers": [{"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}]}}),
        json!({"spec": {"initContainers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}}),
    ];
    let policy = Arc::new(Access::EditCluster.policy(CASE));
    let targets = ["/api/v1/namespaces/kube-system/pods", "/apis/apps/v1/namespaces/kube-system/deployments"];
    for (body, target) in bodies.iter().flat_map(|body| targets.map(|target| (body, target))) {
        let (gate, seen) = gate();
        let r = request("POST", target, Some("application/json"), body.to_string().as_bytes());
        let response = gate.service(Party::Agent, Arc::clone(&policy)).oneshot(r).await.expect("infallible");
        assert_eq!((response.status().as_u16(), seen.arrived().len()), (403, 0), "{target} {body}");
    }
    let own = [json!({"spec": {"serviceAccountName": "default"}}), json!({"spec": {"containers": []}})];
    for body in own {
        let (gate, _) = gate();
        let r = request("POST", targets[0], Some("application/json"), body.to_string().as_bytes());
        let response = gate.service(Party::Agent, Arc::clone(&policy)).oneshot(r).await.expect("infallible");
        assert_eq!(response.status(), 201, "{body}");
    }
}

#[tokio::test]
async fn patches_are_judged_on_their_result() {
    // The patch is harmless to look at; what comes of it is not.
    let result = json!({"spec": {"template": {"spec": {"containers": [{"securityContext": {"privileged": true}}]}}}});
    let (gate, seen) = gate_with(move |_| json_response(StatusCode::OK, &result));
    let patch =
        |body: &[u8]| request("PATCH", &format!("{DEPLOYMENTS}/web"), Some("application/json-patch+json"), body);
    let copy = br#"[{"op": "copy", "from": "/spec/x", "path": "/spec/template/spec/containers/0/securityContext"}]"#;
    let response = gate.service(Party::Plugin, policy(&[])).oneshot(patch(copy)).await.expect("infallible");
    assert_eq!(response.status(), 403);
    let arrived = seen.arrived();
    assert_eq!(arrived.len(), 2, "only the before-image was read and the dry run went out");
    assert!(arrived[1].target.ends_with("/deployments/web?dryRun=All"), "{}", arrived[1].target);
    assert!(seen.last().mutation && seen.last().decision == Decision::Denied);

    let scale = br#"[{"op": "replace", "path": "/spec/replicas", "value": 0}]"#;
    let response = gate.service(Party::Plugin, policy(&[])).oneshot(patch(scale)).await.expect("infallible");
    assert_eq!(response.status(), 200);
    assert_eq!(seen.arrived().len(), 4, "what touches no pod template needs no dry run");
}

#[tokio::test]
async fn a_patch_that_would_fail_is_answered_by_its_dry_run() {
    let (gate, seen) = gate_with(|_| json_response(StatusCode::CONFLICT, &json!({"kind": "Status", "code": 409})));
    let body = json!({"spec": {"template": {"spec": {"containers": []}}}}).to_string();
    let r = request(
        "PATCH",
        &format!("{DEPLOYMENTS}/web"),
        Some("application/strategic-merge-patch+json"),
        body.as_bytes(),
    );
    let response = gate.service(Party::Agent, policy(&[])).oneshot(r).await.expect("infallible");
    assert_eq!(response.status(), 409);
    assert_eq!(seen.arrived().len(), 1);
    assert_eq!((seen.last().decision, seen.last().status), (Decision::Allowed, 409));
}

#[tokio::test]
async fn finalizers_are_compared_with_what_is_there() {
    let (gate, _) = gate_with(|_| json_response(StatusCode::OK, &json!({"metadata": {"finalizers": ["a/b"]}})));
    let put = |finalizers: Value| {
        let body = json!({"metadata": {"name": "m", "finalizers": finalizers}}).to_string();
        request("PUT", "/api/v1/namespaces/c-1/configmaps/m", Some("application/json"), body.as_bytes())
    };
    for (finalizers, code) in [(json!(["a/b"]), 200), (json!([]), 403), (json!(["a/b", "c/d"]), 403)] {
        let service = gate.service(Party::Plugin, policy(&[]));
        let response = service.oneshot(put(finalizers.clone())).await.expect("infallible");
        assert_eq!(response.status(), code, "{finalizers}");
    }
    let response = gate.service(Party::Plugin, policy(&[Hazard::Finalizers])).oneshot(put(json!([]))).await;
    assert_eq!(response.expect("infallible").status(), 200);
}

#[tokio::test]
async fn dry_runs_are_no_mutations() {
    let (gate, seen) = gate();
    let options = br#"{"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}"#;
    let r = request("DELETE", &format!("{PODS}/a"), Some("application/json"), options);
    gate.service(Party::Agent, policy(&[])).oneshot(r).await.expect("infallible");
    assert!(!seen.last().mutation);
    gate.service(Party::Agent, policy(&[]))
        .oneshot(request("DELETE", &format!("{PODS}/a"), None, b""))
        .await
        .expect("infallible");
    assert!(seen.last().mutation);
}

#[tokio::test]
async fn agents_hear_of_pod_security_in_its_own_words() {
    let (gate, _) = gate();
    let body = json!({"metadata": {"name": "a"}, "spec": {"hostNetwork": true, "containers": []}}).to_string();
    let r = request("POST", PODS, Some("application/json"), body.as_bytes());
    let response = gate.service(Party::Agent, policy(&[])).oneshot(r).await.expect("infallible");
    assert_eq!(response.status(), 403);
    let message = body_of(response).await["message"].clone();
    assert_eq!(message, json!("pods is forbidden: violates PodSecurity \"baseline:latest\": host namespaces"));
}
