//! `run.json`, the document that `run --format json` prints, totals and exit codes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outcome::words;
use crate::{Acceptance, CaseFile, ClusterKind, Id, Outcome, RunId};

/// The exit codes of the program. Scripts rely on them.
pub mod exit_code {
    /// Every case that counts passed, or what `accept` asks holds.
    pub const OK: u8 = 0;
    /// An input is invalid; nothing was run.
    pub const INVALID_INPUT: u8 = 1;
    /// Wrong command-line usage.
    pub const USAGE: u8 = 2;
    /// A case failed or timed out by the agent's doing.
    pub const FAILED: u8 = 10;
    /// None failed, but one could not be judged.
    pub const UNJUDGED: u8 = 11;
    /// A cluster could not be put back.
    pub const LEAK: u8 = 12;
    /// The filter selected nothing.
    pub const NOTHING_SELECTED: u8 = 13;
    /// Interrupted by SIGINT.
    pub const SIGINT: u8 = 130;
    /// Interrupted by SIGTERM.
    pub const SIGTERM: u8 = 143;
}

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// All cases, controls included.
    pub total: u64,
    /// Outcomes of cases that are not controls.
    pub passed: u64,
    #[allow(missing_docs)]
    pub failed: u64,
    #[allow(missing_docs)]
    pub timed_out: u64,
    #[allow(missing_docs)]
    pub invalid: u64,
    #[allow(missing_docs)]
    pub error: u64,
    #[allow(missing_docs)]
    pub skipped: u64,
    #[allow(missing_docs)]
    pub interrupted: u64,
    /// Cases with leaks, controls included.
    pub leaked: u64,
    /// Controls, whatever their outcome.
    pub control: u64,
}

impl Totals {
    /// Counts one more case.
    pub fn add(&mut self, outcome: Outcome, control: bool, leaked: bool) {
        self.total += 1;
        self.leaked += u64::from(leaked);
        if control {
            self.control += 1;
            return;
        }
        *match outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Failed => &mut self.failed,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::Invalid => &mut self.invalid,
            Outcome::Error => &mut self.error,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Interrupted => &mut self.interrupted,
        } += 1;
    }
}

words! {
    /// Why a run ended before all of its cases had begun.
    StopReason {
        /// SIGINT or SIGTERM.
        Interrupted = "interrupted",
        /// A case did not pass, and `--fail-fast` was given.
        FailFast = "fail_fast",
        /// `max_cost_usd` of the matrix was spent.
        MaxCost = "max_cost",
    }
}

/// A cluster of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterRecord {
    /// As the matrix names it.
    pub id: Id,
    /// Its kind.
    pub kind: ClusterKind,
    /// The version that its API server reports.
    pub version: Option<String>,
}

/// A failure of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailureRecord {
    /// As the matrix names it.
    pub name: Id,
    /// The failure itself.
    pub id: Id,
    /// `sha256:…` over the package.
    pub digest: String,
    /// Of the metadata.
    pub version: String,
    /// Parameters, as the matrix gives them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
}

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunFile {
    /// Always 1.
    pub schema: u32,
    /// The run.
    pub run_id: RunId,
    /// Name of the matrix.
    pub matrix: String,
    /// `sha256:…` over the matrix, byte for byte.
    pub matrix_digest: String,
    /// `sha256:…` over the prompt.
    pub prompt_digest: String,
    /// Of the program.
    pub harness_version: String,
    /// Of the scoring rules.
    pub scoring: u32,
    /// Of the taxonomy.
    pub taxonomy: u32,
    /// Wall time, UTC.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// None while it runs.
    #[schemars(with = "Option<String>")]
    pub finished_at: Option<Timestamp>,
    /// So far.
    pub totals: Totals,
    /// None while it runs.
    pub exit_code: Option<u8>,
    /// What came of the matrix's `accept`, where there is one; none while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<Acceptance>,
    /// Clusters used.
    pub clusters: Vec<ClusterRecord>,
    /// Failures used.
    pub failures: Vec<FailureRecord>,
    /// Commit of the working directory's repository, where there is one.
    pub git_commit: Option<String>,
    /// Why cases were not run, where some were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StopReason>,
    /// Selected cases that were not begun.
    #[serde(default)]
    pub not_run: u64,
    /// Clusters that were made for the run and could not be removed, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// What `run --format json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunDocument {
    /// The run.
    pub run_id: RunId,
    /// The run directory.
    pub dir: String,
    /// Name of the matrix.
    pub matrix: String,
    /// Of the program.
    pub exit_code: u8,
    /// What came of it.
    pub totals: Totals,
    /// What came of the matrix's `accept`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<Acceptance>,
    /// In expansion order.
    pub cases: Vec<CaseFile>,
}
