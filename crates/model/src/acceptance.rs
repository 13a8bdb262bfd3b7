//! What a matrix's `accept` asked and what was found, and the baseline that a run is held against.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outcome::words;
use crate::{ClusterKind, Id, RunId};

/// The version of baseline files.
pub const BASELINE_SCHEMA: u32 = 1;

words! {
    /// What `accept` can ask.
    AcceptRule {
        /// Each agent passes at least so many of its judged cases.
        MinPassRate = "min_pass_rate",
        /// At most so many cases go without a verdict.
        MaxUnjudged = "max_unjudged",
        /// No agent passes so much less than in the baseline.
        MaxDrop = "max_drop",
    }
}

/// What came of `accept`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Acceptance {
    /// Every part is met.
    pub met: bool,
    /// What was asked of whom.
    pub parts: Vec<AcceptPart>,
    /// What was not compared with the baseline, and why.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One thing that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptPart {
    /// What.
    pub rule: AcceptRule,
    /// Of which agent; none: of the run.
    pub agent: Option<Id>,
    /// On which kind of cluster; none: on all together.
    pub cluster_kind: Option<ClusterKind>,
    /// The threshold, 0 to 1.
    pub asked: f64,
    /// What was found; none where there was nothing to find it from.
    pub found: Option<f64>,
    /// Whether it is met.
    pub met: bool,
    /// From what it follows.
    pub because: String,
}

/// What agents passed in a run that later ones are held against: a file to be committed, from `runs export --baseline`.
/// Only judged cases whose failure the host witnessed are in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Always 1.
    #[schemars(range(min = 1, max = 1))]
    pub schema: u32,
    /// The run that it is from.
    pub run_id: RunId,
    /// Name of its matrix.
    pub matrix: Id,
    /// Of the program that made the run.
    pub harness_version: String,
    /// Of the scoring rules; results of others are not compared.
    pub scoring: u32,
    /// `sha256:…` over the prompt; results of others are not compared.
    pub prompt_digest: String,
    /// Agent by agent, in order.
    pub entries: Vec<BaselineEntry>,
}

/// How often one agent passed one failure on one kind of cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineEntry {
    /// As the matrix names it.
    pub agent: Id,
    /// Where.
    pub cluster_kind: ClusterKind,
    /// The failure.
    pub failure: Id,
    /// Of the failure's package; a changed failure is not compared.
    pub digest: String,
    /// As the matrix gave them; other parameters are not compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    /// Cases that passed.
    pub passed: u64,
    /// Cases that were judged.
    #[schemars(range(min = 1))]
    pub judged: u64,
}
