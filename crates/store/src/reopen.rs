//! Runs whose process was killed: finding them, and taking up their directory again to say how they ended.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;

use model::{Event, RunId};

use crate::writer::append;
use crate::{RunLock, RunRecord, RunWriter, Store, StoreError, import};

impl Store {
    /// Runs that have not finished and that nobody writes any more, newest first, with the totals of their cases so far.
    /// Directories that a killed process had made, but not told the database of, are taken in.
    pub fn abandoned(&self) -> Result<Vec<RunRecord>, StoreError> {
        let known: HashSet<String> = self.index.read(|db| {
            db.prepare("SELECT dir FROM runs")?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
        })?;
        import::those(&self.index, &self.results, |dir| {
            let name = dir.path().file_name().unwrap_or_default().to_string_lossy();
            !known.contains(&*name) && !RunLock::is_held(dir.path())
        })?;
        let mut runs = self.runs()?;
        runs.retain(|run| {
            run.file.finished_at.is_none() && run.dir.run().is_file() && !RunLock::is_held(run.dir.path())
        });
        Ok(runs)
    }

    /// Takes a run up again: events continue after the last whole line of `events.jsonl`, and case files that have no row
    /// yet get one. When its cases are stored, `Store::run` has its `run.json` with their totals; `RunWriter::finish`
    /// ends it.
    ///
    /// # Errors
    /// [`StoreError::RunIsLive`] while another process writes it.
    pub fn reopen(&self, run: &RunId) -> Result<RunWriter, StoreError> {
        let dir = self.run(run.as_str())?.dir;
        let lock = RunLock::acquire(dir.path())?;
        let last_seq = cut_torn_line(&dir.events())?;
        let positions = import::positions(&dir.events());
        // The file of a case comes before its row; a kill may have come between.
        import::one(&self.index, &dir)?;
        Ok(RunWriter {
            index: self.index.clone(),
            run: run.clone(),
            events: append(&dir.events())?,
            orchestrator: append(&dir.logs().join("orchestrator.log"))?,
            positions,
            last_seq,
            dir,
            _lock: lock,
        })
    }
}

/// Cuts off what follows the last whole event, and answers with the number of that; 0 where there is none.
fn cut_torn_line(events: &Path) -> Result<u64, StoreError> {
    if !events.exists() {
        return Ok(0);
    }
    let io = |action| StoreError::io(action, events);
    let mut reader = BufReader::new(File::open(events).map_err(io("read"))?);
    let (mut last, mut end, mut offset) = (0, 0, 0);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(io("read"))? > 0 {
        offset += line.len() as u64;
        if let (Some(b'\n'), Ok(event)) = (line.last(), serde_json::from_slice::<Event>(&line)) {
            (last, end) = (event.seq, offset);
        }
        line.clear();
    }
    if end < offset {
        let file = OpenOptions::new().write(true).open(events).map_err(io("open"))?;
        file.set_len(end).map_err(io("cut"))?;
    }
    Ok(last)
}
