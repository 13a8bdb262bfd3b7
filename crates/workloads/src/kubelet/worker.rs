//! One pod on its node: its containers, what is being done to it now, and when it wants to be looked at again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use shell::Process;
use simulation::{ContainerRun, Occurrence, World};

use super::backoff::Backoff;
use super::probe::Probe;
use super::stop::Stop;
use super::{Context, NAME};
use crate::fields::{after, is_deleting, items, millis, name, namespace, number, text, uid};

/// What kind of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Init,
    /// An init container that restarts always.
    Sidecar,
    App,
}

/// One run of a container.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) restart: u32,
    pub(super) id: String,
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) started: Timestamp,
    pub(super) process: Option<Process>,
    /// When the process wants to go on.
    pub(super) step_at: Option<Timestamp>,
    /// The process has ended; the runtime says so at this time.
    pub(super) ending: Option<(Timestamp, shell::Ended)>,
    pub(super) exit: Option<Exit>,
    pub(super) last_lines: VecDeque<String>,
    /// Commands from outside: the process's id of each, and the API server's.
    pub(super) execs: Vec<(u32, u64)>,
}

impl Run {
    pub(super) fn is_running(&self) -> bool {
        self.exit.is_none()
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(super) struct Exit {
    pub(super) code: i32,
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// None: it never started.
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Timestamp,
    pub(super) id: String,
}

/// A container of the pod.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) run: Option<Run>,
    pub(super) previous: Option<Exit>,
    pub(super) backoff: Backoff,
    pub(super) pull_backoff: Backoff,
    pub(super) pull_error: String,
    /// Of the image that `pull_backoff` is about.
    pub(super) pulled: String,
    pub(super) ready: bool,
    pub(super) started: bool,
    pub(super) probes: Vec<Probe>,
    pub(super) stop: Option<Stop>,
    /// Set by a failed liveness or startup probe, or a changed spec: to be killed with these words.
    pub(super) doomed: Option<String>,
    /// Spec with which it was started.
    pub(super) spec: Value,
}

impl Unit {
    pub(super) fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(Run::is_running)
    }

    pub(super) fn exit(&self) -> Option<&Exit> {
        self.run.as_ref().and_then(|run| run.exit.as_ref())
    }
}

/// A step of a sync that takes time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Job {
    Mount,
    Sandbox,
    Begin(usize),
    Pulled(usize),
    Create(usize),
    Start(usize),
    Kill(usize),
}

/// When to come back after a sync that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Failure {
    /// A container waits until then.
    Until(Timestamp),
    Other,
}

/// Where the pod is in its life.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Life {
    Alive,
    /// Its containers are being stopped.
    Stopping,
    /// They have stopped; the last status is written then.
    Stopped(Timestamp),
    /// The API object goes then.
    Leaving(Timestamp),
    /// Nothing is left to do; terminal pods stay in the API.
    Over,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) pod: Arc<Value>,
    pub(super) units: Vec<Unit>,
    pub(super) address: Option<String>,
    pub(super) sandbox: bool,
    pub(super) address_shown: bool,
    pub(super) jobs: VecDeque<Job>,
    pub(super) current: Option<(Job, Timestamp)>,
    pub(super) queue_at: Option<Timestamp>,
    pub(super) event_at: Option<Timestamp>,
    pub(super) failure: Option<Failure>,
    pub(super) again: Option<Duration>,
    pub(super) reasons: BTreeMap<String, (&'static str, String)>,
    pub(super) life: Life,
    pub(super) started: Timestamp,
    pub(super) first_synced: bool,
    pub(super) mount_pause: Duration,
    /// `DeadlineExceeded` and its message.
    pub(super) failed: Option<(&'static str, String)>,
    /// Something was due while the kubelet did not run.
    pub(super) away: bool,
}

impl Worker {
    pub(super) fn new(world: &mut dyn World, pod: &Arc<Value>) -> Self {
        let now = world.now();
        let mut units = Vec::new();
        for (pointer, init) in [("/spec/initContainers", true), ("/spec/containers", false)] {
            for container in items(pod, pointer) {
                let kind = match (init, text(container, "/restartPolicy")) {
                    (true, "Always") => Kind::Sidecar,
                    (true, _) => Kind::Init,
                    (false, _) => Kind::App,
                };
                units.push(Unit {
                    name: text(container, "/name").to_owned(),
                    kind,
                    run: None,
                    previous: None,
                    backoff: Backoff::default(),
                    pull_backoff: Backoff::default(),
                    pull_error: String::new(),
                    pulled: String::new(),
                    ready: false,
                    started: false,
                    probes: Probe::all(world, container),
                    stop: None,
                    doomed: None,
                    spec: container.clone(),
                });
            }
        }
        Self {
            pod: Arc::clone(pod),
            units,
            address: None,
            sandbox: false,
            address_shown: false,
            jobs: VecDeque::new(),
            current: None,
            queue_at: None,
            event_at: Some(after(now, millis(25))),
            failure: None,
            again: None,
            reasons: BTreeMap::new(),
            life: Life::Alive,
            started: now,
            first_synced: false,
            mount_pause: millis(500),
            failed: None,
            away: false,
        }
    }

    /// The pod has changed. False when nothing about it concerns the node.
    pub(super) fn update(&mut self, world: &mut dyn World, pod: &Arc<Value>) -> bool {
        let old = std::mem::replace(&mut self.pod, Arc::clone(pod));
        let deleting = is_deleting(pod);
        let shorter = deleting
            && number(pod, "/metadata/deletionGracePeriodSeconds")
                != number(&old, "/metadata/deletionGracePeriodSeconds");
        if old.get("spec") == pod.get("spec") && is_deleting(&old) == deleting && !shorter {
            return false;
        }
        let now = world.now();
        if shorter && self.life == Life::Stopping {
            self.shorten(now);
        }
        for unit in &mut self.units {
            let list = if unit.kind == Kind::App { "/spec/containers" } else { "/spec/initContainers" };
            let Some(spec) = items(pod, list).iter().find(|c| text(c, "/name") == unit.name) else { continue };
            if unit.is_running() && text(spec, "/image") != text(&unit.spec, "/image") {
                unit.doomed = Some(format!("Container {} definition changed, will be restarted", unit.name));
            }
        }
        self.event_at = Some(after(now, millis(20)));
        true
    }

    /// A kubelet that has started again knows nothing of probes that passed before.
    pub(super) fn found_again(&mut self, context: &mut Context<'_>) {
        for unit in &mut self.units {
            if unit.spec.get("readinessProbe").is_some_and(Value::is_object) {
                unit.ready = false;
                unit.probes = Probe::all(context.world, &unit.spec);
            }
        }
        self.write_status(context);
    }

    /// The object is gone: everything ends with it, the logs too.
    pub(super) fn removed(&mut self, world: &mut dyn World) {
        let force = !matches!(self.life, Life::Leaving(_) | Life::Over | Life::Stopped(_));
        for index in 0..self.units.len() {
            let running = self.units[index].is_running();
            self.lose_execs(world, index);
            if force && running && self.life != Life::Stopping {
                let message = format!("Stopping container {}", self.units[index].name);
                self.say(world, Some(index), false, "Killing", message);
            }
            let last = self.units[index].run.as_ref().map_or(0, |run| run.restart);
            for restart in last.saturating_sub(1)..=last {
                world.drop_log(&self.log_of(index, restart));
            }
        }
        self.life = Life::Over;
    }

    pub(super) fn is_over(&self) -> bool {
        self.life == Life::Over && !is_deleting(&self.pod) && self.units.iter().all(|u| !u.is_running())
    }

    pub(super) fn uid(&self) -> &str {
        uid(&self.pod)
    }

    pub(super) fn node(&self) -> &str {
        text(&self.pod, "/spec/nodeName")
    }

    /// `name_namespace(uid)`, as the kubelet writes pods.
    pub(super) fn full_name(&self) -> String {
        format!("{}_{}({})", name(&self.pod), namespace(&self.pod), self.uid())
    }

    pub(super) fn log_of(&self, index: usize, restart: u32) -> ContainerRun {
        ContainerRun { pod_uid: self.uid().to_owned(), container: self.units[index].name.clone(), restart }
    }

    /// The run whose log gets what its server writes.
    pub(super) fn serving_run(&self) -> Option<ContainerRun> {
        let index = self.units.iter().position(|unit| {
            unit.run
                .as_ref()
                .and_then(|run| run.process.as_ref())
                .is_some_and(|process| !process.listeners().is_empty())
        })?;
        Some(self.log_of(index, self.units[index].run.as_ref()?.restart))
    }

    /// Tells an event of the kubelet, about a container where one is given.
    pub(super) fn say(&self, world: &mut dyn World, unit: Option<usize>, warning: bool, reason: &str, message: String) {
        let field_path = unit.and_then(|index| self.units.get(index)).map(|unit| {
            let list = if unit.kind == Kind::App { "containers" } else { "initContainers" };
            format!("spec.{list}{{{}}}", unit.name)
        });
        let host = Some(self.node());
        world.event(Occurrence { regarding: &self.pod, field_path, warning, reason, message, component: NAME, host });
    }

    /// The earliest time at which something is to be done.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let life = match self.life {
            Life::Stopped(at) | Life::Leaving(at) => Some(at),
            _ => None,
        };
        let sync = if self.current.is_none() && self.life == Life::Alive {
            self.queue_at.into_iter().chain(self.event_at).min()
        } else {
            None
        };
        let deleted = (is_deleting(&self.pod) && matches!(self.life, Life::Alive | Life::Over))
            .then_some(self.event_at)
            .flatten();
        let mut due: Vec<Timestamp> = [life, sync, deleted, self.current.as_ref().map(|(_, at)| *at), self.deadline()]
            .into_iter()
            .flatten()
            .collect();
        for unit in &self.units {
            if let Some(run) = &unit.run {
                due.extend(run.step_at);
                due.extend(run.ending.map(|(at, _)| at));
                if run.is_running() && self.life == Life::Alive {
                    due.extend(unit.probes.iter().filter_map(|probe| probe.due(unit)));
                }
            }
            due.extend(unit.stop.as_ref().and_then(Stop::due));
        }
        due.into_iter().min()
    }

    /// Does whatever is due.
    pub(super) fn turn(&mut self, context: &mut Context<'_>) {
        // Bounded: whatever is left is due at once and comes again.
        for _ in 0..200 {
            let now = context.now();
            if self.next_due().is_none_or(|due| due > now) {
                return;
            }
            self.step_processes(context, now);
            self.stop_due(context, now);
            self.probe_due(context, now);
            self.life_due(context, now);
            if let Some((job, at)) = self.current.clone()
                && at <= now
            {
                self.current = None;
                self.job_done(context, job);
                self.work(context);
            }
            if self.deadline().is_some_and(|at| at <= now) {
                self.exceed_deadline(context);
            }
            let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
            let deleting = is_deleting(&self.pod);
            if due(self.event_at) && deleting && matches!(self.life, Life::Alive | Life::Over) {
                self.event_at = None;
                self.begin_termination(context);
            } else if self.current.is_none() && self.life == Life::Alive && (due(self.event_at) || due(self.queue_at)) {
                self.event_at = None;
                self.queue_at = None;
                self.sync(context);
            }
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let limit = number(&self.pod, "/spec/activeDeadlineSeconds")
            .filter(|_| self.life == Life::Alive && self.failed.is_none())?;
        self.first_synced.then(|| after(self.started, Duration::from_secs(limit.max(0) as u64)))
    }
}
