//! The names inside a results folder, as the contract fixes them.

use std::path::{Path, PathBuf};

use jiff::tz::Offset;
use model::{CaseId, Id, RunFile};

use crate::StoreError;

pub(crate) const RUN_FILE: &str = "run.json";

/// The database over all runs of a results folder.
pub(crate) fn database(results: &Path) -> PathBuf {
    results.join("harness.db")
}

/// The undo journal of all runs of a results folder.
pub(crate) fn journal(results: &Path) -> PathBuf {
    results.join("journal.db")
}

/// One run directory, `YYYY-MM-DD-<matrix-name>-<run-id>`. Only names; nothing here touches the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// The directory of a run inside a results folder; the date is that of the start, in UTC.
    pub(crate) fn of(results: &Path, run: &RunFile) -> Result<Self, StoreError> {
        // The name becomes part of a path: anything but an id could lead out of the results folder.
        run.matrix.parse::<Id>().map_err(|error| StoreError::Name(run.matrix.clone(), error))?;
        let date = Offset::UTC.to_datetime(run.started_at).date();
        Ok(Self(results.join(format!("{date}-{}-{}", run.matrix, run.run_id))))
    }

    /// A directory that is there.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `matrix.yaml`
    pub fn matrix(&self) -> PathBuf {
        self.0.join("matrix.yaml")
    }

    /// `run.json`
    pub fn run(&self) -> PathBuf {
        self.0.join(RUN_FILE)
    }

    /// `events.jsonl`
    pub fn events(&self) -> PathBuf {
        self.0.join("events.jsonl")
    }

    /// `run.lock`, there as long as a process writes the run
    pub fn lock(&self) -> PathBuf {
        self.0.join("run.lock")
    }

    /// `report.md`
    pub fn report(&self) -> PathBuf {
        self.0.join("report.md")
    }

    /// `junit.xml`
    pub fn junit(&self) -> PathBuf {
        self.0.join("junit.xml")
    }

    /// `results/`
    pub fn cases(&self) -> PathBuf {
        self.0.join("results")
    }

    /// `results/<case-id>.json`
    pub fn case(&self, case: &CaseId) -> PathBuf {
        self.cases().join(format!("{case}.json"))
    }

    /// `logs/`
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// `logs/<case-id>/`
    pub fn case_logs(&self, case: &CaseId) -> PathBuf {
        self.logs().join(case.as_str())
    }

    /// `artifacts/`
    pub fn artifacts(&self) -> PathBuf {
        self.0.join("artifacts")
    }

    /// `artifacts/<case-id>/`
    pub fn case_artifacts(&self, case: &CaseId) -> PathBuf {
        self.artifacts().join(case.as_str())
    }
}
