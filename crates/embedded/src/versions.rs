//! Other versions and groups of one stored object: `autoscaling/v1`, `events.k8s.io/v1`, versions of custom resources.

use serde_json::{Map, Value, json};

use crate::registry::{Info, Storage};

fn moved(from: &mut Map<String, Value>, to: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (old, new) in names {
        if let Some(value) = from.remove(*old) {
            to.insert((*new).to_owned(), value);
        }
    }
}

const EVENT_NAMES: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// The stored object as `info` shows it.
pub(crate) fn to_version(info: &Info, stored: &Value) -> Value {
    // What was written when another version was stored shows as this one too.
    if !matches!(info.storage, Storage::AliasOf(_)) && !info.custom {
        return stored.clone();
    }
    let mut object = stored.clone();
    object["apiVersion"] = json!(info.resource.api_version());
    match (info.resource.group, info.resource.version) {
        ("events.k8s.io", _) => {
            if let Value::Object(map) = &mut object {
                let mut from = std::mem::take(map);
                moved(&mut from, map, &EVENT_NAMES);
                if let Some(component) = from.remove("reportingComponent") {
                    map.insert("reportingController".into(), component);
                }
                from.retain(|_, value| value != "");
                map.retain(|_, value| value != "");
                map.extend(from);
            }
        }
        ("autoscaling", "v1") => {
            let spec = &mut object["spec"];
            let metrics = spec.as_object_mut().and_then(|spec| spec.remove("metrics")).unwrap_or_default();
            let target = metrics.as_array().into_iter().flatten().find(|metric| metric["resource"]["name"] == "cpu");
            if let Some(value) = target.map(|metric| metric["resource"]["target"]["averageUtilization"].clone()) {
                object["spec"]["targetCPUUtilizationPercentage"] = value;
            }
            if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
                status.remove("conditions");
                status.remove("currentMetrics");
            }
        }
        _ => {}
    }
    object
}

/// What a client writes as `info`, as it is stored (whose row is `stored`).
pub(crate) fn to_stored(info: &Info, stored: &Info, mut object: Value) -> Value {
    if !matches!(info.storage, Storage::AliasOf(_)) {
        return object;
    }
    object["apiVersion"] = json!(stored.resource.api_version());
    match (info.resource.group, info.resource.version) {
        ("events.k8s.io", _) => {
            if let Value::Object(map) = &mut object {
                let mut from = std::mem::take(map);
                let back: Vec<(&str, &str)> = EVENT_NAMES.iter().map(|(old, new)| (*new, *old)).collect();
                moved(&mut from, map, &back);
                if let Some(controller) = from.remove("reportingController") {
                    map.insert("reportingComponent".into(), controller);
                }
                map.extend(from);
            }
        }
        ("autoscaling", "v1") => {
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
                && let Some(value) = spec.remove("targetCPUUtilizationPercentage")
            {
                let target = json!({"type": "Utilization", "averageUtilization": value});
                spec.insert(
                    "metrics".into(),
                    json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
                );
            }
        }
        _ => {}
    }
    object
}
