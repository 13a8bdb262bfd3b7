//! Running a matrix.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{Cancel, Listener, RunOptions, RunRequest};
use model::{CaseFile, RunDocument, RunId};
use store::{RunDir, Store, StoreError, write_atomically, write_where_asked};
use yaml::Diagnostics;

use crate::matrices::Checked;
use crate::{ApiError, Choice, Harness, LeftCluster, RecoverInput, RecoveredCase, StoredRunWithCases, git};

/// What to run and how.
#[derive(Clone, Debug, Default)]
pub struct RunInput {
    /// The matrix file.
    pub matrix: PathBuf,
    /// Which of its cases.
    pub choice: Choice,
    /// Instead of the matrix's `repeats`.
    pub repeat: Option<u32>,
    /// Instead of the matrix's `retries`.
    pub retries: Option<u32>,
    /// Instead of the matrix's `parallel_clusters`.
    pub parallel_clusters: Option<u32>,
    /// Instead of the matrix's `timeout_per_test`.
    pub timeout_per_test: Option<Duration>,
    /// No new case after the first that did not pass.
    pub fail_fast: bool,
    /// 0 instead of 10 and 11.
    pub exit_zero: bool,
    /// Skipped cases do not count as unjudged.
    pub allow_skipped: bool,
    /// Where the JUnit report goes besides the run directory.
    pub junit: Option<PathBuf>,
}

/// A run that has ended, by itself or by an interruption.
#[derive(Debug)]
pub struct RunFinished {
    /// Without its cases, which are in `stored`.
    document: RunDocument,
    /// What could not be done after the run, though the run itself is stored.
    pub warnings: Vec<String>,
    stored: StoredRunWithCases,
}

impl RunFinished {
    /// What the program exits with.
    pub fn exit_code(&self) -> u8 {
        self.document.exit_code
    }

    /// What `run --format json` prints.
    pub fn into_document(self) -> RunDocument {
        RunDocument { cases: self.stored.cases, ..self.document }
    }

    /// The summary for a terminal.
    pub fn summary(&self, style: report::Style) -> String {
        report::summary(self.stored.view(), style)
    }
}

/// What people should hear before anything is run.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// What is odd in the matrix.
    Matrix(&'a Diagnostics),
    /// A case of a killed run was put back, or could not be.
    Recovered(&'a RecoveredCase),
    /// A cluster that a killed run had made was removed, or could not be.
    Removed(&'a LeftCluster),
}

impl Harness {
    /// Puts back what killed runs have left, then runs a matrix to its end or until `cancel`. `notice` hears of what is odd
    /// in the matrix, and of what was put back, before anything is run.
    ///
    /// # Errors
    /// Before anything is run: invalid input, nothing selected. After: results cannot be written.
    pub async fn run(
        &self,
        input: RunInput,
        mut notice: impl FnMut(Notice<'_>) + Send,
        listeners: Vec<Box<dyn Listener>>,
        cancel: Cancel,
    ) -> Result<RunFinished, ApiError> {
        let Checked { mut matrix, bytes, mut warnings, baseline } = self.check(&input.matrix)?;
        warnings.0.extend(self.admitted(&matrix, &input.matrix)?);
        matrix.execution.repeats = input.repeat.unwrap_or(matrix.execution.repeats);
        let all = matrix.case_count();
        let (selection, odd) = self.selection(&input.choice, &matrix, &input.matrix)?;
        warnings.0.extend(odd);
        let mut setting = self.setting_for(&matrix)?;
        setting.hidden.push(input.matrix.clone());
        setting.hidden.extend(baseline.iter().map(|found| found.path.clone()));
        notice(Notice::Matrix(&warnings));
        if selection.is_empty(&matrix) {
            return Err(ApiError::NothingSelected(all));
        }
        // Better now than after an hour. What is no file, a pipe for one, is opened when there is something to write.
        if let Some(path) = input.junit.as_ref().filter(|path| path.is_file() || path.is_dir() || !path.exists()) {
            File::create(path).map_err(|error| ApiError::io("write", path, error))?;
        }
        let recovered = self.recover(RecoverInput::default(), |case| notice(Notice::Recovered(case))).await?;
        recovered.clusters.iter().for_each(|cluster| notice(Notice::Removed(cluster)));
        let store = Store::open(&self.config.results_dir)?;
        let options = RunOptions {
            repeat: None,
            retries: input.retries,
            parallel_clusters: input.parallel_clusters,
            timeout_per_test: input.timeout_per_test,
            fail_fast: input.fail_fast,
            exit_zero: input.exit_zero,
            allow_skipped: input.allow_skipped,
            baseline: baseline.map(|found| found.baseline),
            selection,
            seed: None,
            git_commit: std::env::current_dir().ok().and_then(|folder| git::commit(&folder)),
        };
        let request = RunRequest { matrix, matrix_bytes: bytes, setting, store: store.clone(), options };
        let mut document = engine::run(request, listeners, cancel).await.map_err(|error| match error {
            engine::EngineError::NothingSelected => ApiError::NothingSelected(all),
            other => other.into(),
        })?;
        // There may be many: once in memory is enough.
        let stored = with_cases(&store, &document.run_id, std::mem::take(&mut document.cases))?;
        let mut warnings = recovered.warnings;
        warnings.extend(reports(&stored, input.junit.as_deref()));
        Ok(RunFinished { document, warnings, stored })
    }
}

pub(crate) fn stored(store: &Store, run: &RunId) -> Result<StoredRunWithCases, ApiError> {
    with_cases(store, run, store.cases(run)?)
}

fn with_cases(store: &Store, run: &RunId, cases: Vec<CaseFile>) -> Result<StoredRunWithCases, ApiError> {
    let record = store.run(run.as_str())?;
    let dir = record.dir.path().display().to_string();
    Ok(StoredRunWithCases { dir, run: record.file, cases })
}

/// Writes the reports. The run itself is stored: what cannot be written now is a warning.
pub(crate) fn reports(run: &StoredRunWithCases, junit: Option<&Path>) -> Vec<String> {
    let dir = RunDir::at(PathBuf::from(&run.dir));
    let mut warnings = Vec::new();
    let mut noted = |written: Result<(), StoreError>| {
        if let Err(error) = written {
            warnings.push(error.to_string());
        }
    };
    noted(write_atomically(&dir.report(), report::markdown(run.view()).as_bytes()));
    match report::junit(run.view()) {
        Ok(xml) => {
            noted(write_atomically(&dir.junit(), xml.as_bytes()));
            if let Some(path) = junit {
                noted(write_where_asked(path, xml.as_bytes()));
            }
        }
        Err(error) => warnings.push(error.to_string()),
    }
    warnings
}
