//! Powers that reach beyond the objects that a rule names. Each needs a word of its own under `unsafe`, besides the rule.
//! This module tells which words a request or an object needs; it decides nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Attributes;

/// A word of `unsafe` in metadata and grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hazard {
    /// Containers that are privileged or add capabilities that amount to it.
    PrivilegedPods,
    /// Volumes from the node's file system.
    HostPath,
    /// The node's network, process or IPC namespace.
    HostNamespaces,
    /// Running commands in containers, and proxies into pods, services and nodes.
    Exec,
    /// Roles, bindings, impersonation.
    Rbac,
    /// Tokens of service accounts, certificates.
    Tokens,
    /// Admission webhooks and policies, aggregated APIs.
    Webhooks,
    /// Custom resource definitions.
    Crds,
    /// Adding or removing finalizers.
    Finalizers,
    /// Deleting what cannot be made again: namespaces, volumes, nodes, custom resource definitions.
    Irreversible,
    /// Running a script of an imported package on the host.
    HostScript,
}

impl Hazard {
    /// Every word.
    pub const ALL: [Self; 11] = [
        Self::PrivilegedPods,
        Self::HostPath,
        Self::HostNamespaces,
        Self::Exec,
        Self::Rbac,
        Self::Tokens,
        Self::Webhooks,
        Self::Crds,
        Self::Finalizers,
        Self::Irreversible,
        Self::HostScript,
    ];

    /// The word as files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrivilegedPods => "privileged-pods",
            Self::HostPath => "host-path",
            Self::HostNamespaces => "host-namespaces",
            Self::Exec => "exec",
            Self::Rbac => "rbac",
            Self::Tokens => "tokens",
            Self::Webhooks => "webhooks",
            Self::Crds => "crds",
            Self::Finalizers => "finalizers",
            Self::Irreversible => "irreversible",
            Self::HostScript => "host-script",
        }
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is not one of [`Hazard::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a word of `unsafe`")]
pub struct UnknownHazard(pub String);

impl FromStr for Hazard {
    type Err = UnknownHazard;

    fn from_str(word: &str) -> Result<Self, UnknownHazard> {
        Self::ALL.into_iter().find(|h| h.as_str() == word).ok_or_else(|| UnknownHazard(word.to_owned()))
    }
}

/// What a request needs by what it addresses, whatever its body says.
pub(crate) fn of_request(attributes: &Attributes) -> BTreeSet<Hazard> {
    let mut needs = BTreeSet::new();
    if !attributes.is_resource {
        return needs;
    }
    let (group, resource) = (attributes.group.as_str(), attributes.resource.as_str());
    match (group, resource, attributes.subresource.as_str()) {
        ("", "pods", "exec" | "attach" | "portforward") | ("", "pods" | "services" | "nodes", "proxy") => {
            needs.insert(Hazard::Exec);
        }
        ("", "serviceaccounts", "token") => {
            needs.insert(Hazard::Tokens);
        }
        ("", "namespaces", "finalize") => {
            needs.insert(Hazard::Finalizers);
        }
        _ => {}
    }
    if matches!(attributes.verb.as_str(), "impersonate" | "escalate" | "bind") {
        needs.insert(Hazard::Rbac);
    }
    if attributes.is_write() {
        match group {
            "rbac.authorization.k8s.io" => needs.insert(Hazard::Rbac),
            "admissionregistration.k8s.io" | "apiregistration.k8s.io" => needs.insert(Hazard::Webhooks),
            "apiextensions.k8s.io" => needs.insert(Hazard::Crds),
            "certificates.k8s.io" => needs.insert(Hazard::Tokens),
            _ => false,
        };
    }
    let deletes = matches!(attributes.verb.as_str(), "delete" | "deletecollection");
    let unique = matches!(
        (group, resource),
        ("", "namespaces" | "persistentvolumes" | "nodes") | ("apiextensions.k8s.io", "customresourcedefinitions")
    );
    if deletes && unique && attributes.subresource.is_empty() {
        needs.insert(Hazard::Irreversible);
    }
    needs
}

/// Capabilities that make a container as good as privileged.
const STRONG_CAPABILITIES: [&str; 9] =
    ["ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO", "SYS_BOOT", "NET_ADMIN", "DAC_READ_SEARCH", "BPF"];

/// What an object needs that is about to be stored: every pod template in it counts, wherever it lies.
pub(crate) fn of_object(object: &Value) -> BTreeSet<Hazard> {
    let mut needs = BTreeSet::new();
    if let Value::Object(members) = object {
        // Labels and annotations are people's words, managedFields repeats member names.
        members.iter().filter(|(k, _)| *k != "metadata").for_each(|(_, v)| visit(v, &mut needs));
        inspect(members, &mut needs);
    }
    let token_secret = object.get("type").and_then(Value::as_str) == Some("kubernetes.io/service-account-token");
    if token_secret && object.get("kind").is_none_or(|k| k == "Secret") {
        needs.insert(Hazard::Tokens);
    }
    needs
}

fn visit(value: &Value, needs: &mut BTreeSet<Hazard>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| visit(v, needs)),
        Value::Object(members) => {
            inspect(members, needs);
            members.values().for_each(|v| visit(v, needs));
        }
        _ => {}
    }
}

fn inspect(members: &Map<String, Value>, needs: &mut BTreeSet<Hazard>) {
    let is_true = |key: &str| members.get(key) == Some(&Value::Bool(true));
    if ["hostNetwork", "hostPID", "hostIPC"].into_iter().any(is_true) {
        needs.insert(Hazard::HostNamespaces);
    }
    if members.get("hostPath").is_some_and(Value::is_object) {
        needs.insert(Hazard::HostPath);
    }
    let added = members.get("capabilities").and_then(|c| c.get("add")).and_then(Value::as_array);
    let strong = |name: &Value| {
        let name = name.as_str().unwrap_or_default().to_ascii_uppercase();
        STRONG_CAPABILITIES.contains(&name.strip_prefix("CAP_").unwrap_or(&name))
    };
    if is_true("privileged")
        || is_true("hostProcess")
        || members.get("procMount").and_then(Value::as_str) == Some("Unmasked")
        || added.is_some_and(|a| a.iter().any(strong))
    {
        needs.insert(Hazard::PrivilegedPods);
    }
}
