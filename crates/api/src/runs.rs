//! Runs that were stored.

use model::{CaseFile, RunFile};
use serde::Serialize;
use store::{RunRecord, Store, StoreError};

use crate::{ApiError, Harness};

/// A stored run.
#[derive(Clone, Debug, Serialize)]
pub struct StoredRun {
    /// Its directory.
    pub dir: String,
    /// Its `run.json`; of a run that has not finished, with the totals so far.
    pub run: RunFile,
}

/// A stored run with its cases.
#[derive(Clone, Debug, Serialize)]
pub struct StoredRunWithCases {
    /// Its directory.
    pub dir: String,
    /// Its `run.json`.
    pub run: RunFile,
    /// Its cases, in expansion order.
    pub cases: Vec<CaseFile>,
}

impl StoredRunWithCases {
    /// As reports take it.
    pub fn view(&self) -> report::View<'_> {
        report::View { run: &self.run, cases: &self.cases, dir: &self.dir }
    }
}

/// One case of a stored run.
#[derive(Clone, Debug, Serialize)]
pub struct StoredCase {
    /// Where its logs lie.
    pub logs: String,
    /// The case.
    pub case: CaseFile,
}

/// The runs of a results folder.
#[derive(Clone, Debug, Default)]
pub struct StoredRuns {
    /// Newest first.
    pub runs: Vec<StoredRun>,
    /// Run directories that could not be read.
    pub warnings: Vec<String>,
}

impl Harness {
    /// Every run, newest first. Nothing is written where nothing was ever run.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn runs_list(&self) -> Result<StoredRuns, ApiError> {
        let Some(store) = Store::open_existing(&self.config.results_dir)? else { return Ok(StoredRuns::default()) };
        let runs = store.runs()?.into_iter().map(|record| StoredRun { dir: dir(&record), run: record.file }).collect();
        Ok(StoredRuns { runs, warnings: store.unreadable().iter().map(ToString::to_string).collect() })
    }

    /// One run, by id, unique prefix or `latest`.
    ///
    /// # Errors
    /// There is none or more than one.
    pub fn runs_show(&self, run: &str) -> Result<StoredRunWithCases, ApiError> {
        let store = self.existing_store()?;
        let record = store.run(run)?;
        let cases = store.cases(&record.file.run_id)?;
        Ok(StoredRunWithCases { dir: dir(&record), run: record.file, cases })
    }

    /// One case of a run, by its id or a part of it that only one has.
    ///
    /// # Errors
    /// There is none or more than one.
    pub fn runs_case(&self, run: &str, case: &str) -> Result<StoredCase, ApiError> {
        let store = self.existing_store()?;
        let record = store.run(run)?;
        let case = store.case(&record.file.run_id, case)?;
        Ok(StoredCase { logs: record.dir.case_logs(&case.id).display().to_string(), case })
    }

    pub(crate) fn existing_store(&self) -> Result<Store, ApiError> {
        let results = &self.config.results_dir;
        Store::open_existing(results)?.ok_or_else(|| StoreError::NoRuns(results.clone()).into())
    }
}

fn dir(record: &RunRecord) -> String {
    record.dir.path().display().to_string()
}
