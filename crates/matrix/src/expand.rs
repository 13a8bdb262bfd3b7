//! From a matrix to its cases, one at a time.

use model::CaseId;

use crate::{AgentUse, ClusterSpec, FailureUse, Matrix};

/// One case of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseSpec<'a> {
    /// Its id, unique in the matrix.
    pub id: CaseId,
    /// Where.
    pub cluster: &'a ClusterSpec,
    /// What is broken.
    pub failure: &'a FailureUse,
    /// By whom it is worked on.
    pub agent: &'a AgentUse,
    /// From 1.
    pub repeat: u32,
}

/// One failure on one cluster. Where a control is among its cases, they stand and fall together: one that passes makes
/// all of them invalid.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    matrix: &'a Matrix,
    /// Its place among the groups of the matrix, from 0.
    pub number: u64,
    /// Where.
    pub cluster: &'a ClusterSpec,
    /// What is broken.
    pub failure: &'a FailureUse,
}

impl<'a> Group<'a> {
    /// Its cases, in the order agents, repeats.
    pub fn cases(self) -> impl Iterator<Item = CaseSpec<'a>> + Clone {
        let Self { matrix, cluster, failure, .. } = self;
        let of = move |agent: &'a AgentUse| {
            (1..=matrix.execution.repeats).map(move |repeat| {
                let id = CaseId::new(&cluster.id, &failure.name, &agent.name, repeat);
                CaseSpec { id, cluster, failure, agent, repeat }
            })
        };
        self.agents().flat_map(of)
    }

    /// Whether a control is among its cases.
    pub fn is_guarded(self) -> bool {
        self.agents().any(|agent| agent.control)
    }

    /// Those that are not excluded.
    fn agents(self) -> impl Iterator<Item = &'a AgentUse> + Clone {
        self.matrix.agents.iter().filter(move |agent| !self.excludes(agent))
    }

    fn excludes(self, agent: &AgentUse) -> bool {
        self.matrix.exclude.iter().any(|exclude| {
            exclude.cluster.as_ref().is_none_or(|id| *id == self.cluster.id)
                && exclude.failure.as_ref().is_none_or(|name| *name == self.failure.name)
                && exclude.agent.as_ref().is_none_or(|name| *name == agent.name)
        })
    }
}

pub(crate) fn groups(matrix: &Matrix) -> impl Iterator<Item = Group<'_>> + Clone {
    let pairs =
        matrix.clusters.iter().flat_map(|cluster| matrix.failures.iter().map(move |failure| (cluster, failure)));
    (0..).zip(pairs).map(move |(number, (cluster, failure))| Group { matrix, number, cluster, failure })
}

pub(crate) fn count(matrix: &Matrix) -> u64 {
    let agents = groups(matrix).map(|group| group.agents().count() as u64).sum::<u64>();
    agents.saturating_mul(u64::from(matrix.execution.repeats))
}

pub(crate) fn is_empty(matrix: &Matrix) -> bool {
    !matrix.exclude.is_empty() && groups(matrix).all(|group| group.agents().next().is_none())
}
