//! What is wrong, as the author of a failure knows it. Never visible to an agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ObjectRef;

/// The right answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroundTruth {
    /// A word of the taxonomy; `none` where nothing is wrong.
    pub fault_type: String,
    /// The objects to be named; at least one but for `none`.
    #[serde(default)]
    pub root_causes: Vec<ObjectRef>,
    /// Right as well. What the root causes own counts already.
    #[serde(default)]
    pub also_accept: Vec<ObjectRef>,
    /// May be changed without being collateral, besides root causes and what they own.
    #[serde(default)]
    pub repair_scope: Vec<ObjectRef>,
}

impl GroundTruth {
    /// Whether nothing is wrong.
    pub fn is_none(&self) -> bool {
        self.fault_type == "none"
    }
}
