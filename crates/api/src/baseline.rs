//! Baselines: the file that a matrix's `accept` names, read; and one made from a stored run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use matrix::{BaselineFile, Comparable, Matrix};
use model::{Baseline, Status};
use store::write_where_asked;
use yaml::{Diagnostic, Source};

use crate::harness::shown;
use crate::{ApiError, Harness};

/// A baseline with where it lies.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) baseline: Arc<Baseline>,
}

/// The baseline of a matrix, where it names one: found, inside the folder of the matrix, and comparable.
pub(crate) fn of_matrix(matrix: &Matrix, source: &Source, file: &Path) -> Result<Option<Found>, ApiError> {
    let Some(named) = matrix.accept.as_ref().and_then(|accept| accept.baseline.as_ref()) else { return Ok(None) };
    let path = inside(named, source, file)?;
    let text = Source::read(&path)?;
    let prompt_digest = engine::prompt_digest(matrix.objective);
    let comparable = Comparable { scoring: engine::SCORING_VERSION, prompt_digest: &prompt_digest };
    let baseline = Arc::new(matrix::read_baseline(&text, comparable)?);
    Ok(Some(Found { path, baseline }))
}

/// Links are followed before it is asked whether the file lies inside: a stranger's matrix could bring one.
fn inside(named: &BaselineFile, source: &Source, file: &Path) -> Result<PathBuf, ApiError> {
    let wrong = |message: String, help: &str| {
        ApiError::from(Diagnostic::new("baseline", source, named.span.clone(), message).with_help(help))
    };
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let path = folder.join(&named.path);
    let real = path.canonicalize().map_err(|error| {
        let export = "`harness-cli runs export RUN --baseline --output FILE` makes one from a run";
        wrong(format!("the baseline `{}` cannot be read: {error}", shown(&path)), export)
    })?;
    let home = folder.canonicalize().map_err(|error| ApiError::io("read", folder, error))?;
    if !real.starts_with(&home) {
        let message = format!("the baseline `{}` is a link that leads out of the matrix's folder", shown(&path));
        return Err(wrong(message, "put the file itself there"));
    }
    Ok(path)
}

/// A baseline that was made from a run.
#[derive(Debug)]
pub struct ExportedBaseline {
    /// The file's content, with a line end.
    pub text: String,
    /// What whoever commits it should know.
    pub warnings: Vec<String>,
}

impl Harness {
    /// What agents passed in a run, for `accept.baseline`; written to `output` where that is given.
    ///
    /// # Errors
    /// There is no such run, it has nothing to compare with, or the file cannot be written.
    pub fn runs_export_baseline(&self, run: &str, output: Option<&Path>) -> Result<ExportedBaseline, ApiError> {
        let stored = self.runs_show(run)?;
        let id = &stored.run.run_id;
        let baseline = report::baseline(&stored.run, &stored.cases);
        let baseline = baseline.map_err(|error| ApiError::input(format!("run {id} names something badly: {error}")))?;
        if baseline.entries.is_empty() {
            return Err(ApiError::Input {
                message: format!("run {id} has no case that could be compared with"),
                help: Some(
                    "a baseline needs judged cases whose failure the host witnessed; controls do not count".into(),
                ),
            });
        }
        let counted = stored.cases.iter().filter(|case| !case.control);
        let (unjudged, all) = (counted.clone().filter(|case| case.status == Status::None).count(), counted.count());
        let mut warnings = Vec::new();
        if unjudged > 0 {
            warnings
                .push(format!("{unjudged} of the {all} cases of run {id} have no verdict and are not in the baseline"));
        }
        if !matches!(stored.run.exit_code, Some(code) if code < model::exit_code::LEAK) {
            warnings.push(format!("run {id} did not end as it should; the baseline holds what it had judged"));
        }
        let mut text = serde_json::to_string_pretty(&baseline).map_err(|error| ApiError::input(error.to_string()))?;
        text.push('\n');
        if let Some(path) = output {
            write_where_asked(path, text.as_bytes())?;
        }
        Ok(ExportedBaseline { text, warnings })
    }
}
