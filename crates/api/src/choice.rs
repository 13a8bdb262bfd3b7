//! Which cases of a matrix are meant, as people say it: filters, a rerun of an earlier run, a part for one machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use engine::{Partition, Selection};
use matrix::Matrix;
use model::{CaseFile, Outcome, Status};
use yaml::{Diagnostic, Source};

use crate::harness::shown;
use crate::{ApiError, Harness};

/// Which cases.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only cases that match every one of these.
    pub filter: Vec<String>,
    /// Only cases that ended so in an earlier run.
    pub rerun: Option<Rerun>,
    /// Only this part of them.
    pub partition: Option<Partition>,
}

/// Cases of an earlier run.
#[derive(Clone, Debug)]
pub struct Rerun {
    /// Which of its cases; those of any kind that is named.
    pub which: Vec<Again>,
    /// A run id, a unique prefix of one, or `latest`.
    pub of: String,
}

/// Which cases of an earlier run are run again. Controls do not count: they come along with the cases that they guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Every case that counts and did not pass.
    Failed,
    /// Of these, those on which no agent was judged.
    Unjudged,
    /// Cases of the matrix that the run has no result of: it was interrupted before, or they are new.
    Missing,
}

impl Again {
    fn wants(self, case: &CaseFile) -> bool {
        !case.control
            && match self {
                Self::Failed => case.outcome != Outcome::Passed,
                Self::Unjudged => case.status == Status::None,
                Self::Missing => false,
            }
    }
}

/// How many cases a warning names.
const NAMED: usize = 20;

impl Harness {
    /// The selection, and what is odd about it: cases of the earlier run that the matrix no longer has.
    pub(crate) fn selection(
        &self,
        choice: &Choice,
        matrix: &Matrix,
        file: &Path,
    ) -> Result<(Selection, Option<Diagnostic>), ApiError> {
        let selection = Selection::parse(&choice.filter, self.library());
        let mut selection = selection.map_err(|error| ApiError::Usage(error.to_string()))?;
        let mut odd = None;
        if let Some(rerun) = &choice.rerun {
            let (only, unknown) = self.again(rerun, matrix)?;
            let source = Source::new(shown(file), "");
            odd =
                warning(&rerun.of, &unknown).map(|text| Diagnostic::without_span("rerun", &source, text).as_warning());
            selection = selection.only(only);
        }
        Ok((selection.partition(choice.partition), odd))
    }

    /// The cases of the matrix that are run again, and those of the run that the matrix does not have.
    fn again(&self, rerun: &Rerun, matrix: &Matrix) -> Result<(BTreeSet<String>, Vec<String>), ApiError> {
        let cases = self.runs_show(&rerun.of)?.cases;
        let earlier: BTreeMap<&str, &CaseFile> = cases.iter().map(|case| (case.id.as_str(), case)).collect();
        let wanted = |case: &CaseFile| rerun.which.iter().any(|which| which.wants(case));
        let mut only = BTreeSet::new();
        let mut there = BTreeSet::new();
        for case in matrix.cases() {
            let again = match earlier.get(case.id.as_str()) {
                Some(earlier) => {
                    there.insert(earlier.id.as_str());
                    wanted(earlier)
                }
                None => rerun.which.contains(&Again::Missing),
            };
            if again {
                only.insert(case.id.to_string());
            }
        }
        let unknown = cases.iter().filter(|case| wanted(case) && !there.contains(case.id.as_str()));
        Ok((only, unknown.map(|case| case.id.to_string()).collect()))
    }
}

fn warning(run: &str, unknown: &[String]) -> Option<String> {
    let more = unknown.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named: Vec<&str> = unknown.iter().take(NAMED).map(String::as_str).collect();
    (!unknown.is_empty()).then(|| {
        format!(
            "run {run} has cases that the matrix does not have, so they are not run again: {}{more}",
            named.join(", ")
        )
    })
}
