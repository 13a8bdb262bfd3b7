//! `metadata.yaml`: what a failure says of itself, the same for components, steps and scripts.

mod checks;
mod objects;
mod read;

use std::time::Duration;

use model::Id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use yaml::{Diagnostics, Source};

use crate::{Capabilities, GroundTruth, Health, ParamsSchema, Severity, Step, Symptom, Version};

/// The metadata of a failure. Values such as `$(case)` and `$(params.x)` stand in it as written; see
/// [`crate::Failure::resolve`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The name that matrices use; that of the folder.
    pub id: Id,
    /// Semantic version.
    #[serde(default)]
    pub version: Version,
    /// One line for people.
    pub name: String,
    /// What it does, for people.
    pub description: String,
    /// From `induce` until all symptoms show, in cluster time.
    #[serde(with = "crate::duration")]
    #[schemars(with = "String")]
    pub expected_duration: Duration,
    /// How bad it would be in the field.
    #[serde(default)]
    pub severity: Severity,
    /// What must be there; unmet, its cases are skipped.
    #[serde(default)]
    pub prerequisites: Vec<Prerequisite>,
    /// For filters.
    #[serde(default)]
    pub tags: Vec<String>,
    /// JSON Schema of the parameters.
    #[serde(default)]
    pub params: ParamsSchema,
    /// What is broken.
    #[serde(default)]
    pub workload: Workload,
    /// What it asks to be allowed to do.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// It changes the cluster for all, and never shares it with another case.
    #[serde(default)]
    pub exclusive: bool,
    /// The failure as steps; empty where a component or `induce.sh` is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub induce: Vec<Step>,
    /// Signs that it has taken hold.
    #[serde(default)]
    pub symptoms: Vec<Symptom>,
    /// Checks that hold before it and not during it.
    #[serde(default)]
    pub health: Vec<Health>,
    /// The right answer; none in the old form, whose cases are not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground_truth: Option<GroundTruth>,
    /// A repair that must pass; without it the failure serves only `objective: diagnose`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference_fix: Vec<Step>,
    /// The least access that an agent needs for a repair.
    #[serde(default, skip_serializing_if = "RepairAccess::is_default")]
    pub repair_access: RepairAccess,
    /// Repairs that must not pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong_fixes: Vec<WrongFix>,
}

/// The least access that an agent needs to repair a failure, by the names that `agent_access` of a matrix has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RepairAccess {
    /// What is ordinary in the namespace of the case.
    #[default]
    EditCase,
    /// Nodes, volumes, classes, other namespaces.
    EditCluster,
}

impl RepairAccess {
    pub(crate) const WORDS: &[(&str, Self)] = &[("edit-case", Self::EditCase), ("edit-cluster", Self::EditCluster)];

    /// The name that matrices use.
    pub fn as_str(self) -> &'static str {
        Self::WORDS[self as usize].0
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Something that must be there before a failure can be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "WrittenPrerequisite", into = "WrittenPrerequisite")]
pub enum Prerequisite {
    /// A program on PATH.
    Program(String),
    /// A kind that the cluster serves.
    Kind {
        /// `apps/v1`, `v1`.
        api_version: String,
        /// `Deployment`.
        kind: String,
    },
}

/// A prerequisite as it is written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenPrerequisite {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    program: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
}

impl TryFrom<WrittenPrerequisite> for Prerequisite {
    type Error = String;

    fn try_from(written: WrittenPrerequisite) -> Result<Self, String> {
        match written {
            WrittenPrerequisite { program: Some(program), api_version: None, kind: None } => Ok(Self::Program(program)),
            WrittenPrerequisite { program: None, api_version: Some(api_version), kind: Some(kind) } => {
                Ok(Self::Kind { api_version, kind })
            }
            _ => Err("a prerequisite is `{program: …}` or `{apiVersion: …, kind: …}`".to_owned()),
        }
    }
}

impl From<Prerequisite> for WrittenPrerequisite {
    fn from(prerequisite: Prerequisite) -> Self {
        match prerequisite {
            Prerequisite::Program(program) => Self { program: Some(program), api_version: None, kind: None },
            Prerequisite::Kind { api_version, kind } => {
                Self { program: None, api_version: Some(api_version), kind: Some(kind) }
            }
        }
    }
}

/// The workload that is broken; made by the host before `induce`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Files of the package, with Kubernetes manifests.
    #[serde(default)]
    pub manifests: Vec<String>,
}

/// A repair that must not pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrongFix {
    /// Its name.
    pub name: String,
    /// What it does.
    pub steps: Vec<Step>,
}

impl Metadata {
    /// Reads and checks a `metadata.yaml`. `folder` is the name of the folder that it lies in, where it lies in one.
    ///
    /// # Errors
    /// Everything that is wrong with it, with places.
    pub fn parse(source: &Source, folder: Option<&str>) -> Result<Self, Diagnostics> {
        yaml::read(source, |at| read::metadata(&at, folder))
    }

    /// The canonical form: what a packed component carries.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Reads and checks the canonical form. `name` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_json(name: &str, value: &Value) -> Result<Self, Diagnostics> {
        // JSON is YAML: one set of checks for both.
        Self::parse(&Source::new(name, serde_json::to_string_pretty(value).unwrap_or_default()), None)
    }

    /// Whether by declaration nothing is wrong.
    pub fn ground_truth_is_none(&self) -> bool {
        self.ground_truth.as_ref().is_some_and(GroundTruth::is_none)
    }

    /// The JSON Schema of the file.
    pub fn schema() -> Value {
        let mut schema = schemars::schema_for!(Self).to_value();
        // The folder's name stands in for it.
        if let Some(required) = schema["required"].as_array_mut() {
            required.retain(|key| key != "id");
        }
        schema["properties"]["schema"] = serde_json::json!({"description": "Version of the format.", "const": 1});
        schema
    }
}
