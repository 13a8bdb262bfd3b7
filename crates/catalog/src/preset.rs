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
    /// What in the file decided on the executor.
    #[serde(skip)]
    pub executor_from: ExecutorFrom,
}

/// What decided on the executor of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExecutorFrom {
    /// The key `executor`.
    Key,
    /// The key `command`.
    Command,
    /// Nothing: it is the default.
    #[default]
    Default,
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
    /// What `output.answer` points at in `final`: an object, or text with one in it.
    Output,
}

/// How the output of an agent is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentOutput {
    /// Its format.
    #[serde(default)]
    pub format: OutputFormat,
    /// A file of the workspace that holds it, instead of standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The last event that matches is `final`; without it, the last object. See [`AgentOutput::count`] for what matches.
    #[serde(default, rename = "final", skip_serializing_if = "Option::is_none")]
    pub final_: Option<BTreeMap<String, Value>>,
    /// JSON pointer into `final`: where the answer is, for `answer: output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Where `final` has the numbers.
    #[serde(default)]
    pub usage: UsagePointers,
    /// Numbers that are counted over all events. A map matches an object whose members match; a list matches what one of
    /// its items does; against an array, each element that matches counts.
    #[serde(default)]
    pub count: UsageCounts,
    /// JSON pointer to the name of the model, in `final` or in the first event that has one there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Prices by model, for programs that tell no cost.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, Price>,
    /// CEL over `final`, `last` (the last event, whatever it is; each `{}` where there is none) and `stderr` (the end of
    /// standard error): true when the agent could not work for reasons outside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

/// US dollars for a million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Read.
    pub input: f64,
    /// Read from a cache; as `input` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Written.
    pub output: f64,
}

/// What matches the events that are counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageCounts {
    /// Turns or model calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<Value>,
    /// Tools that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Value>,
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

/// JSON pointers (RFC 6901) into `final`; what several of one number point at is added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsagePointers {
    /// Tokens read, those from a cache included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pointers_schema")]
    pub input_tokens: Vec<String>,
    /// Of these, tokens that came from a cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pointers_schema")]
    pub cached_input_tokens: Vec<String>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pointers_schema")]
    pub output_tokens: Vec<String>,
    /// Turns or model calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pointers_schema")]
    pub turns: Vec<String>,
    /// Tools that it used; an array counts its elements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pointers_schema")]
    pub tool_calls: Vec<String>,
    /// US dollars.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pointers_schema")]
    pub cost_usd: Vec<String>,
}

fn pointers_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let pointer = serde_json::json!({"type": "string", "pattern": "^/"});
    schemars::json_schema!({
        "description": "A JSON pointer, or several whose numbers are added up.",
        "anyOf": [pointer, {"type": "array", "items": pointer}],
    })
}

impl AgentPreset {
    /// Reads and checks a preset. `stem` is the name of its file without `.yaml`, which its id must equal.
    ///
    /// # Errors
    /// Everything that is wrong with it, with places.
    pub fn parse(source: &Source, stem: Option<&str>) -> Result<Self, Diagnostics> {
        yaml::read(source, |at| read::preset(&at, stem))
    }

    /// The preset of an agent that has none: `run-live-test.sh` knows it by its id.
    pub fn live_test(id: Id) -> Self {
        Self {
            id,
            description: None,
            supports: Vec::new(),
            executor: Executor::LiveTest,
            command: Vec::new(),
            stdin: StdinKind::None,
            requires: Vec::new(),
            env: AgentEnv::default(),
            home_files: Vec::new(),
            sandbox: AgentSandbox::default(),
            answer: AnswerSource::default(),
            output: AgentOutput::default(),
            exit_codes: BTreeMap::new(),
            verified: None,
            executor_from: ExecutorFrom::Default,
        }
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
