//! What agents may do: what the matrix gives them, bounded by what the operator lets a matrix give.

use crate::grants::holds_on;
use crate::{Access, AgentGrant, Grants, Policy, Power, Site};

/// A name that is neither a profile nor in the grants file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no access `{name}`; there are {known}")]
pub struct NoSuchAccess {
    /// As the matrix names it.
    pub name: String,
    /// Comma-separated.
    pub known: String,
}

/// What an agent may do on one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentPower {
    /// The access that the matrix gives.
    pub asked: String,
    /// The most that the operator lets a matrix give this agent here.
    pub granted: String,
    /// What of the first the second does not cover: declared, not granted.
    pub lacking: Power,
    /// It may run only where its file access is limited.
    pub require_sandbox: bool,
    asked_power: Power,
    granted_power: Power,
}

impl AgentPower {
    /// The policy in one case: what both allow.
    pub fn policy(&self, case_namespace: &str) -> Policy {
        let asked = self.asked_power.in_case(case_namespace);
        if self.lacking.is_empty() {
            return Policy::from_power(asked);
        }
        let granted = self.granted_power.in_case(case_namespace);
        if granted.lacking(&asked).is_empty() {
            return Policy::from_power(granted);
        }
        Policy::intersection(asked, granted)
    }
}

impl Grants {
    /// What an agent may do on a cluster under the access that a matrix gives. The operator's entry for it is the most
    /// that a matrix may give. Without one it is `edit-case` on a cluster that was there before, where what lies outside of
    /// the case is somebody's; one that a provisioner made goes with the run, and the matrix may give anything.
    ///
    /// # Errors
    /// [`NoSuchAccess`].
    pub fn agent(&self, id: &str, asked: &str, site: Site<'_>) -> Result<AgentPower, NoSuchAccess> {
        let entry = self.agent_entry(id, site);
        let granted = match (entry.and_then(|entry| entry.access.as_deref()), site.server) {
            (Some(most), _) => most.to_owned(),
            (None, None) => asked.to_owned(),
            (None, Some(_)) => Access::EditCase.to_string(),
        };
        let (asked_power, granted_power) = (self.access_power(asked)?, self.access_power(&granted)?);
        Ok(AgentPower {
            asked: asked.to_owned(),
            granted,
            lacking: asked_power.in_case(crate::CASE).lacking(&granted_power.in_case(crate::CASE)),
            require_sandbox: entry.is_some_and(|entry| entry.require_sandbox),
            asked_power,
            granted_power,
        })
    }

    /// The entry for an agent on a cluster.
    fn agent_entry(&self, id: &str, site: Site<'_>) -> Option<&AgentGrant> {
        self.agents.iter().find(|entry| entry.id == id && holds_on(&entry.clusters, site))
    }

    /// Every name that `agent_access` may have.
    pub fn access_names(&self) -> Vec<&str> {
        Access::NAMES.into_iter().chain(self.access.iter().map(|a| a.name.as_str())).collect()
    }

    fn access_power(&self, name: &str) -> Result<Power, NoSuchAccess> {
        if let Ok(profile) = name.parse::<Access>() {
            return Ok(profile.power());
        }
        let named = self.access.iter().find(|a| a.name == name);
        let named = named.map(|a| Power { rules: a.rules.clone(), hazards: a.hazards.clone() });
        named.ok_or_else(|| NoSuchAccess { name: name.to_owned(), known: self.access_names().join(", ") })
    }
}
