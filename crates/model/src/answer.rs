//! What an agent hands in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An answer as FORMATS describes `answer.json`. Only `fault_present` is required; unknown members are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// Whether anything is wrong in the namespace.
    pub fault_present: bool,
    /// The objects that cause it.
    #[serde(default)]
    pub root_causes: Vec<NamedObject>,
    /// A word of the taxonomy.
    #[serde(default)]
    pub fault_type: Option<String>,
    /// Free text for people.
    #[serde(default)]
    pub explanation: Option<String>,
    /// The agent claims to have repaired it.
    #[serde(default)]
    pub fixed: Option<bool>,
}

/// An object as an agent names it; `kind` in any spelling that kubectl takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedObject {
    /// `Deployment`, `deployments`, `deploy`, `deployments.apps`…
    pub kind: String,
    /// Absent for cluster-scoped objects; an omitted one means the namespace of the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// What became of the answer of a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerRecord {
    /// The answer, where it could be read.
    pub parsed: Option<Answer>,
    /// Why it could not be read; none when it was, and none when there was no answer and none was asked for.
    pub error: Option<String>,
    /// There was none.
    #[serde(default)]
    pub missing: bool,
}
