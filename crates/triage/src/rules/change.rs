//! What the last rollout changed: the template that pods run now against the one before it. A fault that came with a
//! rollout most likely lies in what the rollout changed.

use serde_json::Value;

use crate::snapshot::{Snapshot, text};

/// The ReplicaSets of a Deployment, the newest revision first.
pub(crate) fn revisions<'a>(snapshot: &'a Snapshot, deployment: &str) -> Vec<&'a Value> {
    let owned = |set: &&Value| {
        let owners = set.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        owners.is_some_and(|owners| owners.iter().any(|o| o["kind"] == "Deployment" && o["name"] == *deployment))
    };
    let mut sets: Vec<&Value> = snapshot.all("ReplicaSet").iter().filter(owned).collect();
    sets.sort_by_key(|set| std::cmp::Reverse((revision(set), text(set, "/metadata/creationTimestamp"))));
    sets
}

/// The revision number that the deployment controller wrote.
pub(crate) fn revision(replica_set: &Value) -> i64 {
    let annotations = &replica_set["metadata"]["annotations"];
    annotations["deployment.kubernetes.io/revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The parts of the pod template that differ between the two newest revisions of the Deployment above `pod`, as words of
/// the taxonomy; none when there is no earlier revision, or the pod is not of the newest.
pub(crate) fn what_changed(snapshot: &Snapshot, pod: &Value) -> Option<Vec<&'static str>> {
    let owners = snapshot.owners(pod);
    let deployment = owners.iter().find(|owner| owner.kind == "Deployment")?;
    let set = owners.iter().find(|owner| owner.kind == "ReplicaSet")?;
    let revisions = revisions(snapshot, &deployment.name);
    let (new, old) = (revisions.first()?, revisions.get(1)?);
    if text(new, "/metadata/name") != set.name {
        return None;
    }
    Some(differences(&new["spec"]["template"]["spec"], &old["spec"]["template"]["spec"]))
}

/// Which kinds of fault the difference of two pod specs could bring.
pub(crate) fn differences(new: &Value, old: &Value) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (fault_type, fields) in CONTAINER_FIELDS {
        let differs = |field: &&str| of_containers(new, "containers", field) != of_containers(old, "containers", field);
        if fields.iter().any(|field| differs(field)) {
            found.push(*fault_type);
        }
    }
    for (fault_type, fields) in POD_FIELDS {
        if fields.iter().any(|field| new[*field] != old[*field]) {
            found.push(*fault_type);
        }
    }
    found
}

const CONTAINER_FIELDS: &[(&str, &[&str])] = &[
    ("image", &["image"]),
    ("command", &["command", "args", "workingDir"]),
    ("resource-limit", &["resources"]),
    ("configuration", &["env", "envFrom", "volumeMounts"]),
    ("probe", &["livenessProbe", "readinessProbe", "startupProbe"]),
];

const POD_FIELDS: &[(&str, &[&str])] = &[
    ("init-container", &["initContainers"]),
    ("scheduling", &["nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "nodeName"]),
    ("configuration", &["volumes"]),
    ("permission", &["serviceAccountName"]),
];

fn of_containers<'a>(spec: &'a Value, list: &str, field: &str) -> Vec<(&'a Value, &'a Value)> {
    let containers = spec[list].as_array().into_iter().flatten();
    let mut values: Vec<_> = containers.map(|container| (&container["name"], &container[field])).collect();
    values.sort_by_key(|(name, _)| name.as_str());
    values
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_what_they_can_break() {
        let spec = |container: Value| json!({"containers": [container]});
        let old = spec(json!({"name": "a", "image": "x:1", "command": ["run"]}));
        assert!(differences(&old, &old).is_empty());
        assert_eq!(differences(&spec(json!({"name": "a", "image": "x:2", "command": ["run"]})), &old), ["image"]);
        assert_eq!(differences(&spec(json!({"name": "a", "image": "x:1"})), &old), ["command"]);
        let limited = spec(json!({"name": "a", "image": "x:1", "command": ["run"], "resources": {"limits": {}}}));
        assert_eq!(differences(&limited, &old), ["resource-limit"]);
    }
}
