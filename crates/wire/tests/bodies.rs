//! Bodies as kubectl sends them.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    if content.len() > 127 {
        bytes.push(u8::try_from(content.len() & 0x7f).unwrap() | 0x80);
        bytes.push(u8::try_from(content.len() >> 7).unwrap());
    } else {
        bytes.push(u8::try_from(content.len()).unwrap());
    }
    bytes.extend(content);
    bytes
}

/// `kubectl create deployment web --image=local/web:1 --replicas=2`: kubectl writes empty strings and messages too.
fn recorded_deployment() -> Bytes {
    let container = b"\x0a\x03web\x12\x0blocal/web:1\x2a\x00\x42\x00\x6a\x00\x72\x00\x80\x01\x00\x88\x01\x00\x90\x01\x00\xa2\x01\x00";
    let mut pod_spec = field(2, container);
    pod_spec.extend(b"\x1a\x00\x32\x00\x42\x00\x4a\x00\x52\x00\x58\x00\x60\x00\x68\x00\x82\x01\x00\x8a\x01\x00\x9a\x01\x00\xc2\x01\x00");
    let labels = b"\x0a\x03app\x12\x03web";
    let mut template_meta = b"\x0a\x00\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00".to_vec();
    template_meta.extend(field(11, labels));
    let mut template = field(1, &template_meta);
    template.extend(field(2, &pod_spec));
    let mut spec = b"\x08\x02".to_vec();
    spec.extend(field(2, &field(1, labels)));
    spec.extend(field(3, &template));
    spec.extend(b"\x22\x02\x0a\x00\x28\x00\x38\x00");
    let mut meta = b"\x0a\x03web\x12\x00\x1a\x04kc32\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00".to_vec();
    meta.extend(field(11, labels));
    let mut deployment = field(1, &meta);
    deployment.extend(field(2, &spec));
    deployment.extend(field(3, b"\x08\x00\x10\x00\x18\x00\x20\x00\x28\x00\x38\x00"));
    let mut body = b"k8s\0\x0a\x15\x0a\x07apps/v1\x12\x0aDeployment".to_vec();
    body.extend(field(2, &deployment));
    body.extend(b"\x1a\x00\x22\x00");
    Bytes::from(body)
}

#[test]
fn a_deployment_of_kubectl_is_read() {
    let value = wire::decode(wire::PROTOBUF, &recorded_deployment()).unwrap();
    assert_eq!(
        value,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "kc32", "labels": {"app": "web"}},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "local/web:1"}]},
                },
            },
        })
    );
}

#[test]
fn what_is_not_known_is_refused() {
    let mut body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x04".to_vec();
    body.extend(b"\xfa\x3e\x01x"); // field 1007
    let error = wire::decode(wire::PROTOBUF, &Bytes::from(body)).unwrap_err();
    assert_eq!(error.status(), 415);
    assert!(error.to_string().contains("field 1007 of ConfigMap"), "{error}");
    let body = Bytes::from_static(b"k8s\0\x0a\x08\x0a\x02v1\x12\x02Xy");
    assert_eq!(wire::decode(wire::PROTOBUF, &body).unwrap_err().status(), 415);
    assert_eq!(wire::decode("text/html", &body).unwrap_err().status(), 415);
}

#[test]
fn explicit_zeros_of_optional_fields_are_kept() {
    // DeploymentSpec { replicas: 0, minReadySeconds: 0 }
    let body = Bytes::from_static(b"k8s\0\x0a\x15\x0a\x07apps/v1\x12\x0aDeployment\x12\x06\x12\x04\x08\x00\x28\x00");
    let value = wire::decode(wire::PROTOBUF, &body).unwrap();
    assert_eq!(value["spec"], json!({"replicas": 0}));
}

#[test]
fn yaml_and_json_give_the_same() {
    let yaml = Bytes::from_static(b"apiVersion: v1\nkind: ConfigMap\ndata:\n  a: \"1\"\n  b: x\n");
    let json = Bytes::from_static(br#"{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1","b":"x"}}"#);
    let expected = wire::decode("application/json", &json).unwrap();
    assert_eq!(wire::decode("application/apply-patch+yaml", &yaml).unwrap(), expected);
    assert_eq!(wire::decode("application/yaml; charset=utf-8", &json).unwrap(), expected);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for media_type in ["application/json", "application/yaml", wire::PROTOBUF] {
            let _ = wire::decode(media_type, &Bytes::from(bytes.clone()));
        }
        for kind in ["v1\x12\x03Pod", "v1\x12\x05Event"] {
            let mut body = b"k8s\0\x0a".to_vec();
            body.push(u8::try_from(kind.len() + 2).unwrap());
            body.extend([0x0a, 2]);
            body.extend(kind.as_bytes());
            body.push(0x12);
            body.push(u8::try_from(bytes.len() & 0x7f).unwrap() | 0x80);
            body.push(u8::try_from(bytes.len() >> 7).unwrap());
            body.extend(&bytes);
            let _ = wire::decode(wire::PROTOBUF, &Bytes::from(body));
        }
    }
}
