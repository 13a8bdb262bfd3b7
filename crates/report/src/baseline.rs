//! What agents passed, by what is like with like: the same agent, kind of cluster, failure, package and parameters.

use std::collections::BTreeMap;

use model::{
    BASELINE_SCHEMA, Baseline, BaselineEntry, CaseFile, ClusterKind, FailureRecord, Id, RunFile, Status, WitnessKind,
};
use serde_json::Value;

use crate::statistics::Share;

/// What makes two results comparable, besides prompt and scoring.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Combination {
    /// As the matrix names it.
    pub agent: String,
    /// Where.
    pub cluster_kind: ClusterKind,
    /// The failure.
    pub failure: String,
    /// Of its package.
    pub digest: String,
    /// As the matrix gave them, as JSON with sorted keys.
    pub params: String,
}

impl Combination {
    /// Of an entry of a baseline.
    pub fn of_entry(entry: &BaselineEntry) -> Self {
        Self {
            agent: entry.agent.to_string(),
            cluster_kind: entry.cluster_kind,
            failure: entry.failure.to_string(),
            digest: entry.digest.clone(),
            params: text(&entry.params),
        }
    }

    /// Of a case; none where the run does not know the failure.
    pub fn of_case(case: &CaseFile, failures: &[FailureRecord]) -> Option<Self> {
        let record = failures.iter().find(|record| record.name == case.failure)?;
        Some(Self {
            agent: case.agent.to_string(),
            cluster_kind: case.cluster_kind,
            failure: record.id.to_string(),
            digest: record.digest.clone(),
            params: text(&record.params),
        })
    }

    /// Whether only package or parameters differ: the same question, but not the same task.
    pub fn is_near(&self, other: &Self) -> bool {
        (&self.agent, self.cluster_kind, &self.failure) == (&other.agent, other.cluster_kind, &other.failure)
    }

    /// For people: `claude x oom-killed (embedded)`.
    pub fn in_words(&self) -> String {
        format!("{} x {} ({})", self.agent, self.failure, self.cluster_kind)
    }
}

fn text(params: &BTreeMap<String, Value>) -> String {
    serde_json::to_string(params).unwrap_or_default()
}

/// Whether the case belongs into statistics: an agent was judged, by a failure that the host saw.
pub fn counts(case: &CaseFile) -> bool {
    let witnessed = case.witness.as_ref().is_some_and(|witness| witness.kind == WitnessKind::Host);
    !case.control && witnessed && case.status != Status::None
}

/// How often each combination passed, of the cases that count.
pub fn shares(cases: &[CaseFile], failures: &[FailureRecord]) -> BTreeMap<Combination, Share> {
    let mut shares: BTreeMap<Combination, Share> = BTreeMap::new();
    for case in cases.iter().filter(|case| counts(case)) {
        let Some(combination) = Combination::of_case(case, failures) else { continue };
        let share = shares.entry(combination).or_default();
        share.judged += 1;
        share.passed += u64::from(case.status == Status::Pass);
    }
    shares
}

/// The run as a baseline for later ones. The same run gives the same bytes.
///
/// # Errors
/// The matrix has a name that no program of ours writes.
pub fn baseline(run: &RunFile, cases: &[CaseFile]) -> Result<Baseline, model::IdError> {
    let entry = |(combination, share): (Combination, Share)| -> Result<BaselineEntry, model::IdError> {
        Ok(BaselineEntry {
            agent: combination.agent.parse::<Id>()?,
            cluster_kind: combination.cluster_kind,
            failure: combination.failure.parse::<Id>()?,
            digest: combination.digest,
            params: serde_json::from_str(&combination.params).unwrap_or_default(),
            passed: share.passed,
            judged: share.judged,
        })
    };
    Ok(Baseline {
        schema: BASELINE_SCHEMA,
        run_id: run.run_id.clone(),
        matrix: run.matrix.parse()?,
        harness_version: run.harness_version.clone(),
        scoring: run.scoring,
        prompt_digest: run.prompt_digest.clone(),
        entries: shares(cases, &run.failures).into_iter().map(entry).collect::<Result<_, _>>()?,
    })
}
