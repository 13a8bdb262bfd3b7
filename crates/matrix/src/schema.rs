//! The JSON Schema of matrix files, for editors. The types here exist for it alone: the reader reports better than serde.
#![allow(dead_code, reason = "only their schema is used")]

use std::collections::BTreeMap;

use model::{Id, Objective};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// A matrix: clusters x failures x agents.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Matrix")]
struct WrittenMatrix {
    /// Version of the format; 1 where it is left out.
    #[schemars(range(min = 1, max = 1))]
    schema: Option<u32>,
    /// The name of the matrix; part of the name of the run directory.
    name: Id,
    /// For people.
    description: Option<String>,
    /// Where cases are run.
    #[schemars(length(min = 1))]
    clusters: Vec<Cluster>,
    /// What is broken.
    #[schemars(length(min = 1))]
    failures: Vec<FailureItem>,
    /// Who works on it.
    #[schemars(length(min = 1))]
    agents: Vec<AgentItem>,
    /// What is asked of the agents; `diagnose` where it is left out.
    objective: Option<Objective>,
    /// What agents may do: `read-case`, `edit-case` (default), `edit-cluster`, or a name from the grants file.
    agent_access: Option<String>,
    /// Combinations that are left out.
    exclude: Option<Vec<ExcludeItem>>,
    /// When the run as a whole is good; left out: every case must pass.
    accept: Option<AcceptSection>,
    /// How cases are run.
    execution: Option<ExecutionSection>,
}

/// A cluster.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cluster {
    /// Its name in case ids.
    id: Id,
    /// What makes it: `embedded`, `kind`; or `stub`, which takes one that is there.
    provisioner: String,
    /// From which template. For `kind`: a node image `kindest/node:v…`, or the name of a configuration of the operator's.
    template: Option<String>,
    /// For existing clusters: the file; left out: where kubectl finds one. `~/` is the home directory.
    kubeconfig: Option<String>,
    /// For existing clusters: the context in it; left out: its current one.
    context: Option<String>,
}

/// The id of a failure, or more about it.
#[derive(Deserialize, JsonSchema)]
#[schemars(untagged)]
enum FailureItem {
    Id(Id),
    Use(FailureObject),
}

/// A failure with parameters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FailureObject {
    /// The failure.
    id: Id,
    /// Its name in case ids.
    name: Option<Id>,
    /// Its parameters.
    params: Option<BTreeMap<String, Value>>,
}

/// The id of an agent, or more about it.
#[derive(Deserialize, JsonSchema)]
#[schemars(untagged)]
enum AgentItem {
    Id(Id),
    Use(AgentObject),
}

/// An agent with arguments.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AgentObject {
    /// The preset.
    id: Id,
    /// Its name in case ids.
    name: Option<Id>,
    /// Appended to the preset's command.
    args: Option<Vec<String>>,
    /// Controls never decide; one that passes makes that failure's cases invalid.
    control: Option<bool>,
}

/// Cases that match every name that is given are left out.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExcludeItem {
    cluster: Option<Id>,
    failure: Option<Id>,
    agent: Option<Id>,
}

/// When a run is good.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AcceptSection {
    /// The least share of judged cases that each agent must pass; left out: all, where there is no baseline.
    #[schemars(range(min = 0, max = 1))]
    min_pass_rate: Option<f64>,
    /// The greatest share of cases without a verdict.
    #[schemars(range(min = 0, max = 1))]
    max_unjudged: Option<f64>,
    /// A file from `runs export --baseline`, inside the folder of the matrix.
    baseline: Option<String>,
    /// How much worse than the baseline each agent may be; left out: not at all.
    #[schemars(range(min = 0, max = 1))]
    max_drop: Option<f64>,
}

/// How cases are run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExecutionSection {
    /// Clusters of the matrix at a time.
    #[schemars(range(min = 1, max = 1000))]
    parallel_clusters: Option<u32>,
    /// Cases at a time on each of them.
    #[schemars(range(min = 1, max = 1000))]
    parallel_tests_per_cluster: Option<u32>,
    /// The agent's wall time in a case, as in `10m`.
    timeout_per_test: Option<String>,
    /// How often each case is run.
    #[schemars(range(min = 1, max = 1_000_000))]
    repeats: Option<u32>,
    /// Tries again after an infrastructure error, never after a verdict.
    #[schemars(range(min = 0, max = 10))]
    retries: Option<u32>,
    /// No case begins once the agents have cost so much, US dollars.
    #[schemars(range(min = 0))]
    max_cost_usd: Option<f64>,
}

/// The JSON Schema of a matrix file.
pub fn schema() -> Value {
    schemars::schema_for!(WrittenMatrix).to_value()
}
