//! Writing one run. Files come first, rows after them: what is in the database is on disk.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, create_dir, create_dir_all};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{CaseFile, CaseId, Event, EventKind, LogStream, RunFile, RunId};
use serde::Serialize;

use crate::index::Index;
use crate::{RunDir, RunLock, Store, StoreError, rows, write_atomically};

impl Store {
    /// Begins a run: makes its directory with the matrix byte for byte and `run.json`, and its row.
    pub fn begin(&self, run: &RunFile, matrix: &[u8]) -> Result<RunWriter, StoreError> {
        let dir = RunDir::of(&self.results, run)?;
        create_dir(dir.path()).map_err(StoreError::io("create the run directory", dir.path()))?;
        let lock = RunLock::acquire(dir.path())?;
        for folder in [dir.cases(), dir.logs(), dir.artifacts()] {
            create_dir(&folder).map_err(StoreError::io("create", &folder))?;
        }
        write_atomically(&dir.matrix(), matrix)?;
        let writer = RunWriter {
            index: self.index.clone(),
            run: run.run_id.clone(),
            events: append(&dir.events())?,
            orchestrator: append(&dir.logs().join("orchestrator.log"))?,
            positions: HashMap::new(),
            last_seq: 0,
            dir,
            _lock: lock,
        };
        writer.put_run(run)?;
        Ok(writer)
    }
}

/// The one writer of one run, holding its [`RunLock`]. `Send`, not `Sync`: one dispatcher owns it.
#[derive(Debug)]
pub struct RunWriter {
    pub(crate) index: Arc<Index>,
    pub(crate) run: RunId,
    pub(crate) dir: RunDir,
    pub(crate) events: File,
    pub(crate) orchestrator: File,
    /// Where cases that have started stand in expansion order.
    pub(crate) positions: HashMap<CaseId, u64>,
    pub(crate) last_seq: u64,
    pub(crate) _lock: RunLock,
}

impl RunWriter {
    /// The run directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The names inside the run directory.
    pub fn layout(&self) -> &RunDir {
        &self.dir
    }

    /// The number of the last event that is in `events.jsonl`, 0 when there is none: the next has the one after it.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// `logs/<case-id>/`, made on demand.
    pub fn log_dir(&self, case: &CaseId) -> Result<PathBuf, StoreError> {
        made(self.dir.case_logs(case))
    }

    /// `artifacts/<case-id>/`, made on demand.
    pub fn artifacts_dir(&self, case: &CaseId) -> Result<PathBuf, StoreError> {
        made(self.dir.case_artifacts(case))
    }

    /// Appends one event to `events.jsonl`, as one write, so that a process that follows never reads half a line of a
    /// finished one. Milestones and the harness' own log lines go to `orchestrator.log` too.
    pub fn event(&mut self, event: &Event) -> Result<(), StoreError> {
        append_json(&mut self.events, &self.dir.events(), event)?;
        self.last_seq = event.seq;
        if let (Some(case), EventKind::CaseStarted { index, .. }) = (&event.case, &event.event) {
            self.positions.insert(case.clone(), *index);
        }
        match milestone(event) {
            Some(text) => {
                let line = format!("{} {text}\n", rows::time(event.at));
                let path = self.dir.logs().join("orchestrator.log");
                self.orchestrator.write_all(line.as_bytes()).map_err(StoreError::io("write", &path))
            }
            None => Ok(()),
        }
    }

    /// Stores a finished case: its file atomically, then its rows. A later attempt takes the place of an earlier one.
    pub fn case(&mut self, case: &CaseFile) -> Result<(), StoreError> {
        let path = self.dir.case(&case.id);
        let document = document(case, &path)?;
        write_atomically(&path, document.as_bytes())?;
        let position = self.positions.remove(&case.id);
        self.index.write(|db| rows::put_case(db, &self.run, case, position, &document))
    }

    /// Stores `run.json` as it is now.
    pub fn update(&mut self, run: &RunFile) -> Result<(), StoreError> {
        self.put_run(run)
    }

    /// Stores the last `run.json` and syncs the event log. The writer should not be used after it.
    pub fn finish(&mut self, run: &RunFile) -> Result<(), StoreError> {
        let path = self.dir.events();
        self.events.sync_all().map_err(StoreError::io("write", &path))?;
        self.put_run(run)
    }

    fn put_run(&self, run: &RunFile) -> Result<(), StoreError> {
        let path = self.dir.run();
        let document = document(run, &path)?;
        write_atomically(&path, document.as_bytes())?;
        let name = self.dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.index.write(|db| rows::put_run(db, run, &name, &document))
    }
}

/// A document as it stands in its file and in its row: pretty JSON with a line end.
pub(crate) fn document(value: &impl Serialize, path: &Path) -> Result<String, StoreError> {
    let mut text = serde_json::to_string_pretty(value).map_err(StoreError::json(path))?;
    text.push('\n');
    Ok(text)
}

/// What people read in `orchestrator.log`: the events but for logs of others.
fn milestone(event: &Event) -> Option<String> {
    let case = event.case.as_ref().map_or("run", |case| case.as_str());
    let text = match &event.event {
        EventKind::RunStarted { matrix, total, .. } => format!("started: matrix {matrix}, {total} cases"),
        EventKind::CaseStarted { index, .. } => format!("started, number {index}"),
        EventKind::PhaseStarted { phase } => format!("{phase}: started"),
        EventKind::PhaseFinished { phase, result, duration_ms, message } => {
            let why = message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
            format!("{phase}: {result} after {duration_ms} ms{why}")
        }
        EventKind::Log { stream: LogStream::Harness, line } => line.clone(),
        EventKind::Log { .. } => return None,
        EventKind::CaseSlow { phase, elapsed_ms } => format!("{phase}: slow, {elapsed_ms} ms so far"),
        EventKind::CaseRetried { attempt, message, delay_ms } => {
            format!("attempt {attempt} ended, the next begins in {delay_ms} ms: {message}")
        }
        EventKind::CaseFinished { outcome, class, message, duration_ms, .. } => {
            let class = class.map(|c| format!(" ({c})")).unwrap_or_default();
            let why = if message.is_empty() { String::new() } else { format!(": {message}") };
            format!("{outcome}{class} after {duration_ms} ms{why}")
        }
        EventKind::CaseRevised { outcome, message, .. } => format!("now {outcome}: {message}"),
        EventKind::RunStopping { reason } => format!("no case begins any more: {reason}"),
        EventKind::RunFinished { exit_code, .. } => format!("finished with exit code {exit_code}"),
    };
    Some(format!("{case}: {}", text.replace('\n', " ")))
}

fn made(folder: PathBuf) -> Result<PathBuf, StoreError> {
    create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
    Ok(folder)
}

pub(crate) fn append(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new().create(true).append(true).open(path).map_err(StoreError::io("open", path))
}

fn append_json(file: &mut File, path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let mut line = serde_json::to_vec(value).map_err(StoreError::json(path))?;
    line.push(b'\n');
    file.write_all(&line).map_err(StoreError::io("write", path))
}
