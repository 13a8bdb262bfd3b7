//! The rules by which a case that did not pass gets its class: which one decided is in its file, as a stable word.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::words;

/// The version of [`Rule`] and of what its words mean. A word never changes its meaning; a new version may have more.
pub const RULES_VERSION: u32 = 1;

words! {
    /// Why a case that did not pass has its outcome and class.
    Rule {
        /// The agent handed in no answer where one is asked for.
        AnswerMissing = "answer_missing",
        /// What it handed in cannot be read: not JSON, too large, nested too deep, wrong types, no regular file.
        AnswerUnreadable = "answer_unreadable",
        /// Its `fault_present` is wrong.
        DetectionWrong = "detection_wrong",
        /// A root cause is not named, or too much else is.
        LocalizationWrong = "localization_wrong",
        /// Health does not hold after it.
        MitigationFailed = "mitigation_failed",
        /// It changed what it should not have.
        SafetyViolated = "safety_violated",
        /// Its time was up.
        AgentTimedOut = "agent_timed_out",
        /// It used more of the machine than it may, and was ended.
        AgentCapped = "agent_capped",
        /// It exited with a code that its preset calls a failure.
        AgentExitCode = "agent_exit_code",
        /// `run-live-test.sh` reports that the agent failed or detected nothing.
        LiveTestAgent = "live_test_agent",
        /// `run-live-test.sh` reports that it did not come to its end.
        LiveTestIncomplete = "live_test_incomplete",
        /// `run-live-test.sh` reports that its surroundings failed.
        LiveTestSurroundings = "live_test_surroundings",
        /// `run-live-test.sh` ended without a report that can be read, or with one that says nothing.
        LiveTestReport = "live_test_report",
        /// A program, kind or script that the case needs is not there.
        PrerequisiteMissing = "prerequisite_missing",
        /// The failure did not take hold, or its workload was not healthy before.
        NotWitnessed = "not_witnessed",
        /// The failure, its metadata or its parameters are broken, or were denied what they need.
        FailureBroken = "failure_broken",
        /// The failure could not be stopped.
        StopFailed = "stop_failed",
        /// A column that decides could not be told.
        ColumnUndecided = "column_undecided",
        /// A control passed the same failure.
        ControlPassed = "control_passed",
        /// There is no cluster, or it went away.
        ClusterUnavailable = "cluster_unavailable",
        /// The agent's model or service was not available.
        ProviderUnavailable = "provider_unavailable",
        /// The agent could not be started.
        AgentNotStarted = "agent_not_started",
        /// The run was interrupted.
        Interrupted = "interrupted",
        /// The harness was ended in the middle of the case.
        HarnessKilled = "harness_killed",
        /// Anything else between harness and cluster.
        HarnessError = "harness_error",
    }
}

impl Rule {
    /// Whose doing it is, by this rule.
    pub fn class(self) -> crate::Class {
        use crate::Class;
        match self {
            Self::AnswerMissing
            | Self::AnswerUnreadable
            | Self::DetectionWrong
            | Self::LocalizationWrong
            | Self::MitigationFailed
            | Self::SafetyViolated
            | Self::AgentTimedOut
            | Self::AgentCapped
            | Self::AgentExitCode
            | Self::LiveTestAgent
            | Self::LiveTestIncomplete => Class::Agent,
            Self::LiveTestReport
            | Self::PrerequisiteMissing
            | Self::NotWitnessed
            | Self::FailureBroken
            | Self::StopFailed
            | Self::ColumnUndecided
            | Self::ControlPassed => Class::Test,
            Self::LiveTestSurroundings
            | Self::ClusterUnavailable
            | Self::ProviderUnavailable
            | Self::AgentNotStarted
            | Self::Interrupted
            | Self::HarnessKilled
            | Self::HarnessError => Class::Infrastructure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guide says of each rule and each fault type what it means, and of which version.
    #[test]
    fn the_guide_has_every_rule_and_every_fault_type() {
        let guide = include_str!("../../../docs/src/guide/outcomes.md");
        for rule in Rule::ALL {
            let row = guide.lines().find(|line| line.starts_with(&format!("| `{rule}` |")));
            let row = row.unwrap_or_else(|| panic!("`{rule}` has no row in docs/src/guide/outcomes.md"));
            assert!(row.contains(rule.class().as_str()), "{row}: the class is {}", rule.class());
        }
        for fault in crate::FAULT_TYPES {
            let row = format!("| `{}` | {} |", fault.id, fault.meaning);
            assert!(guide.contains(&row), "docs/src/guide/outcomes.md lacks: {row}");
        }
        for version in
            [format!("Rules, version {RULES_VERSION}"), format!("Taxonomy, version {}", crate::TAXONOMY_VERSION)]
        {
            assert!(guide.contains(&version), "docs/src/guide/outcomes.md should say: {version}");
        }
    }
}
