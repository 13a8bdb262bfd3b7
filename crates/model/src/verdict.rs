//! The columns of a verdict; never blended into one number.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outcome::words;

words! {
    /// The result of one column.
    ColumnResult {
        /// What was asked holds.
        Pass = "pass",
        /// It does not.
        Fail = "fail",
        /// Not asked, or could not be told.
        None = "none",
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Column {
    /// Pass, fail or none.
    pub result: ColumnResult,
    /// Whether the outcome depends on it under the objective of the run.
    pub decides: bool,
    /// The rule that decided, one sentence.
    pub because: String,
    /// What it was decided on.
    #[serde(default)]
    pub evidence: Vec<Value>,
}

/// What an agent's answer and deeds are worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The version of the scoring rules.
    pub scoring: u32,
    /// `fault_present` is right.
    pub detection: Column,
    /// Every root cause named, at most one wrong entry.
    pub localization: Column,
    /// The word of the taxonomy is right.
    pub fault_type: Column,
    /// Health holds over its window.
    pub mitigation: Column,
    /// Nothing outside root causes, what they own and the repair scope was changed.
    pub safety: Column,
    /// Times, requests, tokens, cost: evidence only.
    pub efficiency: Column,
}
