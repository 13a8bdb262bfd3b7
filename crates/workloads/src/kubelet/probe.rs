//! Liveness, readiness and startup probes.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use shell::{ExecResult, Network, Reply, Request};
use simulation::World;

use super::Context;
use super::network::View;
use super::sync::since_epoch;
use super::worker::{Unit, Worker};
use crate::fields::{after, between, items, millis, namespace, number, text};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Startup,
    Liveness,
    Readiness,
}

/// One probe of a container.
#[derive(Debug)]
pub(super) struct Probe {
    purpose: Purpose,
    spec: Value,
    /// Where in its period it is run.
    phase: Duration,
    next: Option<Timestamp>,
    successes: i64,
    failures: i64,
    passed: Option<bool>,
    exec: Option<(u32, Timestamp)>,
}

impl Probe {
    /// All probes that a container has.
    pub(super) fn all(world: &mut dyn World, container: &Value) -> Vec<Self> {
        [
            ("startupProbe", Purpose::Startup),
            ("livenessProbe", Purpose::Liveness),
            ("readinessProbe", Purpose::Readiness),
        ]
        .into_iter()
        .filter_map(|(field, purpose)| {
            let spec = container.get(field).filter(|p| p.is_object())?.clone();
            let period = number(&spec, "/periodSeconds").unwrap_or(10).max(1) as u64;
            let phase = millis(world.random() % (period * 1000));
            Some(Self { purpose, spec, phase, next: None, successes: 0, failures: 0, passed: None, exec: None })
        })
        .collect()
    }

    fn period(&self) -> Duration {
        Duration::from_secs(number(&self.spec, "/periodSeconds").unwrap_or(10).max(1) as u64)
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(number(&self.spec, "/timeoutSeconds").unwrap_or(1).max(1) as u64)
    }

    /// Its own grace period, for the probes that kill.
    pub(super) fn grace(&self) -> Option<i64> {
        let failed = self.passed == Some(false) && self.purpose != Purpose::Readiness;
        number(&self.spec, "/terminationGracePeriodSeconds").filter(|_| failed)
    }

    /// The container has ended.
    pub(super) fn forget(&mut self) {
        (self.next, self.successes, self.failures, self.passed, self.exec) = (None, 0, 0, None, None);
    }

    pub(super) fn due(&self, unit: &Unit) -> Option<Timestamp> {
        if unit.doomed.is_some() || unit.stop.is_some() {
            return None;
        }
        match self.exec {
            Some((_, deadline)) => Some(deadline),
            None => self.next,
        }
    }

    /// The next tick of its period after a time.
    fn tick(&self, at: Timestamp) -> Timestamp {
        let period = self.period().as_nanos() as i128;
        let rest = (at.as_nanosecond() - self.phase.as_nanos() as i128).rem_euclid(period);
        after(at, Duration::from_nanos((period - rest) as u64))
    }
}

impl Worker {
    /// The container has started: probes begin with it.
    pub(super) fn begin_probes(&mut self, context: &mut Context<'_>, index: usize) {
        let now = context.now();
        let unit = &mut self.units[index];
        let startup = unit.probes.iter().any(|p| p.purpose == Purpose::Startup);
        let readiness = unit.probes.iter().any(|p| p.purpose == Purpose::Readiness);
        unit.started = !startup;
        unit.ready = !startup && !readiness;
        for probe in &mut unit.probes {
            probe.forget();
            let delay = Duration::from_secs(number(&probe.spec, "/initialDelaySeconds").unwrap_or(0).max(0) as u64);
            // Readiness is asked for at once when the container is seen to run.
            let soon = probe.purpose == Purpose::Readiness && delay.is_zero() && !startup;
            probe.next = Some(if soon { after(now, millis(30)) } else { probe.tick(after(now, delay)) });
        }
    }

    pub(super) fn probe_due(&mut self, context: &mut Context<'_>, now: Timestamp) {
        for index in 0..self.units.len() {
            for at in 0..self.units[index].probes.len() {
                let unit = &self.units[index];
                if !unit.is_running() || unit.probes[at].due(unit).is_none_or(|due| due > now) {
                    continue;
                }
                match unit.probes[at].exec {
                    Some((id, _)) => {
                        self.units[index].probes[at].exec = None;
                        if let Some(process) = self.units[index].run.as_mut().and_then(|run| run.process.as_mut()) {
                            process.cancel_exec(id);
                        }
                        let limit = self.units[index].probes[at].timeout().as_secs();
                        self.judge(context, index, at, Err(format!("command timed out: after {limit}s")));
                    }
                    None => self.run_probe(context, index, at, now),
                }
            }
        }
    }

    fn run_probe(&mut self, context: &mut Context<'_>, index: usize, at: usize, now: Timestamp) {
        let started = self.units[index].started;
        let probe = &mut self.units[index].probes[at];
        probe.next = Some(probe.tick(now));
        // Startup alone runs until the container has started, and never after.
        if (probe.purpose == Purpose::Startup) == started {
            if started {
                probe.next = None;
            }
            return;
        }
        let spec = probe.spec.clone();
        let timeout = probe.timeout();
        if spec.get("exec").is_some() {
            let command: Vec<String> =
                items(&spec, "/exec/command").iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let Some(run) = self.units[index].run.as_mut() else { return };
            let Some(process) = run.process.as_mut() else { return };
            if let Err(message) = process.can_exec(&command) {
                return self.judge(context, index, at, Err(message));
            }
            let id = process.exec(&command, since_epoch(now));
            run.step_at = Some(now);
            self.units[index].probes[at].exec = Some((id, after(now, timeout)));
            return self.step_process(context, index, now);
        }
        let outcome = self.ask(context, index, &spec);
        self.judge(context, index, at, outcome);
    }

    /// HTTP, TCP and gRPC probes.
    fn ask(&self, context: &mut Context<'_>, index: usize, spec: &Value) -> Result<(), String> {
        let own = self.address.clone().unwrap_or_default();
        let (kind, source) = ["httpGet", "tcpSocket", "grpc"]
            .iter()
            .find_map(|k| Some((*k, spec.get(*k)?)))
            .unwrap_or(("", &Value::Null));
        let host = Some(text(source, "/host")).filter(|h| !h.is_empty()).unwrap_or(&own).to_owned();
        let port = match source.get("port") {
            Some(Value::String(wanted)) => wanted.parse().ok().or_else(|| {
                let ports = items(&self.units[index].spec, "/ports");
                ports.iter().find(|p| text(p, "/name") == wanted).and_then(|p| number(p, "/containerPort"))
            }),
            Some(port) => port.as_i64(),
            None => None,
        };
        let Some(port) = port.and_then(|p| u16::try_from(p).ok()) else {
            return Err("couldn't find a named port in the container".to_owned());
        };
        let path = match text(source, "/path") {
            "" => "/".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        };
        let node = context.shared.nodes.get(self.node()).map(|n| n.address.clone()).unwrap_or_default();
        let request = Request {
            host: host.clone(),
            port,
            path: path.clone(),
            from: node,
            agent: "kube-probe/1.36".to_owned(),
            tls: false,
            authorization: String::new(),
        };
        let view = View {
            world: &*context.world,
            shared: context.shared,
            namespace: namespace(&self.pod),
            own: &own,
            access: Default::default(),
        };
        let reply = view.http(&request);
        let access = view.access.into_inner();
        let scheme = Some(text(source, "/scheme").to_ascii_lowercase())
            .filter(|s| !s.is_empty())
            .unwrap_or_else(|| "http".to_owned());
        let url = format!("{scheme}://{host}:{port}{path}");
        if kind == "httpGet" {
            context.shared.access.extend(access);
        }
        match (kind, reply) {
            ("httpGet", Reply::Answer(answer)) if scheme == "http" && (200..400).contains(&answer.status) => Ok(()),
            ("httpGet", Reply::Answer(answer)) if scheme == "http" => {
                Err(format!("HTTP probe failed with statuscode: {}", answer.status))
            }
            ("httpGet", Reply::Answer(_)) => {
                Err(format!("Get \"{url}\": http: server gave HTTP response to HTTPS client"))
            }
            ("httpGet", Reply::Refused) => {
                Err(format!("Get \"{url}\": dial tcp {host}:{port}: connect: connection refused"))
            }
            ("httpGet", _) => Err(format!(
                "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            )),
            ("tcpSocket", Reply::Answer(_) | Reply::Silent) => Ok(()),
            ("tcpSocket", Reply::Refused) => Err(format!("dial tcp {host}:{port}: connect: connection refused")),
            ("tcpSocket", _) => Err(format!("dial tcp {host}:{port}: i/o timeout")),
            _ => Err(format!(
                "timeout: failed to connect service \"{host}:{port}\" within 1s: context deadline exceeded"
            )),
        }
    }

    /// An exec inside a container has ended.
    pub(super) fn exec_done(&mut self, context: &mut Context<'_>, index: usize, now: Timestamp, result: &ExecResult) {
        if self.hook_done(index, now, result.id) {
            return;
        }
        let Some(at) = self.units[index].probes.iter().position(|p| p.exec.is_some_and(|(id, _)| id == result.id))
        else {
            return;
        };
        self.units[index].probes[at].exec = None;
        let outcome = if result.code == 0 { Ok(()) } else { Err(result.output.clone()) };
        self.judge(context, index, at, outcome);
    }

    /// Counts the outcome against the thresholds.
    fn judge(&mut self, context: &mut Context<'_>, index: usize, at: usize, outcome: Result<(), String>) {
        let container = self.units[index].name.clone();
        let probe = &mut self.units[index].probes[at];
        let purpose = probe.purpose;
        let word = match purpose {
            Purpose::Startup => "Startup",
            Purpose::Liveness => "Liveness",
            Purpose::Readiness => "Readiness",
        };
        let passed = match &outcome {
            Ok(()) => {
                (probe.successes, probe.failures) = (probe.successes + 1, 0);
                probe.successes >= number(&probe.spec, "/successThreshold").unwrap_or(1)
            }
            Err(_) => {
                (probe.successes, probe.failures) = (0, probe.failures + 1);
                probe.failures < number(&probe.spec, "/failureThreshold").unwrap_or(3)
            }
        };
        // Below a threshold the result stays what it was.
        let decided = passed == outcome.is_ok();
        if decided {
            probe.passed = Some(passed);
        }
        if let Err(message) = outcome {
            self.say(context.world, Some(index), true, "Unhealthy", format!("{word} probe failed: {message}"));
        }
        if !decided {
            return;
        }
        let now = context.now();
        let before = (self.units[index].ready, self.units[index].started);
        match (purpose, passed) {
            (Purpose::Startup, true) => {
                let unit = &mut self.units[index];
                unit.started = true;
                unit.ready = !unit.probes.iter().any(|p| p.purpose == Purpose::Readiness);
                for probe in unit.probes.iter_mut().filter(|p| p.purpose == Purpose::Readiness) {
                    probe.next = Some(after(now, millis(30)));
                }
                self.event_at = Some(after(now, millis(10)));
            }
            (Purpose::Readiness, passed) => self.units[index].ready = passed,
            (Purpose::Liveness, true) => {}
            (_, false) => {
                let word = word.to_ascii_lowercase();
                self.units[index].doomed =
                    Some(format!("Container {container} failed {word} probe, will be restarted"));
                self.event_at = Some(after(now, millis(5)));
            }
        }
        if before != (self.units[index].ready, self.units[index].started) {
            self.address_shown = self.sandbox;
            self.write_status(context);
            debug_assert!(between(now, context.now()).is_zero());
        }
    }
}
