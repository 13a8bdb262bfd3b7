//! A database made from run directories: what `Store::open` does where the directories are and the database is not.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, read_dir, read_to_string};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use model::{CaseFile, CaseId, Event, EventKind, RunFile};

use crate::index::Index;
use crate::{RunDir, StoreError, atomic, rows};

/// Takes in every run directory of a results folder. Answers with what could not be read; the rest is in.
pub(crate) fn all(index: &Index, results: &Path) -> Result<Vec<StoreError>, StoreError> {
    those(index, results, |_| true)
}

/// Takes in the run directories that are wanted.
pub(crate) fn those(
    index: &Index,
    results: &Path,
    wanted: impl Fn(&RunDir) -> bool,
) -> Result<Vec<StoreError>, StoreError> {
    let mut unreadable = Vec::new();
    for path in sorted(results)? {
        let dir = RunDir::at(path);
        if dir.run().is_file() && wanted(&dir) {
            unreadable.extend(one(index, &dir)?);
        }
    }
    Ok(unreadable)
}

/// Takes in one run directory. Files that cannot be read are answered; an error means that the database failed.
pub(crate) fn one(index: &Index, dir: &RunDir) -> Result<Vec<StoreError>, StoreError> {
    let (run, document) = match read::<RunFile>(&dir.run()) {
        Ok(read) => read,
        Err(error) => return Ok(vec![error]),
    };
    let name = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let positions = positions(&dir.events());
    let mut unreadable = Vec::new();
    let mut cases = Vec::new();
    for path in sorted(&dir.cases()).unwrap_or_default().into_iter().filter(|path| is_case_file(path)) {
        match read::<CaseFile>(&path) {
            Ok(case) => cases.push(case),
            Err(error) => unreadable.push(error),
        }
    }
    cases.sort_by_key(|(case, _)| positions.get(&case.id).copied().unwrap_or(u64::MAX));
    index.write(|db| {
        rows::put_run(db, &run, &name, &document)?;
        cases.iter().try_for_each(|(case, document)| {
            rows::put_case(db, &run.run_id, case, positions.get(&case.id).copied(), document)
        })
    })?;
    Ok(unreadable)
}

/// Temporary files of a harness that was killed in the middle are not cases.
fn is_case_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.extension() == Some(OsStr::new("json")) && !name.starts_with(atomic::TEMPORARY)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<(T, String), StoreError> {
    let text = read_to_string(path).map_err(StoreError::io("read", path))?;
    Ok((serde_json::from_str(&text).map_err(StoreError::json(path))?, text))
}

/// The order of cases, from the event log. A torn last line, or no log, costs only the order.
pub(crate) fn positions(events: &Path) -> HashMap<CaseId, u64> {
    let Ok(file) = File::open(events) else { return HashMap::new() };
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .filter(|line| line.contains("case_started"))
        .filter_map(|line| serde_json::from_str::<Event>(&line).ok())
        .filter_map(|event| match event {
            Event { case: Some(case), event: EventKind::CaseStarted { index, .. }, .. } => Some((case, index)),
            _ => None,
        })
        .collect()
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = read_dir(folder).map_err(StoreError::io("read", folder))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    paths.sort();
    Ok(paths)
}
