//! What a run would do, and to what: told by `run --dry-run` before anything is run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cluster::Provisioner;
use gate::{Grants, agent_stanza};
use matrix::Matrix;
use serde::Serialize;
use yaml::{Diagnostic, Diagnostics, Source};

use crate::blast::{BlastRadius, NotGranted, not_granted};
use crate::harness::shown;
use crate::{ApiError, Harness, PlannedCase, RunInput};

/// What a run would do.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Name of the matrix.
    pub matrix: String,
    /// The cases, in the order in which they would run.
    pub cases: Vec<PlannedCase>,
    /// The clusters of those cases.
    pub clusters: Vec<ClusterPlan>,
    /// The failures of those cases.
    pub failures: Vec<FailurePlan>,
    /// What the matrix gives agents.
    pub agent_access: String,
    /// The agents of those cases, on each cluster.
    pub agents: Vec<AgentUsePlan>,
    /// Warnings about the matrix.
    #[serde(skip)]
    pub warnings: Diagnostics,
}

/// A cluster that cases would run on.
#[derive(Debug, Serialize)]
pub struct ClusterPlan {
    /// As the matrix names it.
    pub id: String,
    /// What makes it.
    pub provisioner: String,
    /// What it is made from; none: the provisioner's default, or it exists.
    pub template: Option<String>,
    /// Of an existing one.
    pub context: Option<String>,
    /// Of an existing one.
    pub server: Option<String>,
    /// What cases may use in all, where the grants file says so.
    pub limits: BTreeMap<String, String>,
    /// Why nothing may be run on it: with this the run ends before it begins.
    pub refused: Option<String>,
}

/// What a failure may do.
#[derive(Debug, Serialize)]
pub struct FailurePlan {
    /// As the matrix names it.
    pub name: String,
    /// The failure itself.
    pub id: String,
    /// `sha256:…` over the package.
    pub digest: String,
    /// The most that it can touch, with its parameters put in.
    pub blast_radius: BlastRadius,
    /// What it declares and nobody has granted, by cluster.
    pub not_granted: Vec<NotGranted>,
}

/// What an agent may do on a cluster.
#[derive(Debug, Serialize)]
pub struct AgentUsePlan {
    /// As the matrix names it.
    pub name: String,
    /// The preset.
    pub id: String,
    /// The program that runs on this machine.
    pub program: String,
    /// The cluster, as the matrix names it.
    pub cluster: String,
    /// The access that it gets: the lesser of what the matrix gives and the operator lets it give.
    pub access: String,
    /// It may run only where its file access is limited.
    pub require_sandbox: bool,
    /// What the matrix gives and the operator does not, where that is so.
    pub not_granted: Option<NotGranted>,
}

impl Plan {
    /// Why the run would end before it begins.
    pub fn refused(&self) -> Option<&str> {
        self.clusters.iter().find_map(|cluster| cluster.refused.as_deref())
    }
}

impl Harness {
    /// What a run would do. Runs nothing, writes nothing, contacts no cluster.
    ///
    /// # Errors
    /// The matrix or the grants file is invalid, or the filter selects nothing.
    pub fn plan(&self, input: &RunInput) -> Result<Plan, ApiError> {
        let mut checked = self.check(&input.matrix)?;
        checked.matrix.execution.repeats = input.repeat.unwrap_or(checked.matrix.execution.repeats);
        let listing = self.listing(checked, &input.choice, &input.matrix)?;
        if listing.is_empty() {
            return Err(ApiError::NothingSelected(listing.all()));
        }
        let cases: Vec<PlannedCase> = listing.cases().collect();
        let matrix = listing.matrix();
        let grants = self.grants()?;
        let clusters = found(matrix, |id| cases.iter().any(|case| case.cluster == id))?;
        let plays =
            |cluster: &str, agent: &str| cases.iter().any(|case| case.agent == agent && case.cluster == cluster);
        Ok(Plan {
            matrix: matrix.name.to_string(),
            clusters: clusters.iter().map(|one| one.planned(&grants)).collect(),
            failures: self.failure_plans(matrix, &cases, &grants, &clusters),
            agents: self.agent_uses(matrix, plays, &grants, &clusters)?,
            agent_access: access(matrix).to_owned(),
            cases,
            warnings: listing.warnings.clone(),
        })
    }

    /// Whether the operator lets the matrix use its clusters. What comes back are agents that get less than the matrix
    /// gives them: whoever reads their results must know.
    pub(crate) fn admitted(&self, matrix: &Matrix, file: &Path) -> Result<Vec<Diagnostic>, ApiError> {
        let (clusters, grants) = (found(matrix, |_| true)?, self.grants()?);
        for one in &clusters {
            let named = grants.cluster(one.site());
            named.map_err(|error| ApiError::input(format!("cluster `{}`: {error}", one.spec.id)))?;
        }
        let uses = self.agent_uses(matrix, |_, _| true, &grants, &clusters)?;
        let source = Source::new(shown(file), "");
        let warning = |used: &AgentUsePlan| {
            let lines = &used.not_granted.as_ref()?.lines;
            let message = format!(
                "agent `{}` gets {} on `{}`, not {}: {lines}",
                used.name,
                used.access,
                used.cluster,
                access(matrix)
            );
            Some(Diagnostic::without_span("grants", &source, message).as_warning())
        };
        Ok(uses.iter().filter_map(warning).collect())
    }

    fn failure_plans(
        &self,
        matrix: &Matrix,
        cases: &[PlannedCase],
        grants: &Grants,
        clusters: &[Found<'_>],
    ) -> Vec<FailurePlan> {
        let used = matrix.failures.iter().filter(|one| cases.iter().any(|case| case.failure == one.name.as_str()));
        let plan = |used: &matrix::FailureUse| {
            let failure = self.library().get(used.id.as_str())?;
            Some(FailurePlan {
                name: used.name.to_string(),
                id: used.id.to_string(),
                digest: failure.digest.clone(),
                blast_radius: BlastRadius::of(failure, &used.params),
                not_granted: clusters.iter().filter_map(|one| not_granted(grants, failure, one.site())).collect(),
            })
        };
        used.filter_map(plan).collect()
    }

    fn agent_uses(
        &self,
        matrix: &Matrix,
        plays: impl Fn(&str, &str) -> bool,
        grants: &Grants,
        clusters: &[Found<'_>],
    ) -> Result<Vec<AgentUsePlan>, ApiError> {
        let mut uses = Vec::new();
        for cluster in clusters {
            for used in &matrix.agents {
                let id = cluster.spec.id.as_str();
                if !plays(id, used.name.as_str()) {
                    continue;
                }
                let Some(preset) = self.agents().get(used.id.as_str()) else { continue };
                let site = cluster.site();
                let power = grants.agent(used.id.as_str(), access(matrix), site);
                let power = power.map_err(|error| ApiError::input(error.to_string()))?;
                let lines = || {
                    let stanza = agent_stanza(used.id.as_str(), access(matrix), site);
                    format!("the operator's grants file lacks\n{}", stanza.trim_end())
                };
                let narrowed = !power.lacking.is_empty();
                uses.push(AgentUsePlan {
                    name: used.name.to_string(),
                    id: used.id.to_string(),
                    program: match preset.command.first().map(String::as_str) {
                        Some("$(harness)") => "harness-cli".to_owned(),
                        Some(program) => program.to_owned(),
                        None => preset.executor.as_str().to_owned(),
                    },
                    cluster: id.to_owned(),
                    access: if narrowed { power.granted } else { power.asked },
                    require_sandbox: power.require_sandbox,
                    not_granted: narrowed.then(|| NotGranted { cluster: id.to_owned(), lines: lines() }),
                });
            }
        }
        Ok(uses)
    }
}

fn access(matrix: &Matrix) -> &str {
    matrix.agent_access.as_deref().unwrap_or("edit-case")
}

/// A cluster of the matrix and what it leads to.
struct Found<'a> {
    spec: &'a matrix::ClusterSpec,
    provisioner: Arc<dyn Provisioner>,
}

fn found(matrix: &Matrix, plays: impl Fn(&str) -> bool) -> Result<Vec<Found<'_>>, ApiError> {
    let used = matrix.clusters.iter().filter(|one| plays(one.id.as_str()));
    used.map(|spec| {
        let provisioner = cluster::provisioner(&engine::source(spec));
        let provisioner = provisioner.map_err(|error| ApiError::input(format!("cluster `{}`: {error}", spec.id)))?;
        Ok(Found { spec, provisioner })
    })
    .collect()
}

impl Found<'_> {
    fn site(&self) -> gate::Site<'_> {
        cluster::site(self.provisioner.existing(), self.spec.id.as_str())
    }

    fn planned(&self, grants: &Grants) -> ClusterPlan {
        let admitted = grants.cluster(self.site());
        let existing = self.provisioner.existing();
        ClusterPlan {
            id: self.spec.id.to_string(),
            provisioner: self.spec.provisioner.clone(),
            template: self.spec.template.clone(),
            context: existing.map(|reference| reference.context.clone()),
            server: existing.map(|reference| reference.server.clone()),
            limits: admitted.as_ref().ok().copied().flatten().map(|grant| grant.limits.clone()).unwrap_or_default(),
            refused: admitted.err().map(|error| error.to_string()),
        }
    }
}
