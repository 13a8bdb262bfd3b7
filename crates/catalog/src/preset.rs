//! Agent presets: how an agent is started, what it needs, how its output is read.

mod read;

use std::collections::BTreeMap;

use model::{Id, Objective, Outcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use yaml::{Diagnostics, Source};

/// How an agent is run and read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentPreset {
    /// The name that matrices use.
    pub id: Id,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The objectives that it can work under.
    #[serde(default)]
    pub supports: Vec<Objective>,
    /// What runs it; implied by `command`.
    #[serde(default)]
    pub executor: Executor,
    /// Program and arguments; `$(harness)` is the running program, `$(prompt)`, `$(task)`, `$(answer)` are paths or text
    /// of the case.
    #[serde(default)]
    pub command: Vec<String>,
    /// What is written to its standard input.
    #[serde(default)]
    pub stdin: StdinKind,
    /// Programs that must be there; missing, its cases are skipped.
    #[serde(default)]
    pub requires: Vec<AgentRequirement>,
    /// Its environment.
    #[serde(default)]
    pub env: AgentEnv,
    /// Files of the caller's home that are copied into its fresh one.
    #[serde(default)]
    pub home_files: Vec<String>,
    /// What it may read besides.
    #[serde(default)]
    pub sandbox: AgentSandbox,
    /// Where its answer comes from.
    #[serde(default)]
    pub answer: AnswerSource,
    /// How its output is read.
    #[serde(default)]
    pub output: AgentOutput,
    /// Exit code to outcome, where the program has codes of its own.
    #[serde(default)]
    pub exit_codes: BTreeMap<i32, Outcome>,
    /// Where the sample of its output that the tests use comes from; none while nobody has checked it.
    #[serde(default)]
    pub verified: Option<String>,
}

/// What runs an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// `run-live-test.sh`, the default for ids without a preset.
    #[default]
    LiveTest,
    /// A process of its own.
    Command,
}

impl Executor {
    /// The word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LiveTest => "live-test",
            Self::Command => "command",
        }
    }
}

/// What an agent reads on its standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StdinKind {
    /// The prompt.
    #[default]
    Prompt,
    /// `task.json`.
    Task,
    /// Nothing.
    None,
}

/// A program that an agent needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentRequirement {
    /// Its name on PATH.
    pub program: String,
    /// The command that prints its version.
    #[serde(default)]
    pub version: Vec<String>,
    /// How to install it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
}

/// The environment of an agent, besides what every agent gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentEnv {
    /// Names that are passed on; their values are redacted everywhere.
    #[serde(default)]
    pub pass: Vec<String>,
    /// Names and values that are set.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
}

/// What an agent may read besides system paths and its workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentSandbox {
    /// Paths.
    #[serde(default)]
    pub read: Vec<String>,
}

/// Where the answer of an agent comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnswerSource {
    /// The file that the task names.
    #[default]
    File,
    /// The last JSON object on standard output.
    Stdout,
}

/// How the output of an agent is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentOutput {
    /// Its format.
    #[serde(default)]
    pub format: OutputFormat,
    /// The last line with these members is `final`.
    #[serde(default, rename = "final", skip_serializing_if = "Option::is_none")]
    pub final_: Option<BTreeMap<String, Value>>,
    /// Where `final` has the numbers.
    #[serde(default)]
    pub usage: UsagePointers,
    /// CEL over `final`: true when the agent could not work for reasons outside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

/// The format of an agent's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// One JSON object a line.
    Jsonl,
    /// One JSON document.
    Json,
    /// Text.
    #[default]
    Text,
}

/// JSON pointers (RFC 6901) into `final`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsagePointers {
    /// Tokens read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<String>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<String>,
    /// Turns or model calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<String>,
    /// US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<String>,
}

impl AgentPreset {
    /// Reads and checks a preset. `stem` is the name of its file without `.yaml`, which its id must equal.
    ///
    /// # Errors
    /// Everything that is wrong with it, with places.
    pub fn parse(source: &Source, stem: Option<&str>) -> Result<Self, Diagnostics> {
        yaml::read(source, |at| read::preset(&at, stem))
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Whether it can work under this objective. One that names none can work under all.
    pub fn supports(&self, objective: Objective) -> bool {
        let can = |one| self.supports.is_empty() || self.supports.contains(&one);
        match objective {
            Objective::Both => can(Objective::Both) || can(Objective::Diagnose) && can(Objective::Mitigate),
            one => can(one) || self.supports.contains(&Objective::Both),
        }
    }

    /// The JSON Schema of the file.
    pub fn schema() -> Value {
        let mut schema = schemars::schema_for!(Self).to_value();
        schema["properties"]["schema"] = serde_json::json!({"description": "Version of the format.", "const": 1});
        schema
    }
}
