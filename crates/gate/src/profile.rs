//! The access that a matrix may give an agent by name, and what failures may do where the operator wrote no grants file.
//! Rules are lists of what Kubernetes serves: RBAC cannot say "everything but Secrets".

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::CASE;
use crate::{Hazard, Policy, Power, Rule};

const READ: &[&str] = &["get", "list", "watch"];
const ALL: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Core resources that workloads are made of. Secrets are not here: they have rules of their own.
const CORE: &[&str] = &[
    "pods",
    "pods/ephemeralcontainers",
    "pods/resize",
    "services",
    "endpoints",
    "configmaps",
    "events",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "podtemplates",
    "resourcequotas",
    "limitranges",
    "serviceaccounts",
];

/// Groups whose namespaced resources are ordinary, `*` meaning subresources too.
const GROUPS: &[&str] = &[
    "apps",
    "batch",
    "autoscaling",
    "networking.k8s.io",
    "policy",
    "discovery.k8s.io",
    "events.k8s.io",
    "coordination.k8s.io",
    "gateway.networking.k8s.io",
];

/// Access by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Look at everything ordinary in the case's namespace, never at Secrets; look at the cluster's own objects.
    ReadCase,
    /// Besides, change what is ordinary in the namespace, Secrets included, and run commands in its pods.
    #[default]
    EditCase,
    /// Besides, the same in every namespace, and change nodes, volumes and classes. Never Secrets outside the case, and so
    /// no commands in pods there, which could read what is mounted.
    EditCluster,
}

impl Access {
    /// Every profile.
    pub const NAMES: [&'static str; 3] = ["read-case", "edit-case", "edit-cluster"];

    /// The policy of an agent with this access.
    pub fn policy(self, case_namespace: &str) -> Policy {
        Policy::from_power(self.power().in_case(case_namespace))
    }

    /// The same, for any case.
    pub fn power(self) -> Power {
        let mut rules = cluster_reading();
        rules.extend(reading(CASE));
        let mut hazards = BTreeSet::new();
        if self >= Self::EditCase {
            rules.extend(editing(CASE));
            rules.push(Rule::resources(&[""], &["secrets"], ALL, &[CASE]));
            rules.push(Rule::resources(&[""], &["pods/exec", "pods/attach"], &["create", "get"], &[CASE]));
            rules.push(reaching(CASE));
            // Removing a stuck finalizer is a repair. What agents do in containers nobody can undo; what else would need
            // that word, no rule of theirs allows.
            hazards.extend([Hazard::Exec, Hazard::Finalizers, Hazard::Irreversible]);
        }
        if self == Self::EditCluster {
            rules.extend(reading("*"));
            rules.extend(editing("*"));
            rules.push(reaching("*"));
            rules.push(Rule::resources(&[""], &["namespaces"], READ, &["*"]));
            rules.push(Rule::resources(&[""], &["nodes", "persistentvolumes"], &["update", "patch", "create"], &["*"]));
            rules.push(Rule::resources(&["storage.k8s.io", "scheduling.k8s.io"], &["*"], ALL, &["*"]));
        }
        Power { rules, hazards }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::NAMES[*self as usize])
    }
}

/// A name that is not one of [`Access::NAMES`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an access; there are read-case, edit-case and edit-cluster")]
pub struct UnknownAccess(pub String);

impl FromStr for Access {
    type Err = UnknownAccess;

    fn from_str(name: &str) -> Result<Self, UnknownAccess> {
        match name {
            "read-case" => Ok(Self::ReadCase),
            "edit-case" => Ok(Self::EditCase),
            "edit-cluster" => Ok(Self::EditCluster),
            other => Err(UnknownAccess(other.to_owned())),
        }
    }
}

/// What failures may do where no grants file says otherwise: ordinary workload resources and Secrets in the case,
/// reading cluster-scoped objects, nothing unsafe.
pub fn default_grants() -> Power {
    let mut rules = cluster_reading();
    rules.extend(reading(CASE));
    rules.extend(editing(CASE));
    rules.push(Rule::resources(&[""], &["secrets"], ALL, &[CASE]));
    Power { rules, hazards: BTreeSet::new() }
}

/// What the workload of a failure may be made of: what [`default_grants`] gives, and the roles and bindings of its namespace
/// where the failure has the word `rbac`. Other words open what a rule above allows already.
pub fn workload_grants(hazards: &BTreeSet<Hazard>) -> Power {
    let Power { mut rules, .. } = default_grants();
    if hazards.contains(&Hazard::Rbac) {
        let resources = ["roles", "rolebindings"];
        rules.push(Rule::resources(&["rbac.authorization.k8s.io"], &resources, &["create"], &[CASE]));
    }
    Power { rules, hazards: hazards.clone() }
}

/// The cluster's own objects: an agent must be able to see that a node, a class or a webhook is at fault.
fn cluster_reading() -> Vec<Rule> {
    vec![
        Rule::resources(&[""], &["nodes", "nodes/status", "persistentvolumes"], READ, &["*"]),
        Rule::resources(&[""], &["namespaces", "namespaces/status"], READ, &[CASE]),
        Rule::resources(
            &["storage.k8s.io", "scheduling.k8s.io", "node.k8s.io", "flowcontrol.apiserver.k8s.io"],
            &["*"],
            READ,
            &["*"],
        ),
        Rule::resources(
            &["admissionregistration.k8s.io", "apiregistration.k8s.io", "apiextensions.k8s.io"],
            &["*"],
            READ,
            &["*"],
        ),
        Rule::resources(&["networking.k8s.io"], &["ingressclasses"], READ, &["*"]),
        Rule::resources(&["rbac.authorization.k8s.io"], &["clusterroles", "clusterrolebindings"], READ, &["*"]),
        Rule::resources(&["metrics.k8s.io"], &["nodes"], READ, &["*"]),
    ]
}

fn reading(namespace: &str) -> Vec<Rule> {
    let status =
        ["pods/status", "pods/log", "services/status", "resourcequotas/status", "persistentvolumeclaims/status"];
    vec![
        Rule::resources(&[""], CORE, READ, &[namespace]),
        Rule::resources(&[""], &status, READ, &[namespace]),
        Rule::resources(GROUPS, &["*"], READ, &[namespace]),
        Rule::resources(&["rbac.authorization.k8s.io"], &["roles", "rolebindings"], READ, &[namespace]),
        Rule::resources(&["metrics.k8s.io"], &["pods"], READ, &[namespace]),
    ]
}

fn editing(namespace: &str) -> Vec<Rule> {
    vec![
        Rule::resources(&[""], CORE, ALL, &[namespace]),
        Rule::resources(&[""], &["pods/eviction"], &["create"], &[namespace]),
        Rule::resources(GROUPS, &["*"], ALL, &[namespace]),
    ]
}

/// The network of pods and services.
fn reaching(namespace: &str) -> Rule {
    let resources = ["pods/portforward", "pods/proxy", "services/proxy"];
    // A proxied request is authorised by its method.
    Rule::resources(&[""], &resources, &["create", "get", "update", "patch", "delete"], &[namespace])
}
