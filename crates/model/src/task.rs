//! What an agent is given.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::words;

words! {
    /// What is asked of the agent, and so which columns of the verdict decide.
    Objective {
        /// Find the fault.
        Diagnose = "diagnose",
        /// Repair it.
        Mitigate = "mitigate",
        /// Find and repair it.
        Both = "both",
    }
}

/// `task.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Always 1.
    pub schema: u32,
    /// The same words for every failure.
    pub prompt: String,
    /// The namespace of the case.
    pub namespace: String,
    /// What decides.
    pub objective: Objective,
    /// When the agent is ended, RFC 3339, UTC.
    #[schemars(with = "String")]
    pub deadline: Timestamp,
    /// Where the answer goes.
    pub answer: AnswerSlot,
    /// The whole taxonomy: word to meaning.
    pub fault_types: BTreeMap<String, String>,
    /// Services beside the API server.
    pub endpoints: Endpoints,
}

/// Where and in what shape an answer is expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerSlot {
    /// An absolute path inside the workspace.
    pub path: String,
    /// JSON Schema of the answer.
    pub schema: serde_json::Value,
}

/// Addresses of services beside the API server, where there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoints {
    /// A Model Context Protocol server.
    pub mcp: Option<String>,
    /// A Prometheus.
    pub prometheus: Option<String>,
}
