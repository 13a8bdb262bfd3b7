//! What the operator allows, in the operator's own file. The types are here, their reading in `grants_file`; an empty
//! value is what holds without a file.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::denial::{Entry, grant_lines};
use crate::rule::CASE;
use crate::stanza::Package;
use crate::{Hazard, Policy, Power, Rule, Site, default_grants};

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
    /// Where the grant holds: contexts, or ids of clusters that are made. Absent means everywhere.
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
    /// Where the grant holds: contexts, or ids of clusters that are made. Absent means everywhere.
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

/// What a failure is granted on one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    power: Power,
    entry: Entry,
}

impl Granted {
    /// The rules and words, not resolved for a case.
    pub fn power(&self) -> &Power {
        &self.power
    }

    /// Whether an entry of the file holds; otherwise it is the default.
    pub fn listed(&self) -> bool {
        self.entry.listed
    }

    /// Whether this word is granted.
    pub fn allows(&self, hazard: Hazard) -> bool {
        self.power.hazards.contains(&hazard)
    }

    /// What of this power is not granted; empty where all of it is.
    pub fn lacking(&self, needed: &Power) -> Power {
        needed.in_case(CASE).lacking(&self.power.in_case(CASE))
    }

    /// The lines that would grant it besides what is declared already, and where they go, as in "the operator's grants
    /// file lacks" and the lines; none where nothing is lacking.
    pub fn lines_for(&self, needed: &Power) -> Option<String> {
        let lacking = self.lacking(needed);
        let lines = || grant_lines(&lacking, &needed.in_case(CASE), Some(&self.entry), CASE);
        (!lacking.is_empty()).then(lines)
    }

    /// What is both declared and granted, in one case.
    pub fn effective(&self, declared: &catalog::Capabilities, case_namespace: &str) -> Policy {
        Policy::intersection(Power::from(declared).in_case(case_namespace), self.power.in_case(case_namespace))
            .with_entry(self.entry.clone())
    }
}

impl Grants {
    /// What a failure is granted on a cluster.
    ///
    /// Entries that hold for another cluster do not count; without any entry that counts the default applies. An entry
    /// for this cluster that names another digest, or none for an imported package, grants nothing: it was written for
    /// another package.
    pub fn failure(&self, package: Package<'_>, site: Site<'_>) -> Granted {
        let here: Vec<&FailureGrant> =
            self.failures.iter().filter(|g| g.id == package.id && holds_on(&g.clusters, site)).collect();
        let meant = |grant: &&FailureGrant| match &grant.digest {
            Some(digest) => digest == package.digest,
            None => !package.imported,
        };
        let grants: Vec<&FailureGrant> = here.iter().copied().filter(meant).collect();
        let mut power = if here.is_empty() { default_grants() } else { Power::default() };
        for grant in &grants {
            power.rules.extend(grant.rules.iter().cloned());
            power.hazards.extend(&grant.hazards);
        }
        let entry = Entry {
            id: package.id.to_owned(),
            digest: package.digest.to_owned(),
            imported: package.imported,
            cluster: site.server.map(|_| site.name.to_owned()),
            listed: !grants.is_empty(),
        };
        Granted { power, entry }
    }
}

pub(crate) fn holds_on(clusters: &[String], site: Site<'_>) -> bool {
    clusters.is_empty() || clusters.iter().any(|c| c == site.name)
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
