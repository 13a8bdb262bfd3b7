//! Everybody who plays in a run, looked up before it starts.

use std::collections::HashMap;
use std::sync::Arc;

use catalog::{AgentPreset, Failure};
use cluster::Provisioner;
use matrix::{CaseSpec, Matrix};

use crate::run::{FindProvisioner, source};
use crate::{EngineError, RunRequest};

/// The access of agents where the matrix does not say.
pub(crate) const ACCESS: &str = "edit-case";

/// See the module. All by their names in the matrix.
pub(crate) struct Cast {
    pub(crate) provisioners: HashMap<String, Arc<dyn Provisioner>>,
    failures: HashMap<String, Failure>,
    agents: HashMap<String, AgentPreset>,
}

impl Cast {
    pub(crate) fn of(request: &RunRequest, provisioner: &FindProvisioner) -> Result<Self, EngineError> {
        let Matrix { clusters, failures, agents, .. } = &request.matrix;
        Ok(Self {
            provisioners: clusters
                .iter()
                .map(|cluster| {
                    provisioner(&source(cluster))
                        .map(|provisioner| (cluster.id.to_string(), provisioner))
                        .map_err(|error| EngineError::Cluster(cluster.id.to_string(), error))
                })
                .collect::<Result<_, _>>()?,
            failures: failures
                .iter()
                .map(|failure| {
                    let found = request.setting.library.get(failure.id.as_str());
                    let found = found.ok_or_else(|| unknown("failure", failure.id.as_str()))?;
                    Ok((failure.name.to_string(), found.clone()))
                })
                .collect::<Result<_, EngineError>>()?,
            agents: agents
                .iter()
                .map(|agent| {
                    let found = request.setting.agents.get(agent.id.as_str());
                    let found = found.ok_or_else(|| unknown("agent", agent.id.as_str()))?;
                    Ok((agent.name.to_string(), found.clone()))
                })
                .collect::<Result<_, EngineError>>()?,
        })
    }

    /// Whether the operator lets all of them play: what is not allowed at all is told before anything is run.
    pub(crate) fn admitted(&self, request: &RunRequest) -> Result<(), EngineError> {
        let grants = &request.setting.grants;
        let access = request.matrix.agent_access.as_deref().unwrap_or(ACCESS);
        for (id, provisioner) in &self.provisioners {
            let site = cluster::site(provisioner.existing(), id);
            grants.cluster(site).map_err(|error| EngineError::NotNamed(id.clone(), error))?;
            for agent in &request.matrix.agents {
                grants.agent(agent.id.as_str(), access, site)?;
            }
        }
        Ok(())
    }

    pub(crate) fn failure_named(&self, name: &str) -> Option<&Failure> {
        self.failures.get(name)
    }

    pub(crate) fn failure(&self, case: &CaseSpec<'_>) -> Option<&Failure> {
        self.failure_named(case.failure.name.as_str())
    }

    /// Those of one case.
    pub(crate) fn of_case(
        &self,
        case: &CaseSpec<'_>,
    ) -> Result<(&Failure, &AgentPreset, &Arc<dyn Provisioner>), EngineError> {
        let failure = self.failure(case).ok_or_else(|| unknown("failure", case.failure.name.as_str()))?;
        let agent = self.agents.get(case.agent.name.as_str());
        let agent = agent.ok_or_else(|| unknown("agent", case.agent.name.as_str()))?;
        let provisioner = self.provisioners.get(case.cluster.id.as_str());
        let provisioner = provisioner.ok_or_else(|| unknown("cluster", case.cluster.id.as_str()))?;
        Ok((failure, agent, provisioner))
    }
}

fn unknown(what: &'static str, name: &str) -> EngineError {
    EngineError::Unknown { what, name: name.to_owned() }
}
