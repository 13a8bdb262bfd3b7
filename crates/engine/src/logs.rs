//! The logs of one case: lines into the event stream and files, requests into `gate.jsonl` and to the judge.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use model::{CaseId, Decision, EventKind, GateCounts, GateRecord, LogStream, Party};

use crate::dispatcher::Dispatcher;

/// How many of the agent's requests are kept in memory for the judge; all are in `gate.jsonl`.
const KEPT_REQUESTS: usize = 100_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct CaseLogs {
    case: CaseId,
    dispatcher: Option<Dispatcher>,
    gate: Mutex<Option<BufWriter<File>>>,
    failure: Mutex<Option<BufWriter<File>>>,
    agent: Mutex<(GateCounts, Vec<GateRecord>)>,
    unseen: AtomicU64,
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
            unseen: AtomicU64::new(0),
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
            unseen: AtomicU64::new(0),
        }
    }

    /// A request that went through the gate.
    pub(crate) fn request(&self, record: GateRecord) {
        write_line(&self.gate, &serde_json::to_string(&record).unwrap_or_default());
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

    /// A line of the failure.
    pub(crate) fn failure(&self, line: &str) {
        write_line(&self.failure, line);
        self.line(LogStream::Failure, line);
    }

    /// A line for the event stream alone. A full stream drops it and counts.
    pub(crate) fn line(&self, stream: LogStream, line: &str) {
        let Some(dispatcher) = &self.dispatcher else { return };
        if !dispatcher.try_event(&self.case, EventKind::Log { stream, line: line.to_owned() }) {
            self.unseen.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes out what is buffered. What comes back is how many lines the event stream had no room for.
    pub(crate) fn flush(&self) -> std::io::Result<u64> {
        for file in [&self.gate, &self.failure] {
            if let Some(file) = file.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                file.flush()?;
            }
        }
        Ok(self.unseen.swap(0, Ordering::Relaxed))
    }
}

fn write_line(file: &Mutex<Option<BufWriter<File>>>, line: &str) {
    let mut guard = file.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(writer) = guard.as_mut() {
        // A disk that is full shows when the log is flushed.
        let _ = writeln!(writer, "{line}");
    }
}
