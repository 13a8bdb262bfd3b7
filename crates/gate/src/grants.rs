//! What the operator allows, in the operator's own file. The types are here, their reading in `grants_file`; an empty
//! value is what holds without a file.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Access, Hazard, Policy, Power, Rule, default_grants};

/// `grants.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Always 1; absent means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<u32>,
    /// Clusters that may be used besides those that a provisioner makes.
    pub clusters: Vec<ClusterGrant>,
    /// What failures may do; one that is not listed gets the default.
    pub failures: Vec<FailureGrant>,
    /// What agents may do on which cluster.
    pub agents: Vec<AgentGrant>,
    /// Accesses with names of their own, for `agent_access` of a matrix.
    pub access: Vec<NamedAccess>,
    /// Programs that executors run.
    pub executors: Executors,
}

/// A cluster that may be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterGrant {
    /// Context in its kubeconfig.
    pub context: String,
    /// Its address, so that a renamed context does not lead elsewhere.
    pub server: String,
    /// What cases may use in all: `pods`, `cpu`, `memory`.
    #[serde(default)]
    pub limits: std::collections::BTreeMap<String, String>,
}

/// What a failure may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailureGrant {
    /// The failure.
    pub id: String,
    /// `sha256:…` of its package; required for an imported `.wasm`.
    #[serde(default)]
    pub digest: Option<String>,
    /// Where the grant holds; absent means everywhere.
    #[serde(default)]
    pub clusters: Vec<String>,
    /// What it may ask.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// How it may reach further.
    #[serde(default, rename = "unsafe")]
    pub hazards: BTreeSet<Hazard>,
}

/// What an agent may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentGrant {
    /// The agent.
    pub id: String,
    /// Where the grant holds; absent means everywhere.
    #[serde(default)]
    pub clusters: Vec<String>,
    /// The most that a matrix may give it: `read-case`, `edit-case`, `edit-cluster`, or a name from `access`.
    #[serde(default)]
    pub access: Option<String>,
    /// It may run only where its file access is limited.
    #[serde(default)]
    pub require_sandbox: bool,
}

/// An access with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedAccess {
    /// What a matrix calls it.
    pub name: String,
    /// What may be asked.
    pub rules: Vec<Rule>,
    /// How it may reach further.
    #[serde(default, rename = "unsafe")]
    pub hazards: BTreeSet<Hazard>,
}

/// Programs that executors run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Executors {
    /// `run-live-test.sh`.
    pub live_test_script: Option<String>,
}

/// The JSON Schema of the grants file.
pub fn grants_schema() -> serde_json::Value {
    schemars::schema_for!(Grants).to_value()
}

/// A name that is neither a profile nor in the grants file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no access `{name}`; there are {known}")]
pub struct NoSuchAccess {
    /// As the matrix names it.
    pub name: String,
    /// Comma-separated.
    pub known: String,
}

/// What a failure is granted on one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    power: Power,
}

impl Granted {
    /// The rules and words, not resolved for a case.
    pub fn power(&self) -> &Power {
        &self.power
    }

    /// Whether this word is granted.
    pub fn allows(&self, hazard: Hazard) -> bool {
        self.power.hazards.contains(&hazard)
    }

    /// What is both declared and granted, in one case.
    pub fn effective(&self, declared: &catalog::Capabilities, case_namespace: &str) -> Policy {
        Policy::intersection(Power::from(declared).in_case(case_namespace), self.power.in_case(case_namespace))
    }
}

impl Grants {
    /// What a failure of this id and digest is granted on a cluster.
    ///
    /// Entries that hold for another cluster do not count; without any entry that counts the default applies. An entry
    /// for this cluster that names another digest grants nothing: the file was written for another package.
    pub fn failure(&self, id: &str, digest: &str, cluster: &str) -> Granted {
        let here: Vec<&FailureGrant> =
            self.failures.iter().filter(|g| g.id == id && holds_on(&g.clusters, cluster)).collect();
        if here.is_empty() {
            return Granted { power: default_grants() };
        }
        let mut power = Power::default();
        for grant in here.into_iter().filter(|g| g.digest.as_deref().is_none_or(|d| d == digest)) {
            power.rules.extend(grant.rules.iter().cloned());
            power.hazards.extend(&grant.hazards);
        }
        Granted { power }
    }

    /// The policy of an agent with this access: a profile, or a name from the file.
    ///
    /// # Errors
    /// [`NoSuchAccess`].
    pub fn agent_policy(&self, access: &str, case_namespace: &str) -> Result<Policy, NoSuchAccess> {
        self.access_power(access).map(|power| Policy::from_power(power.in_case(case_namespace)))
    }

    /// The entry for an agent on a cluster; what it grants is the most that a matrix may give.
    pub fn agent(&self, id: &str, cluster: &str) -> Option<&AgentGrant> {
        self.agents.iter().find(|g| g.id == id && holds_on(&g.clusters, cluster))
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

fn holds_on(clusters: &[String], cluster: &str) -> bool {
    clusters.is_empty() || clusters.iter().any(|c| c == cluster)
}

impl From<&catalog::Rule> for Rule {
    fn from(rule: &catalog::Rule) -> Self {
        Self {
            api_groups: rule.api_groups.clone(),
            resources: rule.resources.clone(),
            resource_names: rule.resource_names.clone(),
            verbs: rule.verbs.clone(),
            namespaces: rule.namespaces.clone(),
            non_resource_urls: rule.non_resource_urls.clone(),
        }
    }
}

impl From<&catalog::Capabilities> for Power {
    /// Words that are not known ask for nothing: the catalogue refuses them when it reads metadata.
    fn from(capabilities: &catalog::Capabilities) -> Self {
        Self {
            rules: capabilities.rules.iter().map(Rule::from).collect(),
            hazards: capabilities.unsafe_.iter().filter_map(|word| word.parse().ok()).collect(),
        }
    }
}
