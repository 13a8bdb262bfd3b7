//! From a matrix to its cases, one at a time.

use model::CaseId;

use crate::{AgentUse, ClusterSpec, FailureUse, Matrix};

/// One case of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseSpec<'a> {
    /// Its place among the cases of the matrix, from 0.
    pub index: u64,
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

/// The cases of a matrix in the order clusters, failures, agents, repeats.
#[derive(Clone, Debug)]
pub struct Cases<'a> {
    matrix: &'a Matrix,
    cluster: usize,
    failure: usize,
    agent: usize,
    /// Repeats already given of the current combination.
    repeat: u32,
    index: u64,
}

impl<'a> Cases<'a> {
    pub(crate) fn new(matrix: &'a Matrix) -> Self {
        Self { matrix, cluster: 0, failure: 0, agent: 0, repeat: 0, index: 0 }
    }

    fn next_combination(&mut self) {
        self.repeat = 0;
        self.agent += 1;
        if self.agent >= self.matrix.agents.len() {
            self.agent = 0;
            self.failure += 1;
        }
        if self.failure >= self.matrix.failures.len() {
            self.failure = 0;
            self.cluster += 1;
        }
    }
}

impl<'a> Iterator for Cases<'a> {
    type Item = CaseSpec<'a>;

    fn next(&mut self) -> Option<CaseSpec<'a>> {
        let matrix = self.matrix;
        loop {
            let cluster = matrix.clusters.get(self.cluster)?;
            let failure = matrix.failures.get(self.failure)?;
            let agent = matrix.agents.get(self.agent)?;
            let exhausted = self.repeat >= matrix.execution.repeats;
            if exhausted || (self.repeat == 0 && matrix.is_excluded(cluster, failure, agent)) {
                self.next_combination();
                continue;
            }
            self.repeat += 1;
            let id = CaseId::new(&cluster.id, &failure.name, &agent.name, self.repeat);
            let case = CaseSpec { index: self.index, id, cluster, failure, agent, repeat: self.repeat };
            self.index += 1;
            return Some(case);
        }
    }
}

impl Matrix {
    /// Whether the cases of this combination are left out.
    fn is_excluded(&self, cluster: &ClusterSpec, failure: &FailureUse, agent: &AgentUse) -> bool {
        self.exclude.iter().any(|exclude| {
            exclude.cluster.as_ref().is_none_or(|id| *id == cluster.id)
                && exclude.failure.as_ref().is_none_or(|name| *name == failure.name)
                && exclude.agent.as_ref().is_none_or(|name| *name == agent.name)
        })
    }

    fn combinations(&self) -> impl Iterator<Item = (&ClusterSpec, &FailureUse, &AgentUse)> {
        self.clusters.iter().flat_map(move |cluster| {
            self.failures.iter().flat_map(move |failure| self.agents.iter().map(move |agent| (cluster, failure, agent)))
        })
    }
}

pub(crate) fn count(matrix: &Matrix) -> u64 {
    let repeats = u64::from(matrix.execution.repeats);
    if matrix.exclude.is_empty() {
        let sizes = [matrix.clusters.len(), matrix.failures.len(), matrix.agents.len()];
        return sizes.iter().fold(repeats, |all, size| all.saturating_mul(u64::try_from(*size).unwrap_or(u64::MAX)));
    }
    let kept = matrix.combinations().filter(|(c, f, a)| !matrix.is_excluded(c, f, a)).count();
    repeats.saturating_mul(u64::try_from(kept).unwrap_or(u64::MAX))
}

pub(crate) fn is_empty(matrix: &Matrix) -> bool {
    !matrix.exclude.is_empty() && matrix.combinations().all(|(c, f, a)| matrix.is_excluded(c, f, a))
}
