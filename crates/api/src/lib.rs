//! The one typed facade under every surface: command line, desktop, server. It finds files, calls the engine and the
//! store, and answers with data; it prints nothing and knows no terminal.

mod agents;
mod author;
mod baseline;
mod blast;
mod choice;
mod cluster;
mod config;
mod error;
mod failures;
mod fitness;
mod git;
mod harness;
mod inspect;
mod logs;
mod matrices;
mod plan;
mod power;
mod recover;
mod run;
mod runs;
mod schema;

pub use ::author::Lang;
pub use agents::{AgentDetails, AgentEntry, AgentList, AgentTest, AgentTested, AgentVisit, AgentVisited};
pub use author::{BuiltFailure, NewFailure};
pub use baseline::ExportedBaseline;
pub use blast::{BlastRadius, NotGranted};
pub use catalog::{Capabilities, Inspection, Problem};
pub use choice::{Again, Choice, Rerun};
pub use cluster::{RunningCluster, cluster_up};
pub use config::{Config, Overrides};
pub use engine::{
    Cancel, Canceller, Fitness, FitnessCheck, FitnessStep, FitnessVerdict, HOST_ONLY, Held, Interrupt, Listener,
    Partition, Proof, ProvedOn, Stage,
};
pub use error::ApiError;
pub use executor::agent::Given;
pub use executor::{OnLine, Sandbox, arguments, hide_arguments, sandbox_available, stage};
pub use failures::{FailureDetails, FailureEntry, FailureList, FailureRun};
pub use fitness::{FailureTested, FailuresTest, Told};
pub use harness::Harness;
pub use inspect::{failures_inspect, grants_stanza};
pub use logs::{Logged, RunLogs};
pub use matrices::{AgentPlan, Finding, Listing, PlannedCase, Validation};
pub use plan::{AgentUsePlan, ClusterPlan, FailurePlan, Plan};
pub use power::rule_in_words;
pub use recover::{LeftCluster, OrphanReport, Orphans, RecoverInput, RecoverReport, RecoveredCase};
pub use run::{Notice, RunFinished, RunInput};
pub use runs::{StoredCase, StoredRun, StoredRunWithCases, StoredRuns};
pub use schema::{SCHEMAS, schema};
pub use yaml::{Diagnostic, Diagnostics, format_duration, parse_duration};
