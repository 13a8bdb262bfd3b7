//! Finding runs and cases.

use std::path::Path;

use model::{CaseFile, Outcome, RunFile, RunId, Totals};
use rusqlite::{OptionalExtension, params};
use serde::de::DeserializeOwned;

use crate::{RunDir, Store, StoreError};

/// A run as it is known now.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// Its `run.json`; for a run that has not finished, with the totals of the cases stored so far.
    pub file: RunFile,
    /// Its directory.
    pub dir: RunDir,
}

/// How many cases an error lists.
const LISTED: i64 = 20;

impl Store {
    /// Every run, newest first.
    pub fn runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        let rows: Vec<(String, String)> = self.index.read(|db| {
            db.prepare("SELECT dir, document FROM runs ORDER BY started_at DESC, rowid DESC")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.into_iter().map(|(dir, document)| self.record(&dir, &document)).collect()
    }

    /// One run: by its id, by a unique prefix of it, or `latest`.
    pub fn run(&self, selector: &str) -> Result<RunRecord, StoreError> {
        let id = self.resolve(selector)?;
        let (dir, document): (String, String) = self.index.read(|db| {
            db.query_row("SELECT dir, document FROM runs WHERE run_id = ?", [id.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
        })?;
        self.record(&dir, &document)
    }

    /// Which run is meant.
    pub fn resolve(&self, selector: &str) -> Result<RunId, StoreError> {
        if selector == "latest" {
            let newest: Option<String> = self.index.read(|db| {
                db.query_row("SELECT run_id FROM runs ORDER BY started_at DESC, rowid DESC LIMIT 1", [], |row| {
                    row.get(0)
                })
                .optional()
            })?;
            return newest.map(RunId::from_stored).ok_or_else(|| StoreError::NoRuns(self.results.clone()));
        }
        // Not LIKE: `%` and `_` in what people type are no wildcards.
        let mut matches: Vec<String> = self.index.read(|db| {
            db.prepare("SELECT run_id FROM runs WHERE substr(run_id, 1, length(?1)) = ?1 ORDER BY started_at")?
                .query_map([selector], |row| row.get(0))?
                .collect()
        })?;
        if matches.iter().any(|id| id == selector) {
            return Ok(RunId::from_stored(selector.to_owned()));
        }
        match matches.len() {
            _ if selector.is_empty() => Err(StoreError::RunNotFound { selector: String::new() }),
            0 => Err(StoreError::RunNotFound { selector: selector.to_owned() }),
            1 => Ok(RunId::from_stored(matches.remove(0))),
            _ => Err(StoreError::Ambiguous { selector: selector.to_owned(), matches }),
        }
    }

    /// The cases of a run, in expansion order.
    pub fn cases(&self, run: &RunId) -> Result<Vec<CaseFile>, StoreError> {
        let documents: Vec<String> = self.index.read(|db| {
            db.prepare("SELECT document FROM cases WHERE run_id = ? ORDER BY position, case_id")?
                .query_map([run.as_str()], |row| row.get(0))?
                .collect()
        })?;
        documents.iter().map(|document| parse(self.index.path(), document)).collect()
    }

    /// One case of a run: by its whole id, or by a part that only one has.
    pub fn case(&self, run: &RunId, case: &str) -> Result<CaseFile, StoreError> {
        let documents: Vec<(bool, String)> = self.index.read(|db| {
            db.prepare(
                "SELECT case_id = ?2, document FROM cases
                 WHERE run_id = ?1 AND ?2 <> '' AND instr(case_id, ?2) > 0 ORDER BY case_id <> ?2 LIMIT 2",
            )?
            .query_map([run.as_str(), case], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })?;
        match documents.as_slice() {
            [(true, document), ..] | [(_, document)] => parse(self.index.path(), document),
            _ => Err(StoreError::CaseNotFound {
                run: run.to_string(),
                case: case.to_owned(),
                known: self.some_case_ids(run)?,
            }),
        }
    }

    fn some_case_ids(&self, run: &RunId) -> Result<Vec<String>, StoreError> {
        let mut ids: Vec<String> = self.index.read(|db| {
            db.prepare("SELECT case_id FROM cases WHERE run_id = ? ORDER BY position LIMIT ?")?
                .query_map(params![run.as_str(), LISTED + 1], |row| row.get(0))?
                .collect()
        })?;
        if ids.len() as i64 > LISTED {
            ids.truncate(LISTED as usize);
            ids.push("…".to_owned());
        }
        Ok(ids)
    }

    fn record(&self, dir: &str, document: &str) -> Result<RunRecord, StoreError> {
        let mut file: RunFile = parse(self.index.path(), document)?;
        if file.finished_at.is_none() {
            file.totals = self.totals(&file.run_id)?;
        }
        Ok(RunRecord { file, dir: RunDir::at(self.results.join(dir)) })
    }

    /// Totals of the cases stored so far.
    fn totals(&self, run: &RunId) -> Result<Totals, StoreError> {
        let rows: Vec<(String, bool, bool)> = self.index.read(|db| {
            db.prepare(
                "SELECT outcome, control, EXISTS (SELECT 1 FROM leaks l WHERE l.run_id = c.run_id AND l.case_id = c.case_id)
                 FROM cases c WHERE run_id = ?",
            )?
            .query_map([run.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
        })?;
        let mut totals = Totals::default();
        for (outcome, control, leaked) in rows {
            let outcome = Outcome::from_stored(&outcome).ok_or_else(|| StoreError::Unreadable {
                path: self.index.path().to_owned(),
                reason: format!("`{outcome}` is no outcome"),
            })?;
            totals.add(outcome, control, leaked);
        }
        Ok(totals)
    }
}

fn parse<T: DeserializeOwned>(path: &Path, document: &str) -> Result<T, StoreError> {
    serde_json::from_str(document).map_err(StoreError::json(path))
}
