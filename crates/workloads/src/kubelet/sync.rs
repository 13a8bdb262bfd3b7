//! One sync of a pod: status first, then what is to be done, step by step.

use std::time::Duration;

use jiff::Timestamp;
use shell::Effect;

use super::Context;
use super::network::View;
use super::worker::{Exit, Failure, Job, Kind, Life, Run, Worker};
use crate::fields::{after, between, is_deleting, millis, namespace, text};

/// Pause after a failed sync, before jitter.
const RETRY: Duration = Duration::from_secs(10);
/// A process that ends at once is still seen running for so long.
const SHORTEST: Duration = Duration::from_millis(45);
/// Lines of a log that a termination message may be made of.
const LAST_LINES: usize = 80;

impl Worker {
    pub(super) fn sync(&mut self, context: &mut Context<'_>) {
        if is_deleting(&self.pod) {
            return self.begin_termination(context);
        }
        self.first_synced = true;
        self.failure = None;
        self.again = None;
        self.address_shown = self.sandbox;
        self.write_status(context);
        if self.is_finished() {
            return self.finish(context);
        }
        self.plan(context.now());
        self.work(context);
    }

    /// Whether all that the pod should do is done: it stays as it is.
    fn is_finished(&self) -> bool {
        matches!(self.phase(), "Succeeded" | "Failed")
    }

    /// Sidecars are stopped, then nothing more happens to the pod.
    fn finish(&mut self, context: &mut Context<'_>) {
        if self.units.iter().any(super::worker::Unit::is_running) {
            self.stop_all(context);
            self.life = Life::Stopping;
        } else {
            self.life = Life::Over;
        }
    }

    /// Computes the actions (`computePodActions`).
    fn plan(&mut self, now: Timestamp) {
        let _ = now;
        self.jobs.clear();
        if !self.sandbox {
            self.jobs.extend([Job::Mount, Job::Sandbox]);
            self.mount_pause = millis(500);
        }
        for (index, unit) in self.units.iter().enumerate() {
            if unit.is_running() && unit.doomed.is_some() {
                self.jobs.push_back(Job::Kill(index));
            }
        }
        for (index, unit) in self.units.iter().enumerate().filter(|(_, unit)| unit.kind != Kind::App) {
            let to_begin = (!unit.is_running() || unit.doomed.is_some()) && self.should_run(index);
            match unit.kind {
                Kind::Sidecar if to_begin => {
                    self.jobs.push_back(Job::Begin(index));
                    if !unit.started {
                        return;
                    }
                }
                Kind::Sidecar if !unit.started => return,
                Kind::Sidecar => {}
                _ if unit.exit().is_some_and(|exit| exit.code == 0) => {}
                _ => {
                    if to_begin {
                        self.jobs.push_back(Job::Begin(index));
                    }
                    return;
                }
            }
        }
        for (index, unit) in self.units.iter().enumerate().filter(|(_, unit)| unit.kind == Kind::App) {
            if (!unit.is_running() || unit.doomed.is_some()) && self.should_run(index) {
                self.jobs.push_back(Job::Begin(index));
            }
        }
    }

    /// Whether a container that does not run should.
    pub(super) fn should_run(&self, index: usize) -> bool {
        let unit = &self.units[index];
        let Some(exit) = unit.exit() else { return true };
        match (unit.kind, text(&self.pod, "/spec/restartPolicy")) {
            (Kind::Sidecar, _) => true,
            (Kind::Init, "Never") => false,
            (Kind::Init, _) => exit.code != 0,
            (Kind::App, "Never") => false,
            (Kind::App, "OnFailure") => exit.code != 0,
            (Kind::App, _) => true,
        }
    }

    /// Goes on with the jobs until one takes time or none is left.
    pub(super) fn work(&mut self, context: &mut Context<'_>) {
        while self.current.is_none() {
            let Some(job) = self.jobs.pop_front() else { return self.end_sync(context) };
            if let Some(pause) = self.begin(context, &job) {
                self.current = Some((job, after(context.now(), pause)))
            }
        }
    }

    /// Begins a job; the time that it takes, or none when it is over at once.
    fn begin(&mut self, context: &mut Context<'_>, job: &Job) -> Option<Duration> {
        match job {
            Job::Mount => Some(context.between(20, 60)),
            Job::Sandbox => Some(context.between(380, 560)),
            Job::Begin(index) => self.begin_container(context, *index),
            Job::Pulled(_) => Some(context.between(60, 120)),
            Job::Create(_) => Some(context.between(20, 40)),
            Job::Start(_) => Some(context.between(80, 120)),
            Job::Kill(index) => self.kill(context, *index),
        }
    }

    pub(super) fn job_done(&mut self, context: &mut Context<'_>, job: Job) {
        match job {
            Job::Mount => self.mount(context),
            Job::Sandbox => self.make_sandbox(context),
            Job::Pulled(index) => self.pull_done(context, index),
            Job::Create(index) => self.create_container(context, index),
            Job::Start(index) => self.start_container(context, index),
            Job::Kill(index) => self.kill_now(context, index),
            Job::Begin(_) => {}
        }
    }

    /// Volumes first: a sync waits for them.
    fn mount(&mut self, context: &mut Context<'_>) {
        let problems = self.mount_problems(context);
        if problems.is_empty() {
            return;
        }
        for message in problems {
            self.say(context.world, None, true, "FailedMount", message);
        }
        self.current = Some((Job::Mount, after(context.now(), self.mount_pause)));
        self.mount_pause = (self.mount_pause * 2).min(Duration::from_secs(122));
    }

    fn make_sandbox(&mut self, context: &mut Context<'_>) {
        self.sandbox = true;
        let host = crate::fields::truth(&self.pod, "/spec/hostNetwork");
        let address = if host {
            context.shared.nodes.get(self.node()).map(|n| n.address.clone()).unwrap_or_default()
        } else {
            let n = context.shared.next_address;
            context.shared.next_address = if n >= 60_000 { 1 } else { n + 1 };
            format!("10.88.{}.{}", 1 + n / 250, 2 + n % 250)
        };
        self.address = Some(address.clone());
        context.shared.listeners.insert(address, (self.uid().to_owned(), Vec::new()));
        self.write_status(context);
        self.again = Some(Duration::MAX);
    }

    /// The sync is over: when is the next?
    fn end_sync(&mut self, context: &mut Context<'_>) {
        let now = context.now();
        let node = self.node().to_owned();
        match self.failure.take() {
            Some(Failure::Until(at)) => {
                let pause = context.jittered(between(now, at));
                self.queue_at = Some(context.tick(&node, after(now, pause)));
            }
            Some(Failure::Other) => {
                let pause = context.jittered(RETRY);
                self.queue_at = Some(context.tick(&node, after(now, pause)));
            }
            None => {}
        }
        if let Some(pause) = self.again.take() {
            // What has changed in the runtime is seen at the next relist; a start is asked for at once.
            let at =
                if pause == Duration::MAX { context.tick(&node, after(now, millis(60))) } else { after(now, pause) };
            self.event_at = Some(self.event_at.map_or(at, |event| event.min(at)));
        }
    }

    /// Lets processes that are due go on.
    pub(super) fn step_processes(&mut self, context: &mut Context<'_>, now: Timestamp) {
        for index in 0..self.units.len() {
            let due = self.units[index].run.as_ref().is_some_and(|run| run.step_at.is_some_and(|at| at <= now));
            if due {
                self.step_process(context, index, now);
            }
            let ended = self.units[index].run.as_ref().and_then(|run| run.ending).filter(|(at, _)| *at <= now);
            if let Some((at, ended)) = ended {
                self.process_ended(context, index, at, ended);
            }
        }
    }

    pub(super) fn step_process(&mut self, context: &mut Context<'_>, index: usize, now: Timestamp) {
        let space = namespace(&self.pod).to_owned();
        let own = self.address.clone().unwrap_or_default();
        let Some(run) = self.units[index].run.as_mut() else { return };
        let Some(process) = run.process.as_mut() else { return };
        let view = View {
            world: &*context.world,
            shared: context.shared,
            namespace: &space,
            own: &own,
            access: Default::default(),
        };
        let effects = process.step(since_epoch(now), &view);
        let access = view.access.into_inner();
        run.step_at = process.wake_at().map(|at| from_epoch(at).max(after(now, Duration::from_micros(100))));
        context.shared.access.extend(access);
        for effect in effects {
            self.effect(context, index, now, effect);
        }
        self.show_listeners(context);
    }

    fn effect(&mut self, context: &mut Context<'_>, index: usize, now: Timestamp, effect: Effect) {
        let Some(run) = self.units[index].run.as_mut() else { return };
        match effect {
            Effect::Line { stderr, text } => {
                run.last_lines.push_back(text.clone());
                if run.last_lines.len() > LAST_LINES {
                    run.last_lines.pop_front();
                }
                let restart = run.restart;
                let log = self.log_of(index, restart);
                context.world.log(&log, stderr, &text);
            }
            Effect::Listening => {}
            Effect::Output { id, stderr, data } => {
                if let Some((_, exec)) = run.execs.iter().find(|(own, _)| *own == id) {
                    context.world.exec_output(*exec, stderr, &data);
                }
            }
            Effect::Executed(result) => match run.execs.iter().position(|(own, _)| *own == result.id) {
                Some(at) => {
                    let (_, exec) = run.execs.swap_remove(at);
                    context.world.exec_ended(exec, result.code);
                }
                None => self.exec_done(context, index, now, &result),
            },
            Effect::Ended(ended) => run.ending = Some((now.max(after(run.started, SHORTEST)), ended)),
        }
    }

    /// Makes the open ports of all containers known.
    pub(super) fn show_listeners(&self, context: &mut Context<'_>) {
        let Some(address) = &self.address else { return };
        let listeners: Vec<shell::Listener> = self
            .units
            .iter()
            .filter_map(|unit| unit.run.as_ref()?.process.as_ref())
            .flat_map(|process| process.listeners().iter().cloned())
            .collect();
        if let Some(entry) = context.shared.listeners.get_mut(address) {
            entry.1 = listeners;
        }
    }

    fn process_ended(&mut self, context: &mut Context<'_>, index: usize, at: Timestamp, ended: shell::Ended) {
        let spec_message = text(&self.units[index].spec, "/terminationMessagePolicy") == "FallbackToLogsOnError";
        let Some(run) = self.units[index].run.as_mut() else { return };
        run.ending = None;
        run.step_at = None;
        run.process = None;
        let reason = match (ended.out_of_memory, ended.code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        };
        let message = if spec_message && ended.code != 0 { tail(run) } else { String::new() };
        run.exit = Some(Exit {
            code: ended.code,
            reason,
            message,
            started: Some(run.started),
            finished: at,
            id: run.id.clone(),
        });
        let restart = run.restart;
        self.lose_execs(context.world, index);
        let unit = &mut self.units[index];
        unit.ready = false;
        unit.started = false;
        unit.doomed = None;
        for probe in &mut unit.probes {
            probe.forget();
        }
        if let Some(stop) = &mut unit.stop {
            stop.done = true;
        }
        // Only the latest dead container is kept: the one before is removed, its log with it.
        if restart > 0 {
            context.world.drop_log(&self.log_of(index, restart - 1));
        }
        self.show_listeners(context);
        match (&self.life, &self.current) {
            (Life::Alive, Some((Job::Kill(killed), _))) if *killed == index => {
                self.current = Some((Job::Kill(index), after(at, millis(60))));
            }
            (Life::Alive, _) => {
                let node = self.node().to_owned();
                let relist = context.tick(&node, after(at, millis(5)));
                self.event_at = Some(self.event_at.map_or(relist, |event| event.min(relist)));
            }
            _ => {}
        }
        self.stopped_one(context);
    }

    /// A container is up: the status says so at once.
    pub(super) fn seen_running(&mut self, context: &mut Context<'_>) {
        self.again = Some(context.between(8, 14));
    }
}

/// The end of the log, as a termination message: at most 80 lines and 2048 bytes.
fn tail(run: &Run) -> String {
    let mut text = run.last_lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    if text.len() > 2048 {
        let mut start = text.len() - 2048;
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text.drain(..start);
    }
    text
}

pub(super) fn since_epoch(at: Timestamp) -> Duration {
    Duration::try_from(at.as_duration()).unwrap_or_default()
}

pub(super) fn from_epoch(at: Duration) -> Timestamp {
    after(Timestamp::UNIX_EPOCH, at)
}
