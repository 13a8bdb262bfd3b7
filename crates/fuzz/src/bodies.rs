//! Bodies in JSON, YAML and protobuf: what is read can be written and read again, and objects keep their form.

use bytes::Bytes;
use serde_json::Value;
use wire::canonical::canonical;
use wire::schema;

use crate::{is_same, protobuf};

/// Kinds that an input may be the raw message of, chosen by its first byte.
const KINDS: [(&str, &str); 12] = [
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "Event"),
    ("v1", "Secret"),
    ("batch/v1", "Job"),
    ("v1", "Node"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("authentication.k8s.io/v1", "TokenReview"),
    ("policy/v1", "Eviction"),
    ("v1", "DeleteOptions"),
];

pub(crate) fn hold(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    for media_type in ["application/json", "application/yaml"] {
        if let Ok(parsed) = wire::decode_noting(media_type, &body) {
            text(&parsed.value);
            form(parsed.value);
        }
    }
    if bytes.starts_with(b"k8s\0") {
        message(&body);
    } else if let Some((first, raw)) = bytes.split_first() {
        let (api_version, kind) = KINDS[usize::from(*first) % KINDS.len()];
        message(&Bytes::from(protobuf::envelope(api_version, kind, raw)));
    }
}

fn text(value: &Value) {
    let written = Bytes::from(value.to_string());
    for media_type in ["application/json", "application/yaml"] {
        match wire::decode_noting(media_type, &written) {
            Ok(again) => {
                assert!(is_same(&again.value, value), "{media_type}: {value} became {}", again.value);
                assert!(again.duplicates.is_empty(), "{media_type}: {:?}", again.duplicates);
            }
            Err(error) => panic!("{media_type}: {written:?} is not read: {error}"),
        }
    }
}

fn message(body: &Bytes) {
    let Ok(read) = wire::decode(wire::PROTOBUF, body) else { return };
    // An envelope may hold JSON, of kinds that the table does not have too.
    let written = match protobuf::encode(&read) {
        Ok(Some(written)) => Bytes::from(written),
        Ok(None) => return text(&read),
        Err(misfit) => panic!("what was read does not fit its type: {misfit}: {read}"),
    };
    match wire::decode(wire::PROTOBUF, &written) {
        Ok(again) => assert!(is_same(&again, &read), "{read} became {again}"),
        Err(error) => panic!("{read} cannot be read again: {error}"),
    }
    text(&read);
    form(read);
}

/// What the server has written it reads without a complaint, and it does not change from the second time on: the spelling
/// of a quantity may (`1.953125Ki`, `2000`, `2k`).
fn form(value: Value) {
    let of = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let Some(message) = schema::of_kind(&of("apiVersion"), &of("kind")) else { return };
    let Ok(first) = canonical(message, value, &mut Vec::new()) else { return };
    let again = |value: &Value| {
        let mut unknown = Vec::new();
        let again = canonical(message, value.clone(), &mut unknown);
        assert!(unknown.is_empty(), "{unknown:?} in {value}");
        again.unwrap_or_else(|misfit| panic!("{misfit}: {value}"))
    };
    let second = again(&first);
    assert_eq!(again(&second), second, "from {first}");
}
