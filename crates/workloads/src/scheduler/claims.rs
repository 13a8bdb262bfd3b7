//! What a pod's claims mean for where and when it is placed.

use serde_json::{Value, json};
use simulation::World;
use simulation::resources::{NODES, PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES};

use crate::fields::{at, is_deleting, items, namespace, put, text};
use crate::volumes::{SELECTED_NODE, is_late, is_obtainable};

fn names(pod: &Value) -> impl Iterator<Item = &str> {
    items(pod, "/spec/volumes")
        .iter()
        .map(|volume| text(volume, "/persistentVolumeClaim/claimName"))
        .filter(|claim| !claim.is_empty())
}

fn is_bound(claim: &Value) -> bool {
    text(claim, "/status/phase") == "Bound" && !text(claim, "/spec/volumeName").is_empty()
}

/// Why its claims keep a pod from every node.
pub(super) fn obstacle(world: &dyn World, pod: &Value) -> Option<String> {
    let total = world.list(&NODES, None).len();
    let refuse = |why: String| Some(format!("0/{total} nodes are available: {why}"));
    for name in names(pod) {
        let Some(claim) = world.get(&PERSISTENT_VOLUME_CLAIMS, namespace(pod), name) else {
            return refuse(format!("persistentvolumeclaim {name:?} not found. not found"));
        };
        if text(&claim, "/status/phase") == "Lost" {
            let volume = text(&claim, "/spec/volumeName");
            return refuse(format!(
                "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}. not found"
            ));
        }
        if is_deleting(&claim) {
            return refuse(format!("persistentvolumeclaim {name:?} is being deleted. not found"));
        }
        if is_bound(&claim) {
            continue;
        }
        let class = world.get(&STORAGE_CLASSES, "", text(&claim, "/spec/storageClassName"));
        match class.filter(|class| is_late(class)) {
            None => return refuse("pod has unbound immediate PersistentVolumeClaims. not found".to_owned()),
            Some(class) if !is_obtainable(world, &claim, &class) => {
                return refuse(format!(
                    "{total} node(s) didn't find available persistent volumes to bind. no new claims to deallocate, preemption: 0/{total} nodes are available: {total} Preemption is not helpful for scheduling."
                ));
            }
            Some(_) => {}
        }
    }
    None
}

/// Tells the claims that wait for a pod where it goes. True when all of them are bound already.
pub(super) fn select_node(world: &mut dyn World, pod: &Value, node: &str) -> bool {
    let mut bound = true;
    let wanted: Vec<String> = names(pod).map(str::to_owned).collect();
    for name in wanted {
        let Some(claim) = world.get(&PERSISTENT_VOLUME_CLAIMS, namespace(pod), &name) else { return false };
        if is_bound(&claim) {
            continue;
        }
        bound = false;
        let told = at(&claim, "/metadata/annotations").is_some_and(|a| a.get(SELECTED_NODE).is_some());
        if !told {
            let mut selected = (*claim).clone();
            put(&mut selected, &["metadata", "annotations", SELECTED_NODE], json!(node));
            // Refused: the claim has changed, which comes back as a change.
            let _ = world.update(&PERSISTENT_VOLUME_CLAIMS, selected, "kube-scheduler");
        }
    }
    bound
}
