//! What a failure asks to be allowed to do; effective is what the operator grants as well.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The verbs of Kubernetes' authorisation, and all of them.
pub const VERBS: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "bind",
    "escalate",
    "impersonate",
    "approve",
    "sign",
    "attest",
    "use",
    "*",
];

/// Powers beyond RBAC that must be declared and granted by name.
pub const UNSAFE_POWERS: &[&str] = &[
    "privileged-pods",
    "host-path",
    "host-namespaces",
    "exec",
    "rbac",
    "tokens",
    "webhooks",
    "crds",
    "finalizers",
    "irreversible",
];

/// What a failure declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// RBAC rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Words of [`UNSAFE_POWERS`].
    #[serde(default, rename = "unsafe")]
    pub unsafe_: Vec<String>,
}

/// A Kubernetes `PolicyRule` with the namespaces that it holds in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// `""` for the core group; `*` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Empty: all names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Words of [`VERBS`].
    #[serde(default)]
    pub verbs: Vec<String>,
    /// Omitted: that of the case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Paths such as `/version`, instead of resources.
    #[serde(default, rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}
