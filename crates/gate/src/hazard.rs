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
    /// Containers that are privileged, or have more than the baseline of the Pod Security Standards gives.
    PrivilegedPods,
    /// Volumes from the node's file system.
    HostPath,
    /// The node's network, process or IPC namespace, or one of its ports.
    HostNamespaces,
    /// Running commands in containers, and proxies into pods, services and nodes.
    Exec,
    /// Roles, bindings, impersonation.
    Rbac,
    /// Tokens of service accounts, certificates; pods outside the case that get a service account or a Secret of there.
    Tokens,
    /// Admission webhooks and policies, aggregated APIs.
    Webhooks,
    /// Custom resource definitions.
    Crds,
    /// Adding or removing finalizers.
    Finalizers,
    /// What cannot be undone: deleting namespaces, volumes, nodes, custom resource definitions; commands in containers,
    /// forwarded ports, proxied changes.
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
        ("", "pods", "exec" | "attach" | "portforward") => needs.extend([Hazard::Exec, Hazard::Irreversible]),
        ("", "pods" | "services" | "nodes", "proxy") => {
            needs.insert(Hazard::Exec);
            if attributes.is_write() {
                needs.insert(Hazard::Irreversible);
            }
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

/// Capabilities that the baseline of the Pod Security Standards lets a container add.
const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What an object needs that is about to be stored in a namespace: every pod template in it counts, wherever it lies.
/// What its namespace holds belongs to the case when it is the namespace of the case.
pub(crate) fn of_object(object: &Value, namespace: &str, case_namespace: &str) -> BTreeSet<Hazard> {
    let mut found = Found { needs: BTreeSet::new(), foreign: namespace.is_empty() || namespace != case_namespace };
    if let Value::Object(members) = object {
        // Labels and annotations are people's words, managedFields repeats member names.
        members.iter().filter(|(k, _)| *k != "metadata").for_each(|(_, v)| found.visit(v));
        found.inspect(members);
    }
    let kind = object.get("kind").and_then(Value::as_str);
    let token_secret = object.get("type").and_then(Value::as_str) == Some("kubernetes.io/service-account-token");
    if token_secret && kind.is_none_or(|kind| kind == "Secret") {
        found.needs.insert(Hazard::Tokens);
    }
    if object.pointer("/spec/local/path").is_some() && kind.is_none_or(|kind| kind == "PersistentVolume") {
        found.needs.insert(Hazard::HostPath);
    }
    found.needs
}

/// Every word that a pod template could need: a party that has them all need not be judged on one.
pub(crate) const OF_PODS: [Hazard; 4] =
    [Hazard::PrivilegedPods, Hazard::HostPath, Hazard::HostNamespaces, Hazard::Tokens];

struct Found {
    needs: BTreeSet<Hazard>,
    /// Outside the namespace of the case, where service accounts and Secrets are others'.
    foreign: bool,
}

impl Found {
    fn visit(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|v| self.visit(v)),
            Value::Object(members) => {
                self.inspect(members);
                members.values().for_each(|v| self.visit(v));
            }
            _ => {}
        }
    }

    fn inspect(&mut self, members: &Map<String, Value>) {
        let is_true = |key: &str| members.get(key) == Some(&Value::Bool(true));
        let text = |key: &str| members.get(key).and_then(Value::as_str);
        let profile = |key: &str| members.get(key).and_then(|p| p.get("type")).and_then(Value::as_str);
        if ["hostNetwork", "hostPID", "hostIPC"].into_iter().any(is_true)
            || members.get("hostPort").and_then(Value::as_u64).is_some_and(|port| port > 0)
        {
            self.needs.insert(Hazard::HostNamespaces);
        }
        if members.get("hostPath").is_some_and(Value::is_object) {
            self.needs.insert(Hazard::HostPath);
        }
        let added = members.get("capabilities").and_then(|c| c.get("add")).and_then(Value::as_array);
        if is_true("privileged")
            || is_true("hostProcess")
            || text("procMount") == Some("Unmasked")
            || ["seccompProfile", "appArmorProfile"].into_iter().any(|key| profile(key) == Some("Unconfined"))
            || added.is_some_and(|a| !a.iter().all(is_baseline))
        {
            self.needs.insert(Hazard::PrivilegedPods);
        }
        let account = ["serviceAccountName", "serviceAccount"].into_iter().filter_map(text);
        let mut others = account.filter(|name| !matches!(*name, "" | "default"));
        if self.foreign && (others.next().is_some() || takes_secret(members)) {
            self.needs.insert(Hazard::Tokens);
        }
    }
}

fn is_baseline(capability: &Value) -> bool {
    let name = capability.as_str().unwrap_or_default().to_ascii_uppercase();
    BASELINE_CAPABILITIES.contains(&name.strip_prefix("CAP_").unwrap_or(&name))
}

/// Whether this is a volume, or a variable, that a Secret is the content of.
fn takes_secret(members: &Map<String, Value>) -> bool {
    let refers = |key: &str| members.get(key).is_some_and(Value::is_object);
    ["secret", "secretRef", "secretKeyRef"].into_iter().any(refers)
}
