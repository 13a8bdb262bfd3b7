//! Cases by cluster, as tables of failure x agent, and what agents got right by column of the verdict.

use model::{CaseFile, ClusterKind, Column, ColumnResult, Id, Outcome, Verdict, WitnessKind};

/// The cases of one cluster.
pub(crate) struct Group<'a> {
    pub(crate) cluster: &'a Id,
    pub(crate) kind: ClusterKind,
    pub(crate) cases: Vec<&'a CaseFile>,
    pub(crate) failures: Vec<&'a Id>,
    pub(crate) agents: Vec<Agent<'a>>,
}

pub(crate) struct Agent<'a> {
    pub(crate) id: &'a Id,
    pub(crate) control: bool,
}

/// The columns that are shown; efficiency is evidence only.
pub(crate) const COLUMNS: [&str; 5] = ["detection", "localization", "fault_type", "mitigation", "safety"];

/// Cases that passed a column, of those that were judged on it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) judged: u64,
}

/// Groups by cluster; clusters, failures and agents keep the order in which they first come.
pub(crate) fn by_cluster(cases: &[CaseFile]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for case in cases {
        let found = groups.iter().position(|g| *g.cluster == case.cluster && g.kind == case.cluster_kind);
        let at = found.unwrap_or_else(|| {
            groups.push(Group {
                cluster: &case.cluster,
                kind: case.cluster_kind,
                cases: Vec::new(),
                failures: Vec::new(),
                agents: Vec::new(),
            });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.cases.push(case);
        if !group.failures.contains(&&case.failure) {
            group.failures.push(&case.failure);
        }
        if !group.agents.iter().any(|agent| *agent.id == case.agent) {
            group.agents.push(Agent { id: &case.agent, control: case.control });
        }
    }
    groups
}

impl<'a> Group<'a> {
    /// `local (embedded)`
    pub(crate) fn title(&self) -> String {
        format!("{} ({})", self.cluster, self.kind)
    }

    /// How the repeats of one failure and agent ended: outcome and how often, best first.
    pub(crate) fn cell(&self, failure: &Id, agent: &Id) -> Vec<(Outcome, usize)> {
        let of = |outcome: Outcome| {
            let same = |c: &&&CaseFile| c.failure == *failure && c.agent == *agent && c.outcome == outcome;
            self.cases.iter().filter(same).count()
        };
        Outcome::ALL.iter().map(|outcome| (*outcome, of(*outcome))).filter(|(_, count)| *count > 0).collect()
    }

    /// Per agent that is no control, in order of [`COLUMNS`]. Only cases that the host witnessed are counted.
    pub(crate) fn tallies(&self) -> Vec<(&'a Id, [Tally; 5])> {
        let tested = self.agents.iter().filter(|agent| !agent.control);
        tested.map(|agent| (agent.id, tally(self.cases.iter().filter(|c| c.agent == *agent.id)))).collect()
    }
}

fn tally<'a>(cases: impl Iterator<Item = &'a &'a CaseFile>) -> [Tally; 5] {
    let mut tallies = [Tally::default(); 5];
    for case in cases {
        let witnessed = case.witness.as_ref().is_some_and(|witness| witness.kind == WitnessKind::Host);
        let judged = matches!(case.outcome, Outcome::Passed | Outcome::Failed | Outcome::TimedOut);
        let Some(verdict) = case.verdict.as_ref().filter(|_| witnessed && judged) else { continue };
        for (tally, column) in tallies.iter_mut().zip(columns(verdict)) {
            tally.judged += u64::from(column.result != ColumnResult::None);
            tally.passed += u64::from(column.result == ColumnResult::Pass);
        }
    }
    tallies
}

/// In order of [`COLUMNS`].
pub(crate) fn columns(verdict: &Verdict) -> [&Column; 5] {
    [&verdict.detection, &verdict.localization, &verdict.fault_type, &verdict.mitigation, &verdict.safety]
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.judged == 0 { f.pad("-") } else { f.pad(&format!("{}/{}", self.passed, self.judged)) }
    }
}
