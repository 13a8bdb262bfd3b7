//! Failures and agent presets: what their files say, where they are found, what they mean for one case. Touches no
//! cluster and runs nothing; `builtin` brings the library that is inside the program, `component` reads `.wasm` files.

mod agents;
mod capabilities;
mod check;
mod duration;
mod failure;
mod folder;
mod ground_truth;
mod label_selector;
mod library;
mod metadata;
mod object_ref;
mod packed;
mod params;
mod preset;
mod resolve;
mod severity;
mod step;
mod substitute;
mod version;

pub use agents::Agents;
pub use capabilities::{Capabilities, Rule, UNSAFE_POWERS, VERBS};
pub use check::{Health, Quantifier, Select, Symptom};
pub use failure::{Failure, Implementation, Origin};
pub use ground_truth::GroundTruth;
pub use library::{Library, Problem};
pub use metadata::{Metadata, Prerequisite, RepairAccess, Workload, WrongFix};
pub use object_ref::{CLUSTER_SCOPED_KINDS, ObjectRef};
pub use packed::{InspectError, Inspection, inspect};
pub use params::{ParamProblem, ParamsSchema};
pub use preset::{
    AgentEnv, AgentOutput, AgentPreset, AgentRequirement, AgentSandbox, AnswerSource, Executor, ExecutorFrom,
    OutputFormat, Price, StdinKind, UsageCounts, UsagePointers,
};
pub use resolve::{ResolveError, Resolved};
pub use severity::Severity;
pub use step::{PatchType, Step};
pub use version::Version;

/// The JSON Schema of `metadata.yaml`.
pub fn metadata_schema() -> serde_json::Value {
    Metadata::schema()
}

/// The JSON Schema of an agent preset.
pub fn agent_schema() -> serde_json::Value {
    AgentPreset::schema()
}
