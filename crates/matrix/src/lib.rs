//! Matrix files: clusters x failures x agents. Parses with places, validates against what is there, expands lazily. Pure:
//! matrices come from strangers, so nothing here starts, reads or contacts anything that one names.

mod baseline;
mod expand;
mod known;
mod read;
mod schema;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use model::{Id, Objective};
use serde_json::Value;
use yaml::{Diagnostics, Source};

pub use baseline::{Comparable, read_baseline};
pub use expand::{CaseSpec, Group};
pub use known::{Known, ObjectiveCheck, ParamsCheck, TemplateCheck};
pub use schema::schema;

/// A matrix that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Its name; part of the run directory's.
    pub name: Id,
    /// For people.
    pub description: Option<String>,
    /// At least one.
    pub clusters: Vec<ClusterSpec>,
    /// At least one.
    pub failures: Vec<FailureUse>,
    /// At least one.
    pub agents: Vec<AgentUse>,
    /// What is asked of the agents.
    pub objective: Objective,
    /// What agents may do; none: the default of the engine.
    pub agent_access: Option<String>,
    /// Combinations that are left out.
    pub exclude: Vec<Exclude>,
    /// When the run as a whole is good; none: every case must pass.
    pub accept: Option<Accept>,
    /// How cases are run.
    pub execution: Execution,
    /// What is worth knowing but not wrong.
    pub warnings: Diagnostics,
}

/// A cluster of a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Its name in case ids.
    pub id: Id,
    /// What makes it: `embedded`, `kind`; or `stub`, which takes one that is there.
    pub provisioner: String,
    /// From which template; none: the provisioner's default.
    pub template: Option<String>,
    /// Of an existing cluster: the file; none: where kubectl finds one.
    pub kubeconfig: Option<String>,
    /// Of an existing cluster: the context in that file; none: its current one.
    pub context: Option<String>,
}

/// A failure as a matrix uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureUse {
    /// The failure.
    pub id: Id,
    /// Its name in case ids; the id where none is given.
    pub name: Id,
    /// Parameters.
    pub params: BTreeMap<String, Value>,
}

/// An agent as a matrix uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentUse {
    /// The preset.
    pub id: Id,
    /// Its name in case ids; the id where none is given.
    pub name: Id,
    /// Appended to the preset's command.
    pub args: Vec<String>,
    /// A control never decides; one that passes makes that failure's cases invalid.
    pub control: bool,
}

/// Cases that are left out: those that match every name that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclude {
    /// Id of a cluster.
    pub cluster: Option<Id>,
    /// Name of a failure.
    pub failure: Option<Id>,
    /// Name of an agent.
    pub agent: Option<Id>,
}

/// When a run is good.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accept {
    /// The least share of judged cases that each agent must pass, 0 to 1; none: all of them, where there is no baseline.
    pub min_pass_rate: Option<f64>,
    /// The greatest share of cases that may go without a verdict, 0 to 1.
    pub max_unjudged: Option<f64>,
    /// What no agent may be worse than.
    pub baseline: Option<BaselineFile>,
    /// How much worse it may be all the same, 0 to 1; none: not at all.
    pub max_drop: Option<f64>,
}

/// A baseline that a matrix names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineFile {
    /// From the matrix's folder, which it does not leave.
    pub path: PathBuf,
    /// Where the matrix names it.
    pub span: Range<usize>,
}

/// How cases are run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Execution {
    /// Clusters of the matrix at a time.
    pub parallel_clusters: u32,
    /// Cases at a time on each of them.
    pub parallel_tests_per_cluster: u32,
    /// The agent's wall time in a case; none: the default of the engine.
    pub timeout_per_test: Option<Duration>,
    /// How often each case is run.
    pub repeats: u32,
    /// How often a case is tried again after an infrastructure error.
    pub retries: u32,
    /// No case begins once the agents have cost so much, US dollars; none: without limit.
    pub max_cost_usd: Option<f64>,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            parallel_clusters: 1,
            parallel_tests_per_cluster: 1,
            timeout_per_test: None,
            repeats: 1,
            retries: 0,
            max_cost_usd: None,
        }
    }
}

impl Matrix {
    /// Reads and checks a matrix.
    ///
    /// # Errors
    /// Everything that is wrong with it, with places.
    pub fn parse(source: &Source, known: &Known) -> Result<Self, Diagnostics> {
        let (mut matrix, warnings) = yaml::read_with_warnings(source, |at| read::matrix(&at, known))?;
        matrix.warnings = warnings;
        Ok(matrix)
    }

    /// The cases in the order clusters, failures, agents, repeats. Lazy: memory does not grow with their number.
    pub fn cases(&self) -> impl Iterator<Item = CaseSpec<'_>> + Clone {
        self.groups().flat_map(Group::cases)
    }

    /// The same cases, by failure and cluster.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> + Clone {
        expand::groups(self)
    }

    /// How many cases there are.
    pub fn case_count(&self) -> u64 {
        expand::count(self)
    }
}
