//! The Node object, its heartbeats and its lease.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use simulation::World;
use simulation::resources::{LEASES, NODES};

use super::{NAME, Shared};
use crate::NodeConfig;
use crate::fields::{after, name, put, seconds, uid};

const LEASE_NAMESPACE: &str = "kube-node-lease";
/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(10);
/// How often an unchanged status is reported.
const REPORT: Duration = Duration::from_secs(300);

pub(super) fn object(config: &NodeConfig, index: u32, now: Timestamp) -> Value {
    let name = format!("node-{}", index + 1);
    let [a, b, c, d] = config.first_address;
    let address = std::net::Ipv4Addr::from(u32::from_be_bytes([a, b, c, d]).wrapping_add(index << 8)).to_string();
    let resources = |memory: u64, storage: &str| {
        json!({
            "cpu": config.cpus.to_string(), "ephemeral-storage": storage, "hugepages-1Gi": "0", "hugepages-2Mi": "0",
            "memory": format!("{memory}Ki"), "pods": config.pods.to_string(),
        })
    };
    let images: Vec<Value> = config
        .images
        .iter()
        .filter_map(|image| shell::resolve(image).ok())
        .map(|image| json!({"names": [image.id, image.name], "sizeBytes": image.size}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            },
            "annotations": {"node.alpha.kubernetes.io/ttl": "0", "volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {},
        "status": {
            "capacity": resources(config.memory_kib, "264212084Ki"),
            "allocatable": resources(config.memory_kib.saturating_sub(102_400), "267847642337"),
            "conditions": conditions(&Value::Null, now),
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": "00000000000000000000000000000000", "systemUUID": "00000000000000000000000000000000",
                "bootID": "00000000-0000-0000-0000-000000000000", "kernelVersion": "6.1.0",
                "osImage": "Debian GNU/Linux 12 (bookworm)", "containerRuntimeVersion": "containerd://1.6.20",
                "kubeletVersion": "v1.36.2", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
            },
            "images": images,
        },
    })
}

/// What a healthy node says of itself; times of what has not changed stay.
fn conditions(node: &Value, now: Timestamp) -> Value {
    let at = seconds(now);
    let all = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let conditions = all.into_iter().map(|(kind, status, reason, message)| {
        let old = crate::fields::condition(node, kind).filter(|c| crate::fields::text(c, "/status") == status);
        let since = old.map_or_else(|| at.clone(), |c| crate::fields::text(c, "/lastTransitionTime").to_owned());
        json!({
            "type": kind, "status": status, "lastHeartbeatTime": at, "lastTransitionTime": since, "reason": reason,
            "message": message,
        })
    });
    Value::Array(conditions.collect())
}

/// Creates the node with its status and its lease.
pub(super) fn register(world: &mut dyn World, node: Value) {
    let status = node.get("status").cloned().unwrap_or(Value::Null);
    let Ok(stored) = world.create(&NODES, node, NAME) else { return };
    let mut with_status = (*stored).clone();
    put(&mut with_status, &["status"], status);
    // A status that creation has kept already is no change.
    let _ = world.update_status(&NODES, with_status, NAME);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": name(&stored), "namespace": LEASE_NAMESPACE,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name(&stored), "uid": uid(&stored)}],
        },
        "spec": {"holderIdentity": name(&stored), "leaseDurationSeconds": 40, "renewTime": micros(world.now())},
    });
    // Where that namespace is missing there is no lease, and nothing depends on it.
    let _ = world.create(&LEASES, lease, NAME);
    let at = after(world.now(), RENEW);
    world.wake_at(NAME, format!("node/{}", name(&stored)), at);
}

/// A node that was deleted comes back, as a running kubelet registers again only when it restarts: it stays away.
pub(super) fn registered_again(world: &mut dyn World, _config: &NodeConfig, node: &str) {
    world.cancel_wake(NAME, &format!("node/{node}"));
}

fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

pub(super) fn heartbeat(world: &mut dyn World, shared: &Shared, node: &str) {
    let Some(own) = shared.nodes.get(node) else { return };
    let now = world.now();
    if let Some(back) = own.back_at(now) {
        world.wake_at(NAME, format!("node/{node}"), after(back, Duration::from_millis(500)));
        return;
    }
    if let Some(lease) = world.get(&LEASES, LEASE_NAMESPACE, node) {
        let mut renewed = (*lease).clone();
        put(&mut renewed, &["spec", "renewTime"], json!(micros(now)));
        // Lost to a conflict: the next renewal is soon.
        let _ = world.update(&LEASES, renewed, NAME);
    }
    if let Some(current) = world.get(&NODES, "", node) {
        let last =
            crate::fields::condition(&current, "Ready").map_or(now, |c| crate::fields::time(c, "/lastHeartbeatTime"));
        let lost =
            crate::fields::condition(&current, "Ready").is_some_and(|c| crate::fields::text(c, "/status") != "True");
        if crate::fields::between(last, now) >= REPORT || lost {
            let mut reported = (*current).clone();
            put(&mut reported, &["status", "conditions"], conditions(&current, now));
            let _ = world.update_status(&NODES, reported, NAME);
        }
    }
    world.wake_at(NAME, format!("node/{node}"), after(now, RENEW));
}
