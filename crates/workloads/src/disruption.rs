//! The disruption controller: how many pods of each PodDisruptionBudget may be evicted now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use simulation::resources::{DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS, STATEFUL_SETS};
use simulation::{Change, Controller, Occurrence, Resource, World};

use crate::fields::{
    after, at, between, condition, controller_of, is_deleting, is_ready, items, key, millis, name, namespace, number,
    seconds, split_key, text, truth, uid,
};
use crate::{owned_pod, selector};

const NAME: &str = "disruption";
/// A pod whose eviction was allowed counts as gone so long, or until it is.
const EVICTED_FOR: Duration = Duration::from_secs(120);

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct Disruptions;

impl Controller for Disruptions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, budget) | Change::Modified(r, _, budget) if *r == POD_DISRUPTION_BUDGETS => {
                let at = after(world.now(), millis(10));
                world.wake_at(NAME, key(budget), at);
            }
            Change::Added(r, pod) | Change::Modified(r, _, pod) | Change::Deleted(r, pod) if *r == PODS => {
                for budget in world.list(&POD_DISRUPTION_BUDGETS, Some(namespace(pod))) {
                    if selects(&budget, pod) {
                        let at = after(world.now(), millis(10));
                        world.wake_at(NAME, key(&budget), at);
                    }
                }
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, budget) = split_key(key);
        if let Some(budget) = world.get(&POD_DISRUPTION_BUDGETS, space, budget) {
            sync(world, &budget);
        }
    }
}

/// An empty selector selects every pod, none selects nothing.
fn selects(budget: &Value, pod: &Value) -> bool {
    budget.pointer("/spec/selector").is_some_and(|s| s.is_object() && selector::matches(s, at(pod, "/metadata/labels")))
}

fn sync(world: &mut dyn World, budget: &Arc<Value>) {
    let pods: Vec<Arc<Value>> =
        world.list(&PODS, Some(namespace(budget))).into_iter().filter(|pod| selects(budget, pod)).collect();
    if pods.is_empty() {
        say(world, budget, false, "NoPods", "No matching pods found".to_owned());
    }
    let now = world.now();
    let mut disrupted = Map::new();
    for (pod, at) in crate::fields::entries(budget, "/status/disruptedPods") {
        let since = at.as_str().and_then(|at| at.parse().ok()).unwrap_or(now);
        let still = pods.iter().any(|p| name(p) == pod && !is_deleting(p));
        if still && between(since, now) < EVICTED_FOR {
            disrupted.insert(pod.clone(), at.clone());
            world.wake_at(NAME, key(budget), after(since, EVICTED_FOR));
        } else if still {
            if let Some(pod) = pods.iter().find(|p| name(p) == pod) {
                let text = "Pod was expected by PDB to be deleted but it wasn't";
                say(world, pod, true, "NotDeleted", format!("{text} {}/{}", namespace(budget), name(budget)));
            }
        }
    }
    let healthy =
        pods.iter().filter(|pod| !is_deleting(pod) && !disrupted.contains_key(name(pod)) && is_ready(pod)).count()
            as i64;
    let (expected, desired) = match expectation(world, budget, &pods) {
        Ok(counts) => counts,
        Err(why) => {
            say(world, budget, true, "CalculateExpectedPodCountFailed", why.clone());
            return fail_safe(world, budget, &why);
        }
    };
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let mut status = json!({
        "observedGeneration": number(budget, "/metadata/generation").unwrap_or(1), "disruptionsAllowed": allowed,
        "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected,
    });
    if !disrupted.is_empty() {
        status["disruptedPods"] = Value::Object(disrupted);
    }
    let (state, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    status["conditions"] = json!([disruption_allowed(budget, state, reason, "", now)]);
    owned_pod::store_status(world, &POD_DISRUPTION_BUDGETS, budget, status);
}

fn disruption_allowed(budget: &Value, state: &str, reason: &str, message: &str, now: jiff::Timestamp) -> Value {
    let before = condition(budget, "DisruptionAllowed").filter(|c| text(c, "/status") == state);
    let since = before.map_or_else(|| seconds(now), |c| text(c, "/lastTransitionTime").to_owned());
    json!({
        "type": "DisruptionAllowed", "status": state, "reason": reason, "message": message, "lastTransitionTime": since,
        "observedGeneration": number(budget, "/metadata/generation").unwrap_or(1),
    })
}

/// What cannot be counted may not be disrupted.
fn fail_safe(world: &mut dyn World, budget: &Value, why: &str) {
    let mut status = budget.get("status").cloned().unwrap_or_else(|| json!({}));
    status["disruptionsAllowed"] = json!(0);
    status["observedGeneration"] = json!(number(budget, "/metadata/generation").unwrap_or(1));
    status["conditions"] = json!([disruption_allowed(budget, "False", "SyncFailed", why, world.now())]);
    owned_pod::store_status(world, &POD_DISRUPTION_BUDGETS, budget, status);
}

/// Pods that there should be, and that must stay healthy.
fn expectation(world: &mut dyn World, budget: &Value, pods: &[Arc<Value>]) -> Result<(i64, i64), String> {
    if let Some(most) = at(budget, "/spec/maxUnavailable").filter(|v| !v.is_null()) {
        let expected = scale(world, budget, pods)?;
        return Ok((expected, (expected - portion(most, expected)).max(0)));
    }
    match at(budget, "/spec/minAvailable").filter(|v| !v.is_null()) {
        Some(Value::Number(least)) => Ok((pods.len() as i64, least.as_i64().unwrap_or(0))),
        Some(least) => {
            let expected = scale(world, budget, pods)?;
            Ok((expected, portion(least, expected)))
        }
        None => Ok((pods.len() as i64, 0)),
    }
}

/// A number, or a percentage of `whole`, rounded up.
fn portion(value: &Value, whole: i64) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|n| n.parse::<i64>().ok());
    percent.map_or(0, |percent| (whole * percent + 99).div_euclid(100))
}

/// What the pods' owners are scaled to, together.
fn scale(world: &mut dyn World, budget: &Value, pods: &[Arc<Value>]) -> Result<i64, String> {
    let mut owners: BTreeMap<String, i64> = BTreeMap::new();
    let mut lonely = Vec::new();
    for pod in pods {
        let Some((kind, owner, _)) = controller_of(pod) else {
            lonely.push(name(pod).to_owned());
            continue;
        };
        let (resource, owner) = owning(world, namespace(pod), kind, owner)
            .ok_or_else(|| format!("found no controllers for pod {:?}", name(pod)))?;
        let Some(object) = world.get(&resource, namespace(pod), &owner) else { continue };
        owners.insert(uid(&object).to_owned(), number(&object, "/spec/replicas").unwrap_or(1));
    }
    if !lonely.is_empty() {
        let names: Vec<String> = lonely.iter().map(|pod| format!("{}/{pod}", namespace(budget))).collect();
        let text = "were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.";
        say(
            world,
            budget,
            true,
            "UnmanagedPods",
            format!("Pods selected by this PodDisruptionBudget (selector: {}) {text}", names.join(" ")),
        );
    }
    Ok(owners.values().sum())
}

/// The object with the scale: a replica set's deployment, where it has one.
fn owning(world: &dyn World, space: &str, kind: &str, owner: &str) -> Option<(Resource, String)> {
    match kind {
        "ReplicaSet" => {
            let set = world.get(&REPLICA_SETS, space, owner);
            let deployment = set.as_deref().and_then(|set| {
                items(set, "/metadata/ownerReferences")
                    .iter()
                    .find(|o| truth(o, "/controller") && text(o, "/kind") == "Deployment")
                    .map(|o| text(o, "/name").to_owned())
            });
            Some(deployment.map_or_else(|| (REPLICA_SETS, owner.to_owned()), |name| (DEPLOYMENTS, name)))
        }
        "StatefulSet" => Some((STATEFUL_SETS, owner.to_owned())),
        _ => None,
    }
}

fn say(world: &mut dyn World, regarding: &Value, warning: bool, reason: &str, message: String) {
    let component = "controllermanager";
    world.event(Occurrence { regarding, field_path: None, warning, reason, message, component, host: None });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_round_up() {
        assert_eq!(portion(&json!(2), 7), 2);
        assert_eq!(portion(&json!("50%"), 3), 2);
        assert_eq!(portion(&json!("0%"), 3), 0);
        assert_eq!(portion(&json!("100%"), 3), 3);
    }
}
