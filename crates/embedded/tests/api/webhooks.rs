//! Admission webhooks that answer over HTTPS, and such that do not.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use embedded::{Cluster, Options};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::client::{call, create, get, namespace};

/// A webhook server: refuses pods named `bad-…`, labels the others. Its URL and its certificate.
async fn serve() -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let review = read(&mut stream).await;
                let body = answer(&review["request"]).to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            });
        }
    });
    (format!("https://localhost:{port}/admit"), STANDARD.encode(cert.pem()))
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> Value {
    let mut text = Vec::new();
    loop {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).await.unwrap();
        assert!(n > 0, "the request ends too soon");
        text.extend_from_slice(&part[..n]);
        let Some(end) = text.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&text[..end]).to_lowercase();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().trim().parse().unwrap();
        if text.len() >= end + 4 + length {
            return serde_json::from_slice(&text[end + 4..]).unwrap();
        }
    }
}

fn answer(request: &Value) -> Value {
    let name = request["object"]["metadata"]["name"].as_str().unwrap_or_default();
    let mut response = json!({"uid": request["uid"], "allowed": !name.starts_with("bad-")});
    if response["allowed"] == true {
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}]);
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
        response["warnings"] = json!(["seen by a webhook"]);
    } else {
        response["status"] = json!({"code": 403, "message": "no bad pods here"});
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

async fn configure(cluster: &Cluster, kind: &str, name: &str, changes: Value) {
    let mut webhook = json!({
        "name": "pods.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 2,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    });
    for (key, value) in changes.as_object().unwrap() {
        webhook[key] = value.clone();
    }
    let path = format!("/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations", kind.to_lowercase());
    let object = json!({"metadata": {"name": name}, "webhooks": [webhook]});
    create(cluster, &path, object).await;
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "busybox:1.36", "command": ["sleep", "60"]}]}})
}

const PODS: &str = "/api/v1/namespaces/a/pods";

#[tokio::test]
async fn a_webhook_changes_and_refuses() {
    let (url, ca) = serve().await;
    let cluster = Cluster::start(Options { seed: 3, ..Options::default() });
    namespace(&cluster, "a").await;
    let config = json!({"clientConfig": {"url": url, "caBundle": ca}});
    configure(&cluster, "Mutating", "m", config.clone()).await;
    let made = create(&cluster, PODS, pod("good")).await;
    assert_eq!(made["metadata"]["labels"]["seen"], "yes", "{made}");
    let (code, refused) = call(&cluster, "POST", PODS, pod("bad-one")).await;
    let message = "admission webhook \"pods.example.com\" denied the request: no bad pods here";
    assert_eq!((code, &refused["message"]), (403, &json!(message)));
}

#[tokio::test]
async fn pods_of_controllers_are_asked_about_too() {
    let (url, ca) = serve().await;
    let cluster = Cluster::start(Options { seed: 3, ..Options::default() });
    namespace(&cluster, "a").await;
    configure(&cluster, "Validating", "v", json!({"clientConfig": {"url": url, "caBundle": ca}})).await;
    for name in ["good", "bad-set"] {
        let template = json!({"metadata": {"labels": {"a": name}}, "spec": pod(name)["spec"]});
        let spec = json!({"replicas": 1, "selector": {"matchLabels": {"a": name}}, "template": template});
        create(&cluster, "/apis/apps/v1/namespaces/a/deployments", json!({"metadata": {"name": name}, "spec": spec}))
            .await;
    }
    let clock = cluster.clock();
    let _hurry = clock.hurry();
    clock.sleep_until(clock.now() + Duration::from_secs(10)).await;
    let (_, good) = get(&cluster, "/apis/apps/v1/namespaces/a/deployments/good").await;
    assert_eq!(good["status"]["availableReplicas"], 1, "{}", good["status"]);
    let (_, bad) = get(&cluster, "/apis/apps/v1/namespaces/a/deployments/bad-set").await;
    let conditions = bad["status"]["conditions"].as_array().unwrap();
    let failure = conditions.iter().find(|c| c["type"] == "ReplicaFailure").expect("pods are refused");
    assert_eq!(failure["message"], "admission webhook \"pods.example.com\" denied the request: no bad pods here");
}

#[tokio::test]
async fn a_webhook_that_cannot_be_called_decides_by_its_failure_policy() {
    let (url, _) = serve().await;
    let cluster = Cluster::start(Options { seed: 3, ..Options::default() });
    namespace(&cluster, "a").await;
    let service = json!({"metadata": {"name": "idle"}, "spec": {"ports": [{"port": 443}]}});
    create(&cluster, "/api/v1/namespaces/a/services", service).await;
    let to_service = |name: &str| json!({"service": {"namespace": "a", "name": name, "path": "/x"}});
    let cases = [
        (json!({"url": url, "caBundle": ""}), "x509: certificate signed by unknown authority"),
        (json!({"url": "https://127.0.0.1:9/x"}), "dial tcp 127.0.0.1:9: connect: connection refused"),
        (to_service("gone"), "Post \"https://gone.a.svc:443/x?timeout=2s\": service \"gone\" not found"),
        (to_service("idle"), ":443: connect: connection refused"),
    ];
    for (number, (client, why)) in cases.into_iter().enumerate() {
        for policy in ["Fail", "Ignore"] {
            let changes = json!({"clientConfig": client, "failurePolicy": policy});
            configure(&cluster, "Validating", "v", changes).await;
            let name = format!("p{number}-{}", policy.to_lowercase());
            let (code, answer) = call(&cluster, "POST", PODS, pod(&name)).await;
            if policy == "Ignore" {
                assert_eq!(code, 201, "{answer}");
            } else {
                assert_eq!((code, &answer["reason"]), (500, &json!("InternalError")), "{answer}");
                let message = answer["message"].as_str().unwrap();
                let start =
                    "Internal error occurred: failed calling webhook \"pods.example.com\": failed to call webhook: ";
                assert!(message.starts_with(start) && message.contains(why), "{message}");
            }
            let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v";
            assert_eq!(call(&cluster, "DELETE", path, Value::Null).await.0, 200);
        }
    }
}
