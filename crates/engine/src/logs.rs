//! The logs of one case: lines into the event stream and files, requests into `gate.jsonl` and to the judge.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use model::{CaseId, Decision, DeniedRequest, EventKind, GateCounts, GateRecord, LogStream, Party};

use crate::dispatcher::Dispatcher;

/// How many of the agent's requests are kept in memory for the judge; all are in `gate.jsonl`.
const KEPT_REQUESTS: usize = 100_000;

/// How many denials that differ are kept for the case file; all are in `gate.jsonl`.
const KEPT_DENIALS: usize = 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct CaseLogs {
    case: CaseId,
    dispatcher: Option<Dispatcher>,
    gate: Mutex<Option<BufWriter<File>>>,
    failure: Mutex<Option<BufWriter<File>>>,
    agent: Mutex<(GateCounts, Vec<GateRecord>)>,
    /// Allowed requests of a component or script; kept only where somebody asks for them.
    used: Option<Mutex<Vec<GateRecord>>>,
    denied: Mutex<Vec<DeniedRequest>>,
}

impl CaseLogs {
    /// Logs into files of `dir`.
    pub(crate) fn create(case: CaseId, dir: &Path, dispatcher: Dispatcher) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let file = |name: &str| File::create(dir.join(name)).map(|file| Mutex::new(Some(BufWriter::new(file))));
        Ok(Self {
            case,
            dispatcher: Some(dispatcher),
            gate: file("gate.jsonl")?,
            failure: file("failure.log")?,
            agent: Mutex::default(),
            used: None,
            denied: Mutex::default(),
        })
    }

    /// Goes on with the logs that another process has left in `dir`; without them where that cannot be.
    pub(crate) fn go_on(case: CaseId, dir: &Path, dispatcher: Option<&Dispatcher>) -> Self {
        let file = |name: &str| {
            let file = File::options().append(true).create(true).open(dir.join(name)).ok();
            Mutex::new(file.map(BufWriter::new))
        };
        Self {
            dispatcher: dispatcher.cloned(),
            gate: file("gate.jsonl"),
            failure: file("failure.log"),
            ..Self::nowhere(case)
        }
    }

    /// Logs that nobody keeps.
    pub(crate) fn nowhere(case: CaseId) -> Self {
        Self {
            case,
            dispatcher: None,
            gate: Mutex::default(),
            failure: Mutex::default(),
            agent: Mutex::default(),
            used: None,
            denied: Mutex::default(),
        }
    }

    /// The same, but that what the failure asks of the cluster is kept in memory.
    pub(crate) fn of_a_proof(case: CaseId) -> Self {
        Self { used: Some(Mutex::default()), ..Self::nowhere(case) }
    }

    /// What the failure asked of the cluster and was allowed, where that is kept.
    pub(crate) fn used(&self) -> Vec<GateRecord> {
        let used = self.used.as_ref().map(|used| used.lock().unwrap_or_else(PoisonError::into_inner).clone());
        used.unwrap_or_default()
    }

    /// A request that went through the gate.
    pub(crate) fn request(&self, record: GateRecord) {
        write_line(&self.gate, &serde_json::to_string(&record).unwrap_or_default());
        if record.decision == Decision::Denied {
            let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
            note_denial(&mut denied, &record);
        }
        if let Some(used) = &self.used
            && matches!(record.party, Party::Plugin | Party::Script)
            && record.decision == Decision::Allowed
        {
            let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
            if used.len() < KEPT_REQUESTS {
                used.push(record.clone());
            }
        }
        if record.party == Party::Agent {
            let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
            agent.0.requests += 1;
            agent.0.mutations += u64::from(record.mutation && record.decision == Decision::Allowed);
            agent.0.denials += u64::from(record.decision == Decision::Denied);
            if agent.1.len() < KEPT_REQUESTS {
                agent.1.push(record);
            }
        }
    }

    /// What the agent asked of the cluster so far.
    pub(crate) fn agent_requests(&self) -> (GateCounts, Vec<GateRecord>) {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was denied to anybody so far.
    pub(crate) fn denied(&self) -> Vec<DeniedRequest> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A line of the failure. What comes back is waited for before the next.
    pub(crate) fn failure(&self, line: &str) -> Option<BoxFuture<'static, ()>> {
        write_line(&self.failure, line);
        self.line(LogStream::Failure, line)
    }

    /// A line for the event stream alone. What comes back is waited for before the next.
    pub(crate) fn line(&self, stream: LogStream, line: &str) -> Option<BoxFuture<'static, ()>> {
        self.dispatcher.as_ref()?.offer(&self.case, EventKind::Log { stream, line: line.to_owned() })
    }

    /// Writes out what is buffered.
    pub(crate) fn flush(&self) -> std::io::Result<()> {
        for file in [&self.gate, &self.failure] {
            if let Some(file) = file.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                file.flush()?;
            }
        }
        Ok(())
    }
}

/// Counts what was asked before, keeps what is new while there is room.
fn note_denial(denied: &mut Vec<DeniedRequest>, record: &GateRecord) {
    let mut resource = if record.resource.is_empty() { record.path.clone() } else { record.resource.clone() };
    if !record.group.is_empty() {
        resource.push_str(&format!(".{}", record.group));
    }
    if !record.subresource.is_empty() {
        resource.push_str(&format!("/{}", record.subresource));
    }
    let new = DeniedRequest {
        party: record.party,
        verb: record.verb.clone(),
        resource,
        namespace: record.namespace.clone(),
        name: record.name.clone(),
        because: record.because.clone(),
        allow_with: record.allow_with.clone(),
        times: 1,
    };
    let same = |old: &&mut DeniedRequest| DeniedRequest { times: 1, ..(**old).clone() } == new;
    if let Some(old) = denied.iter_mut().find(same) {
        old.times += 1;
    } else if denied.len() < KEPT_DENIALS {
        denied.push(new);
    }
}

fn write_line(file: &Mutex<Option<BufWriter<File>>>, line: &str) {
    let mut guard = file.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(writer) = guard.as_mut() {
        // A disk that is full shows when the log is flushed.
        let _ = writeln!(writer, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(party: Party, name: &str) -> GateRecord {
        serde_json::from_value(serde_json::json!({
            "at": "2026-11-21T10:00:00Z", "party": party, "verb": "delete", "group": "apps", "version": "v1",
            "resource": "deployments", "subresource": "scale", "namespace": "c-1", "name": name, "mutation": true,
            "decision": "denied", "because": "no rule allows it", "allow_with": "lines", "status": 403, "duration_ms": 1,
        }))
        .expect("a record")
    }

    #[test]
    fn denials_are_kept_once_with_how_often_and_not_without_bound() {
        let logs = CaseLogs::nowhere(CaseId::new(
            &"a".parse().expect("an id"),
            &"b".parse().expect("an id"),
            &"c".parse().expect("an id"),
            1,
        ));
        logs.request(GateRecord { decision: Decision::Allowed, ..record(Party::Agent, "x") });
        assert_eq!(logs.denied(), []);
        for _ in 0..3 {
            logs.request(record(Party::Plugin, "x"));
        }
        logs.request(record(Party::Agent, "x"));
        let denied = logs.denied();
        assert_eq!(denied.len(), 2, "{denied:?}");
        assert_eq!((denied[0].party, denied[0].times, denied[1].times), (Party::Plugin, 3, 1));
        assert_eq!(denied[0].resource, "deployments.apps/scale");
        assert_eq!(denied[0].allow_with, "lines");
        (0..100).for_each(|n| logs.request(record(Party::Script, &n.to_string())));
        assert_eq!(logs.denied().len(), KEPT_DENIALS);
        assert_eq!(logs.agent_requests().0.denials, 1);
    }
}
