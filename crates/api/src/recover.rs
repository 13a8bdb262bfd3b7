//! Putting back what a harness that was killed has left: by hand, and before each run.

use engine::{Done, RecoverRequest, Recovered, Recovery};
use model::exit_code;
use serde::Serialize;
use store::Store;

use crate::run::{reports, stored};
use crate::{ApiError, Harness};

/// What to recover.
#[derive(Clone, Debug, Default)]
pub struct RecoverInput {
    /// Only this run: an id, a unique prefix of one, or `latest`.
    pub run: Option<String>,
}

/// What a recovery found and did.
#[derive(Debug, Serialize)]
pub struct RecoverReport {
    /// Every case that was left.
    pub cases: Vec<RecoveredCase>,
    /// Runs that had no end and have one now.
    pub runs: Vec<String>,
    /// 0 when nothing is left, 12 when something is.
    pub exit_code: u8,
    /// What could not be written afterwards.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// One case that was left.
#[derive(Debug, Serialize)]
pub struct RecoveredCase {
    /// The run.
    pub run: String,
    /// The case.
    pub case: String,
    /// The API server.
    pub cluster: String,
    /// `put_back`, `leaked`, `failed` (tried again by the next recovery), `live` (its run is still at work).
    pub result: &'static str,
    /// What is left, or why it failed.
    pub left: Vec<String>,
}

impl From<&Recovered> for RecoveredCase {
    fn from(one: &Recovered) -> Self {
        let (result, left) = match &one.how {
            Recovery::PutBack => ("put_back", Vec::new()),
            Recovery::Leaked(leaks) => {
                let line = |leak: &model::Leak| format!("{} is {}", leak.object, leak.what);
                ("leaked", leaks.iter().map(line).collect())
            }
            Recovery::Failed(why) => ("failed", vec![why.clone()]),
            Recovery::Live => ("live", Vec::new()),
        };
        Self { run: one.run.clone(), case: one.case.clone(), cluster: one.cluster.clone(), result, left }
    }
}

impl Harness {
    /// Puts back what runs that were killed have left on clusters that outlived them, and ends those runs. Doing it again
    /// does no harm. `tell` hears of each case as it is done.
    ///
    /// # Errors
    /// The journal or the results cannot be read or written, or there is no such run.
    pub async fn recover(
        &self,
        input: RecoverInput,
        mut tell: impl FnMut(&RecoveredCase) + Send,
    ) -> Result<RecoverReport, ApiError> {
        let nothing =
            RecoverReport { cases: Vec::new(), runs: Vec::new(), exit_code: exit_code::OK, warnings: Vec::new() };
        let Some(store) = Store::open_existing(&self.config.results_dir)? else { return Ok(nothing) };
        // Killed runs may have a directory and no row yet.
        store.abandoned()?;
        let run = input.run.map(|run| store.resolve(&run).map(|run| run.to_string())).transpose()?;
        let request = RecoverRequest { setting: self.setting()?, store: store.clone(), run };
        let Done { cases, runs } = engine::recover(request, |one| tell(&one.into())).await?;
        let mut warnings = Vec::new();
        for run in &runs {
            warnings.extend(reports(&stored(&store, run)?, None));
        }
        let dirty = cases.iter().any(|one| matches!(one.how, Recovery::Leaked(_) | Recovery::Failed(_)));
        Ok(RecoverReport {
            cases: cases.iter().map(RecoveredCase::from).collect(),
            runs: runs.iter().map(ToString::to_string).collect(),
            exit_code: if dirty { exit_code::LEAK } else { exit_code::OK },
            warnings,
        })
    }
}
