//! Claims and volumes: which volume a claim gets, what it is told while there is none, and what becomes of a volume
//! after its claim. Classes of `rancher.io/local-path` are provisioned here, as if that program ran beside the cluster.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulation::resources::{PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES};
use simulation::{Change, Controller, Deletion, Occurrence, World};

use crate::fields::{
    after, at, is_deleting, is_terminal, items, key, millis, name, namespace, put, remove, split_key, text, uid,
};
use crate::{owned_pod::MANAGER, quantity, selector};

const NAME: &str = "persistentvolume-controller";
/// How often claims without a volume are looked at again.
const RESYNC: Duration = Duration::from_secs(15);
const LOCAL_PATH: &str = "rancher.io/local-path";
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct Volumes;

impl Controller for Volumes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, claim) | Change::Modified(r, _, claim) if *r == PERSISTENT_VOLUME_CLAIMS => {
                soon(world, "claim", &key(claim), millis(8));
            }
            Change::Deleted(r, claim) if *r == PERSISTENT_VOLUME_CLAIMS => {
                world.cancel_wake(NAME, &format!("claim/{}", key(claim)));
                let volume = text(claim, "/spec/volumeName");
                if !volume.is_empty() {
                    soon(world, "volume", volume, millis(20));
                }
            }
            Change::Added(r, volume) | Change::Modified(r, _, volume) if *r == PERSISTENT_VOLUMES => {
                soon(world, "volume", name(volume), millis(8));
                waiting(world);
            }
            Change::Deleted(r, volume) if *r == PERSISTENT_VOLUMES => {
                let claim = text(volume, "/spec/claimRef/name");
                if !claim.is_empty() {
                    let key = format!("{}/{claim}", text(volume, "/spec/claimRef/namespace"));
                    soon(world, "claim", &key, millis(8));
                }
            }
            Change::Modified(r, old, pod) if *r == PODS => {
                if is_terminal(pod) != is_terminal(old) {
                    released(world, pod);
                }
            }
            Change::Deleted(r, pod) if *r == PODS => released(world, pod),
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        match key.split_once('/') {
            Some(("claim", key)) => {
                let (space, claim) = split_key(key);
                if let Some(claim) = world.get(&PERSISTENT_VOLUME_CLAIMS, space, claim) {
                    sync_claim(world, &claim);
                }
            }
            Some(("volume", volume)) => {
                if let Some(volume) = world.get(&PERSISTENT_VOLUMES, "", volume) {
                    sync_volume(world, &volume);
                }
            }
            Some(("provision", key)) => {
                let (space, claim) = split_key(key);
                if let Some(claim) = world.get(&PERSISTENT_VOLUME_CLAIMS, space, claim) {
                    provision(world, &claim);
                }
            }
            _ => {}
        }
    }
}

fn soon(world: &mut dyn World, what: &str, key: &str, pause: Duration) {
    let at = after(world.now(), pause);
    world.wake_at(NAME, format!("{what}/{key}"), at);
}

/// Every claim without a volume, after a volume has come.
fn waiting(world: &mut dyn World) {
    for claim in world.list(&PERSISTENT_VOLUME_CLAIMS, None) {
        if text(&claim, "/spec/volumeName").is_empty() {
            soon(world, "claim", &key(&claim), millis(8));
        }
    }
}

/// Claims that a pod used and that wait to go.
fn released(world: &mut dyn World, pod: &Value) {
    for volume in items(pod, "/spec/volumes") {
        let claim = text(volume, "/persistentVolumeClaim/claimName");
        if !claim.is_empty() {
            soon(world, "claim", &format!("{}/{claim}", namespace(pod)), millis(20));
        }
    }
}

fn sync_claim(world: &mut dyn World, claim: &Arc<Value>) {
    if is_deleting(claim) {
        let used = world.list(&PODS, Some(namespace(claim))).into_iter().any(|pod| {
            !is_terminal(&pod)
                && items(&pod, "/spec/volumes")
                    .iter()
                    .any(|v| text(v, "/persistentVolumeClaim/claimName") == name(claim))
        });
        if !used {
            unprotect(world, claim, false, "kubernetes.io/pvc-protection");
        }
        return;
    }
    let volume = text(claim, "/spec/volumeName");
    if !volume.is_empty() {
        return bound(world, claim, volume);
    }
    let class = text(claim, "/spec/storageClassName");
    let found = (!class.is_empty()).then(|| world.get(&STORAGE_CLASSES, "", class)).flatten();
    let late = found.as_deref().is_some_and(is_late);
    let selected = !text(claim, &annotation(SELECTED_NODE)).is_empty();
    if (!late || selected)
        && let Some(volume) = matching(world, claim)
    {
        return bind(world, claim, &volume);
    }
    let at = after(world.now(), RESYNC);
    world.wake_at(NAME, format!("claim/{}", key(claim)), at);
    if late && !selected {
        let text = "waiting for first consumer to be created before binding";
        return say(world, claim, false, "WaitForFirstConsumer", text.to_owned(), NAME);
    }
    match found {
        None if class.is_empty() => {
            let text = "no persistent volumes available for this claim and no storage class is set";
            say(world, claim, false, "FailedBinding", text.to_owned(), NAME);
        }
        None => {
            let text = format!("storageclass.storage.k8s.io {class:?} not found");
            say(world, claim, true, "ProvisioningFailed", text, NAME);
        }
        Some(class) => external(world, claim, text(&class, "/provisioner")),
    }
}

/// Whether volumes of this class come only when a pod needs them.
pub(crate) fn is_late(class: &Value) -> bool {
    text(class, "/volumeBindingMode") == "WaitForFirstConsumer"
}

fn annotation(key: &str) -> String {
    format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Asks the provisioner, and says that it is waited for.
fn external(world: &mut dyn World, claim: &Arc<Value>, provisioner: &str) {
    if provisioner.starts_with("kubernetes.io/") {
        let text = format!("no volume plugin matched name: {provisioner}");
        return say(world, claim, true, "ProvisioningFailed", text, NAME);
    }
    let known = annotation("volume.kubernetes.io/storage-provisioner");
    if text(claim, &known) != provisioner {
        let mut asked = (**claim).clone();
        for key in ["volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner"] {
            put(&mut asked, &["metadata", "annotations", key], json!(provisioner));
        }
        // Refused: the claim has changed, and is looked at again.
        let _ = world.update(&PERSISTENT_VOLUME_CLAIMS, asked, MANAGER);
        if provisioner == LOCAL_PATH {
            let text = format!("External provisioner is provisioning volume for claim \"{}\"", key(claim));
            say(world, claim, false, "Provisioning", text, LOCAL_PATH);
            soon(world, "provision", &key(claim), Duration::from_secs(3));
        }
    }
    let text = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    say(world, claim, false, "ExternalProvisioning", text, NAME);
}

/// Makes the volume of a claim, on the node that was selected.
fn provision(world: &mut dyn World, claim: &Arc<Value>) {
    if !text(claim, "/spec/volumeName").is_empty() || is_deleting(claim) {
        return;
    }
    let class = text(claim, "/spec/storageClassName");
    let reclaim = world.get(&STORAGE_CLASSES, "", class).map(|class| text(&class, "/reclaimPolicy").to_owned());
    let volume = format!("pvc-{}", uid(claim));
    let node = text(claim, &annotation(SELECTED_NODE));
    let mut object = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": volume, "annotations": {"pv.kubernetes.io/provisioned-by": LOCAL_PATH}},
        "spec": {
            "capacity": {"storage": at(claim, "/spec/resources/requests/storage")},
            "accessModes": items(claim, "/spec/accessModes"), "storageClassName": class, "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": reclaim.filter(|r| !r.is_empty()).unwrap_or_else(|| "Delete".to_owned()),
            "hostPath": {
                "path": format!("/opt/local-path-provisioner/{volume}_{}_{}", namespace(claim), name(claim)),
                "type": "DirectoryOrCreate",
            },
            "claimRef": reference(claim),
        },
    });
    if !node.is_empty() {
        let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
        put(
            &mut object,
            &["spec", "nodeAffinity"],
            json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}),
        );
    }
    if world.create(&PERSISTENT_VOLUMES, object, "local-path-provisioner").is_ok() {
        let text = format!("Successfully provisioned volume {volume}");
        say(world, claim, false, "ProvisioningSucceeded", text, LOCAL_PATH);
    }
}

fn reference(claim: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace(claim), "name": name(claim),
        "uid": uid(claim), "resourceVersion": text(claim, "/metadata/resourceVersion"),
    })
}

/// The smallest volume that will do.
fn matching(world: &dyn World, claim: &Value) -> Option<Arc<Value>> {
    let size = |object: &Value, path: &str| at(object, path).and_then(quantity::milli).unwrap_or(0);
    let wanted = size(claim, "/spec/resources/requests/storage");
    let fits = |volume: &Arc<Value>| {
        let held = text(volume, "/spec/claimRef/name");
        let own = held == name(claim)
            && text(volume, "/spec/claimRef/namespace") == namespace(claim)
            && [uid(claim), ""].contains(&text(volume, "/spec/claimRef/uid"));
        let modes = items(volume, "/spec/accessModes");
        let selected = claim
            .pointer("/spec/selector")
            .filter(|s| s.is_object())
            .is_none_or(|s| selector::matches(s, at(volume, "/metadata/labels")));
        (held.is_empty() || own)
            && !is_deleting(volume)
            && text(volume, "/spec/storageClassName") == text(claim, "/spec/storageClassName")
            && size(volume, "/spec/capacity/storage") >= wanted
            && items(claim, "/spec/accessModes").iter().all(|mode| modes.contains(mode))
            && mode(volume) == mode(claim)
            && selected
    };
    let volumes = world.list(&PERSISTENT_VOLUMES, None).into_iter().filter(fits);
    // One that was made for the claim comes first.
    volumes.min_by_key(|v| (text(v, "/spec/claimRef/name").is_empty(), size(v, "/spec/capacity/storage")))
}

fn mode(object: &Value) -> &str {
    match text(object, "/spec/volumeMode") {
        "" => "Filesystem",
        mode => mode,
    }
}

/// Whether a volume is there that a late claim could get without a provisioner, or a provisioner that could make one.
pub(crate) fn is_obtainable(world: &dyn World, claim: &Value, class: &Value) -> bool {
    text(class, "/provisioner") != NO_PROVISIONER || matching(world, claim).is_some()
}

fn bind(world: &mut dyn World, claim: &Arc<Value>, volume: &Arc<Value>) {
    let mut taken = (**volume).clone();
    put(&mut taken, &["spec", "claimRef"], reference(claim));
    if text(volume, "/spec/claimRef/name").is_empty() {
        put(&mut taken, &["metadata", "annotations", "pv.kubernetes.io/bound-by-controller"], json!("yes"));
    }
    let Ok(taken) = world.update(&PERSISTENT_VOLUMES, taken, MANAGER) else { return };
    phase(world, &taken, "Bound");
    let mut given = (**claim).clone();
    put(&mut given, &["spec", "volumeName"], json!(name(volume)));
    for key in ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"] {
        put(&mut given, &["metadata", "annotations", key], json!("yes"));
    }
    if let Ok(given) = world.update(&PERSISTENT_VOLUME_CLAIMS, given, MANAGER) {
        bound(world, &given, name(volume));
    }
}

/// A claim that names its volume: bound to it, waiting for it, or robbed of it.
fn bound(world: &mut dyn World, claim: &Arc<Value>, volume: &str) {
    let mut status = claim.get("status").cloned().unwrap_or_else(|| json!({}));
    let found = world.get(&PERSISTENT_VOLUMES, "", volume);
    match found {
        Some(found) if text(&found, "/spec/claimRef/uid") == uid(claim) => {
            status["phase"] = json!("Bound");
            status["accessModes"] = json!(items(&found, "/spec/accessModes"));
            status["capacity"] = at(&found, "/spec/capacity").cloned().unwrap_or_default();
            phase(world, &found, "Bound");
        }
        Some(found) if text(&found, "/spec/claimRef/name").is_empty() => return bind(world, claim, &found),
        None if text(claim, &annotation("pv.kubernetes.io/bind-completed")) == "yes" => {
            if text(claim, "/status/phase") != "Lost" {
                let text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
                say(world, claim, true, "ClaimLost", text.to_owned(), NAME);
            }
            status["phase"] = json!("Lost");
        }
        _ => return,
    }
    crate::owned_pod::store_status(world, &PERSISTENT_VOLUME_CLAIMS, claim, status);
}

fn phase(world: &mut dyn World, volume: &Value, phase: &str) {
    let mut status = volume.get("status").cloned().unwrap_or_else(|| json!({}));
    if status["phase"] == phase {
        return;
    }
    status["phase"] = json!(phase);
    status["lastPhaseTransitionTime"] = json!(crate::fields::seconds(world.now()));
    crate::owned_pod::store_status(world, &PERSISTENT_VOLUMES, volume, status);
}

/// Available without a claim; after its claim has gone it is released, or removed.
fn sync_volume(world: &mut dyn World, volume: &Arc<Value>) {
    let claim = text(volume, "/spec/claimRef/name");
    let held = !claim.is_empty()
        && world
            .get(&PERSISTENT_VOLUME_CLAIMS, text(volume, "/spec/claimRef/namespace"), claim)
            .is_some_and(|c| [uid(&c), ""].contains(&text(volume, "/spec/claimRef/uid")));
    if is_deleting(volume) {
        if !held {
            unprotect(world, volume, true, "kubernetes.io/pv-protection");
        }
        return;
    }
    if claim.is_empty() || text(volume, "/spec/claimRef/uid").is_empty() {
        return phase(world, volume, "Available");
    }
    if held {
        return;
    }
    phase(world, volume, "Released");
    if text(volume, "/spec/persistentVolumeReclaimPolicy") == "Delete" {
        let how = Deletion { uid: Some(uid(volume).to_owned()), ..Deletion::default() };
        // Gone already: that is what was wanted.
        let _ = world.delete(&PERSISTENT_VOLUMES, "", name(volume), how);
    }
}

fn unprotect(world: &mut dyn World, object: &Value, volume: bool, finalizer: &str) {
    let resource = if volume { PERSISTENT_VOLUMES } else { PERSISTENT_VOLUME_CLAIMS };
    let mut free = object.clone();
    let left: Vec<Value> = items(object, "/metadata/finalizers").iter().filter(|f| *f != finalizer).cloned().collect();
    if left.is_empty() {
        remove(&mut free, &["metadata", "finalizers"]);
    } else {
        put(&mut free, &["metadata", "finalizers"], Value::Array(left));
    }
    // Refused: it has changed, and is looked at again.
    let _ = world.update(&resource, free, MANAGER);
}

fn say(world: &mut dyn World, claim: &Value, warning: bool, reason: &str, message: String, component: &str) {
    world.event(Occurrence { regarding: claim, field_path: None, warning, reason, message, component, host: None });
}
