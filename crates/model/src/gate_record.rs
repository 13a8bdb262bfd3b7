//! One line of `gate.jsonl`: one request that somebody made of a cluster.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::words;

words! {
    /// Who asks.
    Party {
        /// The harness itself: workload, witness, clean-up.
        Host = "host",
        /// A failure component.
        Plugin = "plugin",
        /// A failure's script.
        Script = "script",
        /// The agent under test.
        Agent = "agent",
    }
}

words! {
    /// What the gate decided.
    Decision {
        /// It was forwarded.
        Allowed = "allowed",
        /// It was answered by the gate with a 403.
        Denied = "denied",
        /// It could not be read and was not forwarded (400, 413, 415).
        Refused = "refused",
    }
}

/// One request: attributes as Kubernetes' authoriser derives them, never a body, header, token or secret value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateRecord {
    /// Wall time of the request.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Who.
    pub party: Party,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the lower-case HTTP method
    /// for non-resource paths.
    pub verb: String,
    /// API group; empty for the core group and for non-resource paths.
    pub group: String,
    /// API version; empty for non-resource paths.
    pub version: String,
    /// Plural resource; empty for non-resource paths.
    pub resource: String,
    /// Subresource, where there is one.
    pub subresource: String,
    /// Namespace, where there is one.
    pub namespace: String,
    /// Object name, where there is one; for a create the name in the body, or the generated one.
    pub name: String,
    /// The path without its query; only for non-resource paths.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Whether it could change something: a mutating verb that is no dry run and no review.
    pub mutation: bool,
    /// What the gate decided.
    pub decision: Decision,
    /// Why it was denied or refused; empty when allowed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
    /// Where which lines would allow what was denied; empty where none would.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub allow_with: String,
    /// HTTP status that was answered; 0 when the connection broke.
    pub status: u16,
    /// Until the answer's headers, milliseconds.
    pub duration_ms: u64,
}
