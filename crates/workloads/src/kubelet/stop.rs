//! Ending containers: one that failed its probe, or all of a pod that is deleted.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use shell::Signal;
use simulation::Deletion;
use simulation::resources::PODS;

use super::Context;
use super::sync::since_epoch;
use super::worker::{Job, Life, Worker};
use crate::fields::{after, at, items, millis, name, namespace, number, uid};

/// The stopping of one container.
#[derive(Debug)]
pub(super) struct Stop {
    /// SIGTERM is sent then; none: it has been.
    pub(super) term_at: Option<Timestamp>,
    /// SIGKILL is sent then.
    pub(super) kill_at: Option<Timestamp>,
    /// The preStop exec that SIGTERM waits for.
    pub(super) hook: Option<u32>,
    pub(super) done: bool,
}

impl Stop {
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.done { None } else { self.term_at.into_iter().chain(self.kill_at).min() }
    }
}

impl Worker {
    fn grace(&self) -> i64 {
        number(&self.pod, "/metadata/deletionGracePeriodSeconds")
            .or_else(|| number(&self.pod, "/spec/terminationGracePeriodSeconds"))
            .unwrap_or(30)
            .max(1)
    }

    /// The pod is deleted: its containers get their time.
    pub(super) fn begin_termination(&mut self, context: &mut Context<'_>) {
        self.jobs.clear();
        self.current = None;
        self.queue_at = None;
        self.address_shown = self.sandbox;
        if self.life == Life::Over {
            // It had ended before: only the object is left.
            self.life = Life::Leaving(after(context.now(), context.between(50, 150)));
            return;
        }
        // From here on, what a container waits for is not told any more.
        self.life = Life::Stopping;
        self.write_status(context);
        self.stop_all(context);
        self.stopped_one(context);
    }

    pub(super) fn stop_all(&mut self, context: &mut Context<'_>) {
        let grace = self.grace();
        for index in 0..self.units.len() {
            if self.units[index].is_running() {
                let message = format!("Stopping container {}", self.units[index].name);
                self.say(context.world, Some(index), false, "Killing", message);
                self.begin_stop(context, index, grace);
            }
        }
    }

    fn begin_stop(&mut self, context: &mut Context<'_>, index: usize, grace: i64) {
        let now = context.now();
        let mut stop = Stop {
            term_at: Some(after(now, millis(20))),
            kill_at: Some(after(now, Duration::from_secs(grace as u64) + millis(40))),
            hook: None,
            done: false,
        };
        let hook = at(&self.units[index].spec, "/lifecycle/preStop").cloned().unwrap_or(Value::Null);
        let command: Vec<String> =
            items(&hook, "/exec/command").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if let Some(seconds) = number(&hook, "/sleep/seconds") {
            stop.term_at = Some(after(now, Duration::from_secs(seconds.max(0) as u64)));
        } else if !command.is_empty()
            && let Some(run) = self.units[index].run.as_mut()
            && let Some(process) = run.process.as_mut()
            && process.can_exec(&command).is_ok()
        {
            stop.hook = Some(process.exec(&command, since_epoch(now)));
            stop.term_at = None;
            run.step_at = Some(now);
        }
        self.units[index].stop = Some(stop);
    }

    /// The preStop hook has run.
    pub(super) fn hook_done(&mut self, index: usize, now: Timestamp, id: u32) -> bool {
        let Some(stop) = self.units[index].stop.as_mut().filter(|stop| stop.hook == Some(id)) else { return false };
        stop.hook = None;
        stop.term_at = Some(now);
        true
    }

    /// A second deletion with a shorter period.
    pub(super) fn shorten(&mut self, now: Timestamp) {
        let at = after(now, Duration::from_secs(self.grace() as u64));
        for unit in &mut self.units {
            if let Some(stop) = &mut unit.stop {
                stop.kill_at = stop.kill_at.map(|kill| kill.min(at));
            }
        }
    }

    /// Sends the signals that are due.
    pub(super) fn stop_due(&mut self, context: &mut Context<'_>, now: Timestamp) {
        for index in 0..self.units.len() {
            let Some(stop) = self.units[index].stop.as_mut().filter(|stop| !stop.done) else { continue };
            let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
            let signal = if due(stop.kill_at) {
                stop.kill_at = None;
                stop.term_at = None;
                Signal::Kill
            } else if due(stop.term_at) {
                stop.term_at = None;
                Signal::Term
            } else {
                continue;
            };
            if let Some(process) = self.units[index].run.as_mut().and_then(|run| run.process.as_mut()) {
                process.signal(signal, since_epoch(now));
            }
            self.step_process(context, index, now);
        }
    }

    /// Kills a container inside a sync; the deadline for its end.
    pub(super) fn kill(&mut self, context: &mut Context<'_>, index: usize) -> Option<Duration> {
        if !self.units[index].is_running() {
            return None;
        }
        let message = self.units[index].doomed.clone().unwrap_or_default();
        self.say(context.world, Some(index), false, "Killing", message);
        let own = self.units[index].probes.iter().find_map(|probe| probe.grace());
        let grace = own.or_else(|| number(&self.pod, "/spec/terminationGracePeriodSeconds")).unwrap_or(30).max(1);
        self.begin_stop(context, index, grace);
        Some(Duration::from_secs(grace as u64 + 5))
    }

    /// The kill job is over, by its end or by its time.
    pub(super) fn kill_now(&mut self, context: &mut Context<'_>, index: usize) {
        if self.units[index].is_running() {
            let now = context.now();
            if let Some(process) = self.units[index].run.as_mut().and_then(|run| run.process.as_mut()) {
                process.signal(Signal::Kill, since_epoch(now));
            }
            self.step_process(context, index, now);
            self.current = Some((Job::Kill(index), after(now, millis(100))));
            return;
        }
        if !self.jobs.contains(&Job::Begin(index)) && self.should_run(index) {
            self.jobs.push_front(Job::Begin(index));
        }
    }

    /// Looks whether that was the last one.
    pub(super) fn stopped_one(&mut self, context: &mut Context<'_>) {
        if self.life != Life::Stopping || self.units.iter().any(super::worker::Unit::is_running) {
            return;
        }
        let deleting = crate::fields::is_deleting(&self.pod);
        let pause = context.between(80, 300);
        if deleting || self.failed.is_some() {
            self.life = Life::Stopped(after(context.now(), pause));
        } else {
            // Sidecars of a pod that is complete.
            self.life = Life::Over;
            self.write_status(context);
        }
    }

    /// The last status, then the end of the object.
    pub(super) fn life_due(&mut self, context: &mut Context<'_>, now: Timestamp) {
        match self.life {
            Life::Stopped(at) if at <= now => {
                if let Some((_, message)) = self.failed.clone() {
                    self.say(context.world, None, false, "DeadlineExceeded", message);
                }
                self.write_status(context);
                if !crate::fields::is_deleting(&self.pod) {
                    self.life = Life::Over;
                    return;
                }
                self.life = Life::Leaving(after(now, context.between(60, 400)));
            }
            Life::Leaving(at) if at <= now => {
                self.life = Life::Over;
                let how = Deletion { grace_seconds: Some(0), uid: Some(uid(&self.pod).to_owned()), propagation: None };
                // Deleted by force meanwhile: then it is gone as wanted.
                let _ = context.world.delete(&PODS, namespace(&self.pod), name(&self.pod), how);
            }
            _ => {}
        }
    }

    /// `activeDeadlineSeconds` has passed.
    pub(super) fn exceed_deadline(&mut self, context: &mut Context<'_>) {
        let message = "Pod was active on the node longer than the specified deadline".to_owned();
        self.say(context.world, None, false, "DeadlineExceeded", message.clone());
        self.failed = Some(("DeadlineExceeded", message));
        self.jobs.clear();
        self.current = None;
        self.life = Life::Stopping;
        self.stop_all(context);
        self.stopped_one(context);
    }
}
