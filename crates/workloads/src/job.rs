//! The Job controller: pods until enough have succeeded, or too many have failed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use simulation::resources::{JOBS, PODS};
use simulation::{Change, Controller, Deletion, Occurrence, World};

use crate::fields::{
    after, at, between, controller_of, is_active, is_deleting, is_ready, is_terminal, items, key, millis, name,
    namespace, number, put, seconds, split_key, text, time, truth, uid,
};
use crate::index::Owned;
use crate::owned_pod::{MANAGER, PENDING, from_template, store_status};

const NAME: &str = "job-controller";
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Changes of pods are gathered for so long.
const BATCH: Duration = Duration::from_secs(1);
/// Pause after the first failure; doubles with each.
const BACKOFF: Duration = Duration::from_secs(10);
const BACKOFF_MOST: Duration = Duration::from_secs(600);

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    pods: Owned,
}

impl Controller for Jobs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, job) if *r == JOBS => enqueue(world, &key(job), millis(8)),
            Change::Modified(r, old, job)
                if *r == JOBS && (old.get("spec") != job.get("spec") || is_deleting(old) != is_deleting(job)) =>
            {
                enqueue(world, &key(job), millis(8));
            }
            Change::Deleted(r, job) if *r == JOBS => {
                world.cancel_wake(NAME, &key(job));
                // Nobody counts these any more: let them go.
                for pod in self.pods.of(uid(job)) {
                    release(world, &pod);
                }
            }
            Change::Added(r, pod) if *r == PODS => self.pods.put(pod),
            Change::Modified(r, _, pod) if *r == PODS => {
                self.pods.put(pod);
                self.pod_changed(world, pod);
            }
            Change::Deleted(r, pod) if *r == PODS => {
                self.pods.take(pod);
                self.pod_changed(world, pod);
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, job) = split_key(key);
        if let Some(job) = world.get(&JOBS, space, job) {
            self.sync(world, &job);
        }
    }
}

fn enqueue(world: &mut dyn World, key: &str, pause: Duration) {
    let at = after(world.now(), pause);
    world.wake_at(NAME, key.to_owned(), at);
}

/// Takes the finalizer off a pod that has been counted.
fn release(world: &mut dyn World, pod: &Arc<Value>) {
    let Some(current) = world.get(&PODS, namespace(pod), name(pod)).filter(|p| uid(p) == uid(pod)) else { return };
    if !items(&current, "/metadata/finalizers").iter().any(|f| f == FINALIZER) {
        return;
    }
    let mut changed = (*current).clone();
    let rest: Vec<Value> =
        items(&current, "/metadata/finalizers").iter().filter(|f| *f != FINALIZER).cloned().collect();
    put(&mut changed, &["metadata", "finalizers"], Value::Array(rest));
    // Gone already is as good.
    let _ = world.update(&PODS, changed, MANAGER);
}

fn say(world: &mut dyn World, job: &Value, warning: bool, reason: &str, message: String) {
    world.event(Occurrence { regarding: job, field_path: None, warning, reason, message, component: NAME, host: None });
}

/// Says in the conditions that a job was suspended, or resumed, and in an Event.
fn note_suspension(world: &mut dyn World, job: &Value, status: &mut Value, suspended: bool) {
    let mut conditions = items(status, "/conditions").to_vec();
    let known = conditions.iter().position(|c| text(c, "/type") == "Suspended");
    let was = known.is_some_and(|at| text(&conditions[at], "/status") == "True");
    if was == suspended {
        return;
    }
    let (holds, reason, message) =
        if suspended { ("True", "JobSuspended", "Job suspended") } else { ("False", "JobResumed", "Job resumed") };
    let now = seconds(world.now());
    known.map(|at| conditions.remove(at));
    conditions.push(json!({
        "type": "Suspended", "status": holds, "lastProbeTime": now, "lastTransitionTime": now, "reason": reason, "message": message,
    }));
    put(status, &["conditions"], json!(conditions));
    if suspended {
        crate::fields::remove(status, &["startTime"]);
    }
    say(world, job, false, if suspended { "Suspended" } else { "Resumed" }, message.to_owned());
}

/// What the pods of a job amount to.
struct Tally {
    succeeded: i64,
    failed: i64,
    active: Vec<Arc<Value>>,
    terminating: i64,
    /// When the last one failed.
    last_failure: Option<Timestamp>,
    indexes: BTreeSet<i64>,
}

impl Jobs {
    fn pod_changed(&self, world: &mut dyn World, pod: &Value) {
        if let Some(("Job", job, owner)) = controller_of(pod) {
            let key = format!("{}/{job}", namespace(pod));
            if world.get(&JOBS, namespace(pod), job).is_some_and(|j| uid(&j) == owner) {
                enqueue(world, &key, BATCH);
            } else if let Some(pod) = world.get(&PODS, namespace(pod), name(pod)) {
                release(world, &pod);
            }
        }
    }

    /// Counts pods that have ended and lets them go. Counted ones keep no finalizer and are in the status.
    fn tally(&self, world: &mut dyn World, job: &Value) -> Tally {
        let mut tally = Tally {
            succeeded: number(job, "/status/succeeded").unwrap_or(0),
            failed: number(job, "/status/failed").unwrap_or(0),
            active: Vec::new(),
            terminating: 0,
            last_failure: None,
            indexes: parse_indexes(text(job, "/status/completedIndexes")),
        };
        for pod in self.pods.of(uid(job)) {
            let tracked = items(&pod, "/metadata/finalizers").iter().any(|f| f == FINALIZER);
            let ended = is_terminal(&pod) || is_deleting(&pod);
            if text(&pod, "/status/phase") == "Failed" || is_deleting(&pod) && !is_terminal(&pod) {
                let at = finished_at(&pod).unwrap_or_else(|| world.now());
                tally.last_failure = Some(tally.last_failure.map_or(at, |last| last.max(at)));
            }
            if is_deleting(&pod) && !is_terminal(&pod) {
                tally.terminating += 1;
            }
            if is_active(&pod) {
                tally.active.push(pod);
                continue;
            }
            if tracked && ended {
                if text(&pod, "/status/phase") == "Succeeded" {
                    tally.succeeded += 1;
                    tally.indexes.extend(index_of(&pod));
                } else {
                    tally.failed += 1;
                }
                release(world, &pod);
            }
        }
        tally
    }

    fn sync(&mut self, world: &mut dyn World, job: &Arc<Value>) {
        if finished(job) {
            return self.expire(world, job);
        }
        if is_deleting(job) {
            return;
        }
        let now = world.now();
        let suspended = truth(job, "/spec/suspend");
        let mut status = job.get("status").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
        if text(&status, "/startTime").is_empty() && !suspended {
            put(&mut status, &["startTime"], json!(seconds(now)));
        }
        let mut tally = self.tally(world, job);
        let indexed = text(job, "/spec/completionMode") == "Indexed";
        if indexed {
            tally.succeeded = tally.indexes.len() as i64;
        }
        let verdict = self.verdict(world, job, &status, &tally);
        let mut delay = None;
        match &verdict {
            Some((failed, _, _)) => {
                let rest: Vec<Arc<Value>> = tally.active.drain(..).collect();
                if *failed {
                    tally.failed += rest.len() as i64;
                }
                for pod in rest {
                    tally.terminating += 1;
                    remove(world, job, &pod);
                    release(world, &pod);
                }
            }
            None if suspended => {
                for pod in tally.active.drain(..) {
                    remove(world, job, &pod);
                    release(world, &pod);
                }
            }
            None => delay = self.manage(world, job, &mut tally, indexed),
        }
        let ready = tally.active.iter().filter(|pod| is_ready(pod)).count();
        for (field, value) in
            [("active", tally.active.len() as i64), ("succeeded", tally.succeeded), ("failed", tally.failed)]
        {
            if value > 0 {
                put(&mut status, &[field], json!(value));
            } else {
                crate::fields::remove(&mut status, &[field]);
            }
        }
        put(&mut status, &["ready"], json!(ready));
        put(&mut status, &["terminating"], json!(tally.terminating));
        put(&mut status, &["uncountedTerminatedPods"], json!({}));
        if indexed && !tally.indexes.is_empty() {
            put(&mut status, &["completedIndexes"], json!(print_indexes(&tally.indexes)));
        }
        if verdict.is_none() {
            note_suspension(world, job, &mut status, suspended);
        }
        if let Some((failed, reason, message)) = verdict {
            self.conclude(world, job, &mut status, failed, reason, message, tally.terminating);
        }
        store_status(world, &JOBS, job, status);
        if let Some(delay) = delay {
            enqueue(world, &key(job), delay);
        }
        self.watch_deadline(world, job);
    }

    /// Whether the job is over: failed or not, reason, message.
    fn verdict(
        &self,
        world: &dyn World,
        job: &Value,
        status: &Value,
        tally: &Tally,
    ) -> Option<(bool, &'static str, &'static str)> {
        if items(status, "/conditions").iter().any(|c| text(c, "/type") == "FailureTarget") {
            let deadline = items(status, "/conditions").iter().any(|c| text(c, "/reason") == "DeadlineExceeded");
            return Some(if deadline { DEADLINE } else { LIMIT });
        }
        let limit = number(job, "/spec/backoffLimit").unwrap_or(6);
        let restarts: i64 = if text(job, "/spec/template/spec/restartPolicy") == "OnFailure" {
            tally
                .active
                .iter()
                .flat_map(|pod| items(pod, "/status/containerStatuses"))
                .filter_map(|s| number(s, "/restartCount"))
                .sum()
        } else {
            0
        };
        // With restarts in place the limit is reached as soon as the last allowed one has failed.
        if tally.failed > limit || restarts > 0 && restarts >= limit {
            return Some(LIMIT);
        }
        let started = items_time(status, "/startTime");
        if let (Some(deadline), Some(started)) = (number(job, "/spec/activeDeadlineSeconds"), started)
            && between(started, world.now()) >= Duration::from_secs(deadline.max(0) as u64)
        {
            return Some(DEADLINE);
        }
        let done = match number(job, "/spec/completions") {
            Some(completions) => tally.succeeded >= completions,
            // Without completions one success decides, once all others have ended.
            None => tally.succeeded > 0 && tally.active.is_empty(),
        };
        done.then_some((false, "CompletionsReached", "Reached expected number of succeeded pods"))
    }

    /// Starts what is missing; when to look again if that has to wait.
    fn manage(
        &mut self,
        world: &mut dyn World,
        job: &Arc<Value>,
        tally: &mut Tally,
        indexed: bool,
    ) -> Option<Duration> {
        let parallelism = number(job, "/spec/parallelism").unwrap_or(1).max(0);
        let wanted = match number(job, "/spec/completions") {
            Some(completions) => (completions - tally.succeeded).min(parallelism),
            None if tally.succeeded > 0 => tally.active.len() as i64,
            None => parallelism,
        };
        while (tally.active.len() as i64) > wanted {
            let Some(pod) = tally.active.pop() else { break };
            remove(world, job, &pod);
            release(world, &pod);
        }
        let missing = wanted - tally.active.len() as i64;
        if missing <= 0 {
            return None;
        }
        if let Some(last) = tally.last_failure.filter(|_| tally.failed > 0) {
            let tries = u32::try_from(tally.failed - 1).unwrap_or(u32::MAX).min(10);
            let due = after(last, (BACKOFF * (1 << tries)).min(BACKOFF_MOST));
            let pause = between(world.now(), due);
            if !pause.is_zero() {
                return Some(pause);
            }
        }
        let mut free: Vec<i64> = Vec::new();
        if indexed {
            let taken: BTreeSet<i64> = tally.active.iter().filter_map(|pod| index_of(pod)).collect();
            let all = number(job, "/spec/completions").unwrap_or(0);
            free =
                (0..all).filter(|i| !taken.contains(i) && !tally.indexes.contains(i)).take(missing as usize).collect();
            free.reverse();
        }
        for _ in 0..missing.min(500) {
            let index = free.pop();
            if indexed && index.is_none() {
                break;
            }
            match world.create(&PODS, pod_of(job, index), MANAGER) {
                Ok(pod) => {
                    self.pods.put(&pod);
                    say(world, job, false, "SuccessfulCreate", format!("Created pod: {}", name(&pod)));
                    tally.active.push(pod);
                }
                Err(refusal) if refusal.is_pending() => return Some(PENDING),
                Err(refusal) => {
                    say(world, job, true, "FailedCreate", format!("Error creating: {}", refusal.message));
                    return Some(BACKOFF);
                }
            }
        }
        None
    }

    #[allow(clippy::too_many_arguments, reason = "the verdict in its parts")]
    fn conclude(
        &self,
        world: &mut dyn World,
        job: &Value,
        status: &mut Value,
        failed: bool,
        reason: &str,
        message: &str,
        terminating: i64,
    ) {
        let now = seconds(world.now());
        let (first, last) = if failed { ("FailureTarget", "Failed") } else { ("SuccessCriteriaMet", "Complete") };
        let mut conditions = items(status, "/conditions").to_vec();
        let condition = |kind: &str| {
            json!({
                "type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now, "reason": reason, "message": message,
            })
        };
        if !conditions.iter().any(|c| text(c, "/type") == first) {
            conditions.push(condition(first));
            put(status, &["conditions"], json!(conditions));
            store_status(world, &JOBS, job, status.clone());
        }
        // The end is told when the last pod is gone.
        if terminating == 0 {
            conditions.push(condition(last));
            if !failed {
                put(status, &["completionTime"], json!(now));
            }
            put(status, &["conditions"], json!(conditions));
            if failed {
                say(world, job, true, reason, message.to_owned());
            } else {
                say(world, job, false, "Completed", "Job completed".to_owned());
            }
            if let Some(keep) = number(job, "/spec/ttlSecondsAfterFinished") {
                enqueue(world, &key(job), Duration::from_secs(keep.max(0) as u64));
            }
        }
    }

    fn watch_deadline(&self, world: &mut dyn World, job: &Value) {
        let Some(current) = world.get(&JOBS, namespace(job), name(job)).filter(|job| !finished(job)) else { return };
        let started = items_time(&current, "/status/startTime");
        if let (Some(limit), Some(started)) = (number(job, "/spec/activeDeadlineSeconds"), started) {
            let due = after(started, Duration::from_secs(limit.max(0) as u64));
            let pause = between(world.now(), due);
            if !pause.is_zero() {
                enqueue(world, &key(job), pause.min(BACKOFF));
            }
        }
    }

    /// `ttlSecondsAfterFinished`.
    fn expire(&self, world: &mut dyn World, job: &Value) {
        for pod in self.pods.of(uid(job)) {
            if is_terminal(&pod) || is_deleting(&pod) {
                release(world, &pod);
            }
        }
        let Some(keep) = number(job, "/spec/ttlSecondsAfterFinished") else { return };
        let ended = items(job, "/status/conditions")
            .iter()
            .find(|c| matches!(text(c, "/type"), "Complete" | "Failed"))
            .map_or(world.now(), |c| time(c, "/lastTransitionTime"));
        let pause = between(world.now(), after(ended, Duration::from_secs(keep.max(0) as u64)));
        if pause.is_zero() {
            let how = Deletion { propagation: Some("Background"), ..Deletion::default() };
            let _ = world.delete(&JOBS, namespace(job), name(job), how);
        } else {
            enqueue(world, &key(job), pause);
        }
    }
}

const LIMIT: (bool, &str, &str) = (true, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
const DEADLINE: (bool, &str, &str) = (true, "DeadlineExceeded", "Job was active longer than specified deadline");

fn remove(world: &mut dyn World, job: &Value, pod: &Value) {
    if world.delete(&PODS, namespace(pod), name(pod), Deletion::default()).is_ok() {
        say(world, job, false, "SuccessfulDelete", format!("Deleted pod: {}", name(pod)));
    }
}

fn pod_of(job: &Value, index: Option<i64>) -> Value {
    let template = at(job, "/spec/template").cloned().unwrap_or_else(|| json!({}));
    let mut pod = from_template(&JOBS, job, &template);
    put(&mut pod, &["metadata", "finalizers"], json!([FINALIZER]));
    if let Some(index) = index {
        put(&mut pod, &["metadata", "generateName"], json!(format!("{}-{index}-", name(job))));
        put(&mut pod, &["metadata", "annotations", INDEX], json!(index.to_string()));
        put(&mut pod, &["metadata", "labels", INDEX], json!(index.to_string()));
        put(&mut pod, &["spec", "hostname"], json!(format!("{}-{index}", name(job))));
        for list in ["containers", "initContainers"] {
            for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                let path = format!("metadata.annotations['{INDEX}']");
                let variable = json!({"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
                let mut env = items(container, "/env").to_vec();
                env.push(variable);
                put(container, &["env"], Value::Array(env));
            }
        }
    }
    pod
}

fn finished(job: &Value) -> bool {
    items(job, "/status/conditions")
        .iter()
        .any(|c| matches!(text(c, "/type"), "Complete" | "Failed") && text(c, "/status") == "True")
}

fn items_time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

fn finished_at(pod: &Value) -> Option<Timestamp> {
    items(pod, "/status/containerStatuses").iter().filter_map(|s| items_time(s, "/state/terminated/finishedAt")).max()
}

fn index_of(pod: &Value) -> Option<i64> {
    at(pod, "/metadata/annotations")?.get(INDEX)?.as_str()?.parse().ok()
}

/// `0,2-4`.
fn parse_indexes(text: &str) -> BTreeSet<i64> {
    let mut found = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) {
            found.extend((first..=last).take(100_000));
        }
    }
    found
}

fn print_indexes(indexes: &BTreeSet<i64>) -> String {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let shown = |(first, last): &(i64, i64)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    ranges.iter().map(shown).collect::<Vec<_>>().join(",")
}
