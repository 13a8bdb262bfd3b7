//! Starting one container: back-off, image, configuration, process.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use shell::{Process, Start};

use super::Context;
use super::sync::since_epoch;
use super::worker::{Exit, Failure, Job, Run, Worker};
use crate::fields::{after, at, items, millis, name, number, text};
use crate::quantity;

impl Worker {
    /// Back-off first, then the image.
    pub(super) fn begin_container(&mut self, context: &mut Context<'_>, index: usize) -> Option<Duration> {
        let now = context.now();
        let list = if self.units[index].kind == super::worker::Kind::App {
            "/spec/containers"
        } else {
            "/spec/initContainers"
        };
        let container = self.units[index].name.clone();
        if let Some(spec) = items(&self.pod, list).iter().find(|c| text(c, "/name") == container) {
            self.units[index].spec = spec.clone();
        }
        // The snapshot of before this sync decides: what was killed in it does not count yet.
        let finished = match self.units[index].exit() {
            Some(exit) if self.units[index].stop.is_none() => Some(exit.finished),
            _ => self.units[index].previous.as_ref().map(|exit| exit.finished),
        };
        self.units[index].stop = None;
        if let Some(finished) = finished {
            if self.units[index].backoff.holds_since(finished, now) {
                let message = format!("Back-off restarting failed container {container} in pod {}", self.full_name());
                self.say(context.world, Some(index), true, "BackOff", message);
                let backoff = &self.units[index].backoff;
                let (pause, until) = (go_duration(backoff.pause()), backoff.until(finished));
                let message =
                    format!("back-off {pause} restarting failed container={container} pod={}", self.full_name());
                self.fail(index, "CrashLoopBackOff", message, Failure::Until(until));
                return None;
            }
            self.units[index].backoff.grow(finished, now);
        }
        self.image(context, index)
    }

    /// Notes why a container does not run; the next status tells it.
    pub(super) fn fail(&mut self, index: usize, reason: &'static str, message: String, failure: Failure) {
        self.reasons.insert(self.units[index].name.clone(), (reason, message));
        self.failure = Some(match (self.failure, failure) {
            (Some(Failure::Until(a)), Failure::Until(b)) => Failure::Until(a.min(b)),
            (Some(Failure::Other), _) | (_, Failure::Other) => Failure::Other,
            (None, failure) => failure,
        });
    }

    /// The image is there: go on with the container.
    pub(super) fn image_present(&mut self, index: usize) {
        self.jobs.push_front(Job::Start(index));
        self.jobs.push_front(Job::Create(index));
    }

    /// Configuration: environment and security settings.
    pub(super) fn create_container(&mut self, context: &mut Context<'_>, index: usize) {
        let problem = self.configuration_problem(context, index);
        if let Some(message) = problem {
            self.jobs.retain(|job| *job != Job::Start(index));
            self.say(context.world, Some(index), true, "Failed", format!("Error: {message}"));
            self.fail(index, "CreateContainerConfigError", message, Failure::Other);
            return;
        }
        self.say(context.world, Some(index), false, "Created", "Container created".to_owned());
    }

    fn configuration_problem(&self, context: &Context<'_>, index: usize) -> Option<String> {
        if let Err(message) = self.environment(context, index) {
            return Some(message);
        }
        let spec = &self.units[index].spec;
        let setting = |field: &str| {
            at(spec, &format!("/securityContext/{field}"))
                .or_else(|| at(&self.pod, &format!("/spec/securityContext/{field}")))
        };
        let must_not = setting("runAsNonRoot").and_then(Value::as_bool).unwrap_or(false);
        let user = setting("runAsUser").and_then(Value::as_i64);
        let image_user = shell::resolve(text(spec, "/image")).map_or(0, |image| image.user);
        let container = &self.units[index].name;
        match user {
            Some(0) if must_not => Some(format!(
                "container's runAsUser breaks non-root policy (pod: \"{}\", container: {container})",
                self.full_name()
            )),
            None if must_not && image_user == 0 => Some(format!(
                "container has runAsNonRoot and image will run as root (pod: \"{}\", container: {container})",
                self.full_name()
            )),
            _ => None,
        }
    }

    pub(super) fn start_container(&mut self, context: &mut Context<'_>, index: usize) {
        let now = context.now();
        let Ok(image) = shell::resolve(text(&self.units[index].spec, "/image")) else { return };
        let env = self.environment(context, index).unwrap_or_default();
        let (files, directories) = self.mounted(context, index);
        let spec = self.units[index].spec.clone();
        let expand = |pointer: &str| -> Vec<String> {
            items(&spec, pointer)
                .iter()
                .filter_map(Value::as_str)
                .map(|word| super::environment::expand(word, &env))
                .collect()
        };
        let (command, args) = (expand("/command"), expand("/args"));
        let setting = |field: &str| {
            number(&spec, &format!("/securityContext/{field}"))
                .or_else(|| number(&self.pod, &format!("/spec/securityContext/{field}")))
        };
        let user = setting("runAsUser").map_or(image.user, |u| u as u32);
        let hostname =
            Some(text(&self.pod, "/spec/hostname")).filter(|h| !h.is_empty()).unwrap_or(name(&self.pod)).to_owned();
        let address = self.address.clone().unwrap_or_default();
        let started = Process::start(
            Start {
                image: &image,
                command: &command,
                args: &args,
                env,
                working_dir: Some(text(&spec, "/workingDir")).filter(|d| !d.is_empty()),
                hostname: &hostname,
                ip: &address,
                files,
                directories,
                memory_limit: spec
                    .pointer("/resources/limits/memory")
                    .and_then(quantity::whole)
                    .and_then(|n| u64::try_from(n).ok()),
                user: (user, setting("runAsGroup").unwrap_or(0) as u32),
            },
            since_epoch(now),
        );
        let id = self.container_id(context);
        let restart = self.units[index].run.as_ref().map_or(0, |run| run.restart + 1);
        let unit = &mut self.units[index];
        if let Some(old) = unit.run.take() {
            unit.previous = old.exit;
        }
        let (process, exit) = match started {
            Ok(process) => (Some(process), None),
            Err(error) => {
                let exit = Exit {
                    code: 128,
                    reason: "StartError",
                    message: error.to_string(),
                    started: None,
                    finished: now,
                    id: id.clone(),
                };
                (None, Some(exit))
            }
        };
        let failed = exit.as_ref().map(|exit| exit.message.clone());
        unit.run = Some(Run {
            restart,
            id,
            image: image.name.clone(),
            image_id: image.id.clone(),
            started: now,
            step_at: process.is_some().then(|| after(now, millis(2))),
            process,
            ending: None,
            exit,
            last_lines: VecDeque::new(),
            execs: Vec::new(),
        });
        unit.doomed = None;
        unit.started = false;
        unit.ready = false;
        match failed {
            Some(message) => {
                self.say(context.world, Some(index), true, "Failed", format!("Error: {message}"));
                self.fail(index, "RunContainerError", message, Failure::Other);
                if restart > 0 {
                    context.world.drop_log(&self.log_of(index, restart - 1));
                }
                self.again = Some(if restart == 0 { context.between(30, 60) } else { Duration::MAX });
            }
            None => {
                self.reasons.remove(&self.units[index].name);
                self.say(context.world, Some(index), false, "Started", "Container started".to_owned());
                self.begin_probes(context, index);
                self.seen_running(context);
            }
        }
    }

    fn container_id(&self, context: &mut Context<'_>) -> String {
        let parts: String = (0..4).map(|_| format!("{:016x}", context.world.random())).collect();
        format!("containerd://{parts}")
    }
}

/// `10s`, `1m20s`, `5m0s`: as Go prints durations.
pub(super) fn go_duration(pause: Duration) -> String {
    let seconds = pause.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}
