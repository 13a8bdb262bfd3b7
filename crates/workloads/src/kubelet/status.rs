//! The status of a pod, as the kubelet writes it.

use serde_json::{Value, json};
use simulation::resources::PODS;

use super::worker::{Exit, Kind, Life, Unit, Worker};
use super::{Context, NAME};
use crate::fields::{at, condition, items, name, namespace, number, put, seconds, text, uid};

impl Worker {
    /// Writes the status as it is now, if it differs.
    pub(super) fn write_status(&mut self, context: &mut Context<'_>) {
        let Some(current) = context.world.get(&PODS, namespace(&self.pod), name(&self.pod)) else { return };
        if uid(&current) != self.uid() {
            return;
        }
        let status = self.status(context, &current);
        if current.get("status") == Some(&status) {
            return;
        }
        let mut changed = (*current).clone();
        put(&mut changed, &["status"], status);
        if let Ok(stored) = context.world.update_status(&PODS, changed, NAME) {
            self.pod = stored;
        }
    }

    fn status(&self, context: &Context<'_>, current: &Value) -> Value {
        let mut status = current.get("status").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
        let generation = number(current, "/metadata/generation").unwrap_or(1);
        let phase = self.phase();
        put(&mut status, &["phase"], json!(phase));
        put(&mut status, &["observedGeneration"], json!(generation));
        let host = context.shared.nodes.get(self.node()).map(|n| n.address.clone()).unwrap_or_default();
        put(&mut status, &["hostIP"], json!(host));
        put(&mut status, &["hostIPs"], json!([{"ip": host}]));
        put(&mut status, &["startTime"], json!(seconds(self.started)));
        if let Some((reason, message)) = &self.failed {
            put(&mut status, &["reason"], json!(reason));
            put(&mut status, &["message"], json!(message));
        }
        if let Some(address) = self.address.as_ref().filter(|_| self.address_shown) {
            put(&mut status, &["podIP"], json!(address));
            put(&mut status, &["podIPs"], json!([{"ip": address}]));
        }
        if text(&status, "/qosClass").is_empty() {
            put(&mut status, &["qosClass"], json!(qos(&self.pod)));
        }
        for (field, init) in [("initContainerStatuses", true), ("containerStatuses", false)] {
            let list: Vec<Value> = self
                .units
                .iter()
                .filter(|u| (u.kind != Kind::App) == init)
                .map(|unit| self.container_status(unit))
                .collect();
            if !list.is_empty() {
                put(&mut status, &[field], Value::Array(list));
            }
        }
        put(&mut status, &["conditions"], self.conditions(context, current, phase, generation));
        status
    }

    fn conditions(&self, context: &Context<'_>, current: &Value, phase: &str, generation: i64) -> Value {
        let now = seconds(context.world.now());
        let over = matches!(phase, "Succeeded" | "Failed");
        let unready: Vec<&str> =
            self.units.iter().filter(|u| u.kind != Kind::Init && !u.ready).map(|u| u.name.as_str()).collect();
        let incomplete: Vec<&str> = self
            .units
            .iter()
            .filter(|u| match u.kind {
                Kind::Init => u.exit().is_none_or(|exit| exit.code != 0),
                Kind::Sidecar => !u.started,
                Kind::App => false,
            })
            .map(|u| u.name.as_str())
            .collect();
        let ready: (bool, &str, String) = match phase {
            "Succeeded" => (false, "PodCompleted", String::new()),
            // A pod of which nothing ever ran keeps saying what it waited for.
            "Failed" if self.units.iter().any(|u| u.run.is_some()) || self.failed.is_some() => {
                (false, "PodFailed", String::new())
            }
            _ if unready.is_empty() => (true, "", String::new()),
            _ => (false, "ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))),
        };
        let initialised: (bool, &str, String) = match phase {
            "Succeeded" => (true, "PodCompleted", String::new()),
            _ if incomplete.is_empty() || over => (true, "", String::new()),
            _ => (
                false,
                "ContainersNotInitialized",
                format!("containers with incomplete status: [{}]", incomplete.join(" ")),
            ),
        };
        let stopped = over && !self.units.iter().any(Unit::is_running);
        let gate = (self.sandbox && !stopped, "", String::new());
        let wanted = [
            ("PodReadyToStartContainers", gate),
            ("Initialized", initialised),
            ("Ready", ready.clone()),
            ("ContainersReady", ready),
            ("PodScheduled", (true, "", String::new())),
        ];
        let mut list: Vec<Value> = Vec::new();
        for (kind, (holds, reason, message)) in wanted {
            let status = if holds { "True" } else { "False" };
            let old = condition(current, kind);
            let since = old
                .filter(|c| text(c, "/status") == status)
                .map_or(now.clone(), |c| text(c, "/lastTransitionTime").to_owned());
            let mut shown = json!({
                "type": kind, "observedGeneration": generation, "status": status, "lastProbeTime": null, "lastTransitionTime": since,
            });
            if !reason.is_empty() {
                put(&mut shown, &["reason"], json!(reason));
            }
            if !message.is_empty() {
                put(&mut shown, &["message"], json!(message));
            }
            list.push(shown);
        }
        // Conditions of others (DisruptionTarget, readiness gates) stay.
        let own = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
        list.extend(items(current, "/status/conditions").iter().filter(|c| !own.contains(&text(c, "/type"))).cloned());
        Value::Array(list)
    }

    /// Whether all init containers have done their part.
    pub(super) fn initialised(&self) -> bool {
        self.units.iter().all(|u| match u.kind {
            Kind::Init => u.exit().is_some_and(|exit| exit.code == 0),
            Kind::Sidecar => u.started || self.life != Life::Alive,
            Kind::App => true,
        })
    }

    /// Pending, Running, Succeeded or Failed (`getPhase`).
    pub(super) fn phase(&self) -> &'static str {
        let stopping = matches!(self.life, Life::Stopped(_) | Life::Leaving(_) | Life::Over);
        if self.failed.is_some() {
            return "Failed";
        }
        let policy = text(&self.pod, "/spec/restartPolicy");
        let init_failed = self
            .units
            .iter()
            .any(|u| u.kind == Kind::Init && policy == "Never" && u.exit().is_some_and(|e| e.code != 0));
        if init_failed {
            return "Failed";
        }
        let apps: Vec<&Unit> = self.units.iter().filter(|u| u.kind == Kind::App).collect();
        if stopping {
            // At the end nothing restarts: all succeeded or the pod failed.
            let good = apps.iter().all(|u| u.exit().is_some_and(|exit| exit.code == 0));
            return if good { "Succeeded" } else { "Failed" };
        }
        if !self.initialised() && apps.iter().all(|u| u.run.is_none()) {
            return "Pending";
        }
        if apps.iter().any(|u| u.run.is_none()) {
            return "Pending";
        }
        if apps.iter().any(|u| u.is_running()) || policy == "Always" || policy.is_empty() {
            return "Running";
        }
        let good = apps.iter().all(|u| u.exit().is_some_and(|exit| exit.code == 0));
        match (good, policy) {
            (true, _) => "Succeeded",
            (false, "Never") => "Failed",
            _ => "Running",
        }
    }

    fn container_status(&self, unit: &Unit) -> Value {
        let spec_image = text(&unit.spec, "/image");
        let (mut state, mut last) = (
            Value::Null,
            unit.previous.as_ref().map_or_else(|| json!({}), |exit| json!({"terminated": terminated(exit)})),
        );
        let has_init = self.units.iter().any(|u| u.kind != Kind::App);
        match &unit.run {
            None if matches!(self.life, Life::Stopped(_) | Life::Leaving(_) | Life::Over) => {
                state = json!({"terminated": {
                    "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null,
                    "message": "The container could not be located when the pod was terminated",
                }});
            }
            None => {
                state = json!({"waiting": {"reason": if has_init { "PodInitializing" } else { "ContainerCreating" }}})
            }
            Some(run) => match &run.exit {
                Some(exit) => state = json!({"terminated": terminated(exit)}),
                None => put(&mut state, &["running", "startedAt"], json!(seconds(run.started))),
            },
        }
        let index = self.units.iter().position(|u| u.name == unit.name).unwrap_or(0);
        if !unit.is_running()
            && self.life == Life::Alive
            && self.should_run(index)
            && self.failed.is_none()
            && let Some((reason, message)) = self.reasons.get(&unit.name)
        {
            if let Some(exit) = unit.exit() {
                last = json!({"terminated": terminated(exit)});
            }
            let mut waiting = json!({"reason": reason});
            if !message.is_empty() {
                put(&mut waiting, &["message"], json!(message));
            }
            state = json!({"waiting": waiting});
        }
        let run = unit.run.as_ref();
        let mut status = json!({
            "name": unit.name, "state": state, "lastState": last,
            "ready": if unit.kind == Kind::Init { unit.exit().is_some_and(|exit| exit.code == 0) } else { unit.ready },
            "restartCount": run.map_or(0, |run| run.restart),
            "image": run.map_or(spec_image, |run| &run.image), "imageID": run.map_or("", |run| &run.image_id),
            "started": unit.is_running() && unit.started,
        });
        if let Some(run) = run {
            put(&mut status, &["containerID"], json!(run.id));
            put(&mut status, &["resources"], unit.spec.get("resources").cloned().unwrap_or_else(|| json!({})));
            if let Some(requests) = at(&unit.spec, "/resources/requests") {
                put(&mut status, &["allocatedResources"], requests.clone());
            }
        }
        let mounts: Vec<Value> = items(&unit.spec, "/volumeMounts").iter().map(mount_status).collect();
        if !mounts.is_empty() {
            put(&mut status, &["volumeMounts"], Value::Array(mounts));
        }
        status
    }
}

fn mount_status(mount: &Value) -> Value {
    let mut shown = json!({"name": text(mount, "/name"), "mountPath": text(mount, "/mountPath")});
    if crate::fields::truth(mount, "/readOnly") {
        put(&mut shown, &["readOnly"], json!(true));
        put(&mut shown, &["recursiveReadOnly"], json!("Disabled"));
    }
    shown
}

fn terminated(exit: &Exit) -> Value {
    let mut shown = json!({
        "exitCode": exit.code, "reason": exit.reason,
        "startedAt": exit.started.map_or_else(|| "1970-01-01T00:00:00Z".to_owned(), seconds),
        "finishedAt": seconds(exit.finished), "containerID": exit.id,
    });
    if !exit.message.is_empty() {
        put(&mut shown, &["message"], json!(exit.message));
    }
    shown
}

/// Guaranteed, Burstable or BestEffort.
fn qos(pod: &Value) -> &'static str {
    let containers = || items(pod, "/spec/initContainers").iter().chain(items(pod, "/spec/containers"));
    let amount = |c: &Value, pointer: &str| at(c, pointer).cloned();
    let any = containers().any(|c| {
        ["requests", "limits"]
            .iter()
            .any(|kind| ["cpu", "memory"].iter().any(|r| amount(c, &format!("/resources/{kind}/{r}")).is_some()))
    });
    let all = containers().all(|c| {
        ["cpu", "memory"].iter().all(|r| {
            let limit = amount(c, &format!("/resources/limits/{r}"));
            limit.is_some()
                && amount(c, &format!("/resources/requests/{r}")).is_none_or(|request| Some(request) == limit)
        })
    });
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        _ => "Burstable",
    }
}
