//! The horizontal pod autoscaler of a cluster that has no metrics: it looks every 15 s, keeps the replicas within the
//! bounds, and says what it cannot learn.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulation::resources::{DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, REPLICA_SETS, STATEFUL_SETS};
use simulation::{Change, Controller, Occurrence, Resource, World};

use crate::fields::{after, at, condition, items, key, namespace, number, put, seconds, split_key, text};
use crate::owned_pod;

const NAME: &str = "horizontal-pod-autoscaler";
const PERIOD: Duration = Duration::from_secs(15);

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct Autoscalers;

impl Controller for Autoscalers {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, scaler) if *r == HORIZONTAL_POD_AUTOSCALERS => {
                let at = after(world.now(), PERIOD);
                world.wake_at(NAME, key(scaler), at);
            }
            Change::Deleted(r, scaler) if *r == HORIZONTAL_POD_AUTOSCALERS => world.cancel_wake(NAME, &key(scaler)),
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, scaler) = split_key(key);
        let Some(scaler) = world.get(&HORIZONTAL_POD_AUTOSCALERS, space, scaler) else { return };
        let at = after(world.now(), PERIOD);
        world.wake_at(NAME, key.to_owned(), at);
        sync(world, &scaler);
    }
}

/// What is true of an autoscaler: kind, status, reason, message.
struct Condition(&'static str, &'static str, &'static str, String);

fn sync(world: &mut dyn World, scaler: &Arc<Value>) {
    let mut status = scaler.get("status").cloned().unwrap_or_else(|| json!({}));
    let reference = at(scaler, "/spec/scaleTargetRef").cloned().unwrap_or_default();
    let (target, resource) = match find(world, namespace(scaler), &reference) {
        Ok(found) => found,
        Err(why) => {
            say(world, scaler, true, "FailedGetScale", why.clone());
            let message = format!("the HPA controller was unable to get the target's current scale: {why}");
            return store(world, scaler, status, vec![Condition("AbleToScale", "False", "FailedGetScale", message)]);
        }
    };
    let current = number(&target, "/spec/replicas").unwrap_or(1);
    status["currentReplicas"] = json!(current);
    let (least, most) =
        (number(scaler, "/spec/minReplicas").unwrap_or(1), number(scaler, "/spec/maxReplicas").unwrap_or(1));
    let able = Condition(
        "AbleToScale",
        "True",
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale".to_owned(),
    );
    if current == 0 && least != 0 {
        let why = "scaling is disabled since the replica count of the target is zero".to_owned();
        return store(world, scaler, status, vec![able, Condition("ScalingActive", "False", "ScalingDisabled", why)]);
    }
    if current > most || current < least {
        let (wanted, why) = if current > most {
            (most, "Current number of replicas above Spec.MaxReplicas")
        } else {
            (least, "Current number of replicas below Spec.MinReplicas")
        };
        return rescale(world, scaler, (&target, resource), wanted, why, status);
    }
    let metrics = items(scaler, "/spec/metrics");
    let Some(first) = metrics.first() else { return store(world, scaler, status, vec![able]) };
    let (reason, why) = unavailable(first);
    let mut wrong = 0;
    for metric in metrics {
        let (reason, why) = unavailable(metric);
        wrong += 1;
        say(world, scaler, true, reason, why);
    }
    let what = match text(first, "/type") {
        "Resource" => format!("failed to get {} resource metric value: {why}", text(first, "/resource/name")),
        kind => format!("failed to get {} metric value: {why}", kind.to_lowercase()),
    };
    let all = metrics.len();
    let text = format!("invalid metrics ({wrong} invalid out of {all}), first error is: {what}");
    say(world, scaler, true, "FailedComputeMetricsReplicas", text);
    status["currentMetrics"] = Value::Array(vec![json!({"type": ""}); all]);
    let message = format!("the HPA was unable to compute the replica count: {why}");
    store(world, scaler, status, vec![able, Condition("ScalingActive", "False", reason, message)]);
}

/// Reason and message of a metric that no API serves.
fn unavailable(metric: &Value) -> (&'static str, String) {
    const ABSENT: &str = "the server could not find the requested resource";
    let resource = |name: &str, utilization: bool| {
        let what = if utilization { format!("{name} utilization") } else { format!("{name} usage") };
        format!(
            "failed to get {what}: unable to get metrics for resource {name}: unable to fetch metrics from resource metrics API: {ABSENT} (get pods.metrics.k8s.io)"
        )
    };
    match text(metric, "/type") {
        "Resource" => {
            let utilization = text(metric, "/resource/target/type") == "Utilization";
            ("FailedGetResourceMetric", resource(text(metric, "/resource/name"), utilization))
        }
        "ContainerResource" => {
            let utilization = text(metric, "/containerResource/target/type") == "Utilization";
            ("FailedGetContainerResourceMetric", resource(text(metric, "/containerResource/name"), utilization))
        }
        "Pods" => {
            let name = text(metric, "/pods/metric/name");
            let why = "no custom metrics API (custom.metrics.k8s.io) registered";
            (
                "FailedGetPodsMetric",
                format!("unable to get metric {name}: unable to fetch metrics from custom metrics API: {why}"),
            )
        }
        "Object" => {
            let name = text(metric, "/object/metric/name");
            let why = "no custom metrics API (custom.metrics.k8s.io) registered";
            (
                "FailedGetObjectMetric",
                format!("unable to get metric {name}: unable to fetch metrics from custom metrics API: {why}"),
            )
        }
        _ => {
            let name = text(metric, "/external/metric/name");
            let why = "no external metrics API (external.metrics.k8s.io) registered";
            (
                "FailedGetExternalMetric",
                format!(
                    "unable to get external metric {name}: unable to fetch metrics from external metrics API: {why}"
                ),
            )
        }
    }
}

/// The target, or why there is none.
fn find(world: &dyn World, space: &str, reference: &Value) -> Result<(Arc<Value>, Resource), String> {
    let (kind, wanted) = (text(reference, "/kind"), text(reference, "/name"));
    let known = [DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS];
    let version = text(reference, "/apiVersion");
    let Some(resource) = known.into_iter().find(|r| r.kind == kind && r.api_version() == version) else {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        return Err(format!("no matches for kind {kind:?} in group {group:?}"));
    };
    let found = world.get(&resource, space, wanted);
    found
        .map(|target| (target, resource))
        .ok_or_else(|| format!("{}.{} {wanted:?} not found", resource.plural, resource.group))
}

fn rescale(
    world: &mut dyn World,
    scaler: &Arc<Value>,
    (target, resource): (&Arc<Value>, Resource),
    wanted: i64,
    why: &str,
    mut status: Value,
) {
    let mut scaled = (**target).clone();
    put(&mut scaled, &["spec", "replicas"], json!(wanted));
    match world.update(&resource, scaled, "kube-controller-manager") {
        Ok(_) => {
            say(world, scaler, false, "SuccessfulRescale", format!("New size: {wanted}; reason: {why}"));
            status["desiredReplicas"] = json!(wanted);
            status["lastScaleTime"] = json!(seconds(world.now()));
            let message = format!("the HPA controller was able to update the target scale to {wanted}");
            store(world, scaler, status, vec![Condition("AbleToScale", "True", "SucceededRescale", message)]);
        }
        Err(refusal) => {
            let text = format!("New size: {wanted}; reason: {why}; error: {}", refusal.message);
            say(world, scaler, true, "FailedRescale", text);
            let message = format!("the HPA controller was unable to update the target scale: {}", refusal.message);
            store(world, scaler, status, vec![Condition("AbleToScale", "False", "FailedUpdateScale", message)]);
        }
    }
}

/// Lays the conditions over those that are there.
fn store(world: &mut dyn World, scaler: &Value, mut status: Value, conditions: Vec<Condition>) {
    let now = world.now();
    let mut all = items(scaler, "/status/conditions").to_vec();
    for Condition(kind, state, reason, message) in conditions {
        let before = condition(scaler, kind).filter(|c| text(c, "/status") == state);
        let since = before.map_or_else(|| seconds(now), |c| text(c, "/lastTransitionTime").to_owned());
        let new = json!({
            "type": kind, "status": state, "lastTransitionTime": since, "reason": reason, "message": message,
        });
        match all.iter_mut().find(|c| text(c, "/type") == kind) {
            Some(old) => *old = new,
            None => all.push(new),
        }
    }
    status["conditions"] = Value::Array(all);
    owned_pod::store_status(world, &HORIZONTAL_POD_AUTOSCALERS, scaler, status);
}

fn say(world: &mut dyn World, scaler: &Value, warning: bool, reason: &str, message: String) {
    world.event(Occurrence {
        regarding: scaler,
        field_path: None,
        warning,
        reason,
        message,
        component: NAME,
        host: None,
    });
}
