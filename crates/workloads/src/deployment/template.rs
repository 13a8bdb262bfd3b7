//! Whether two pod templates are the same but for what the controller itself writes into them.

use serde_json::{Map, Value};

/// Whether a deployment and a replica set have the same pod template, without the label that the controller adds
/// (`EqualIgnoreHash` of Kubernetes' own). A field that is null counts as missing.
pub(super) fn same(deployment: &Value, set: &Value) -> bool {
    let template = |object| Value::pointer(object, "/spec/template").unwrap_or(&Value::Null);
    parts(template(deployment), template(set), |key, a, b| match key {
        "metadata" => parts(a, b, |key, a, b| match key {
            "creationTimestamp" => true,
            "labels" => parts(a, b, |key, a, b| key == "pod-template-hash" || equal(a, b)),
            _ => equal(a, b),
        }),
        _ => equal(a, b),
    })
}

/// Compares two objects key by key; what is missing is null.
fn parts(a: &Value, b: &Value, same: impl Fn(&str, &Value, &Value) -> bool) -> bool {
    let (Value::Object(a), Value::Object(b)) = (a, b) else { return a == b };
    let at = |map: &'_ Map<String, Value>, key: &str| map.get(key).is_some_and(|value| !value.is_null());
    a.iter().all(|(key, value)| same(key, value, b.get(key).unwrap_or(&Value::Null)))
        && b.iter().all(|(key, value)| at(a, key) || same(key, &Value::Null, value))
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(_), Value::Object(_)) => parts(a, b, |_, a, b| equal(a, b)),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::same;

    #[test]
    fn the_label_of_the_controller_and_nulls_make_no_difference() {
        let container = json!({"name": "app", "image": "nginx:1.27", "command": null});
        let deployment = json!({"spec": {"template": {
            "metadata": {"labels": {"app": "web"}, "creationTimestamp": null}, "spec": {"containers": [container]},
        }}});
        let mut set = deployment.clone();
        set["spec"]["template"]["metadata"] = json!({"labels": {"app": "web", "pod-template-hash": "abc"}});
        set["spec"]["template"]["spec"]["containers"][0] = json!({"name": "app", "image": "nginx:1.27"});
        assert!(same(&deployment, &set) && same(&set, &deployment));
        let changes = [
            ("/spec/template/metadata/labels/app", json!("api")),
            ("/spec/template/spec/containers/0/image", json!("nginx:1.28")),
            ("/spec/template/spec/containers/0", json!({"name": "app", "image": "nginx:1.27", "args": ["-v"]})),
            ("/spec/template/spec/containers", json!([])),
            ("/spec/template/metadata", json!({"labels": {"app": "web"}, "annotations": {"at": "noon"}})),
        ];
        for (pointer, value) in changes {
            let mut other = set.clone();
            *other.pointer_mut(pointer).expect(pointer) = value;
            assert!(!same(&deployment, &other) && !same(&other, &deployment), "{pointer}");
        }
    }
}
