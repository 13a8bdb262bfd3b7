//! `results/<case-id>.json`: everything about one case.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outcome::words;
use crate::{AnswerRecord, CaseId, Class, Id, Outcome, Party, Rule, Status, Verdict};

/// The version of the stored formats.
pub const SCHEMA: u32 = 1;

words! {
    /// The kind of cluster; results of different kinds are never mixed in a rate.
    ClusterKind {
        /// The simulated cluster of this project.
        Embedded = "embedded",
        /// An existing cluster, by kubeconfig.
        Stub = "stub",
        /// Kubernetes in Docker.
        Kind = "kind",
    }
}

words! {
    /// The steps of a case, in order.
    Phase {
        /// Get a healthy cluster.
        Lease = "lease",
        /// Namespace, workload, baselines.
        Prepare = "prepare",
        /// Call `induce`.
        Induce = "induce",
        /// Prove that the failure has taken hold.
        Witness = "witness",
        /// Run the agent.
        Agent = "agent",
        /// Judge answer and deeds.
        Judge = "judge",
        /// Call `stop`, undo.
        Stop = "stop",
        /// Compare with the baselines.
        Certify = "certify",
    }
}

words! {
    /// How a phase ended.
    PhaseResult {
        /// As it should.
        Ok = "ok",
        /// Not as it should; the message says why.
        Failed = "failed",
        /// It ran out of its budget.
        TimedOut = "timed_out",
    }
}

/// One phase of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseRecord {
    /// Which.
    pub phase: Phase,
    /// Wall time.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// Wall time, milliseconds.
    pub duration_ms: u64,
    /// How it ended.
    pub result: PhaseResult,
    /// Why, where it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

words! {
    /// Who saw that the failure had taken hold.
    WitnessKind {
        /// The host, from watch events.
        Host = "host",
        /// Only the test script said so; stays out of statistics.
        Reported = "reported",
        /// Nobody, because nothing was declared; stays out of statistics.
        None = "none",
    }
}

/// The proof that the cluster was broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Witness {
    /// Who saw it.
    pub kind: WitnessKind,
    /// Every symptom with the moment it was first seen; `at` is none for one that never was.
    pub symptoms: Vec<SymptomSeen>,
    /// Health checks that did not hold while the symptoms did.
    pub health_broken: Vec<String>,
}

/// One symptom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SymptomSeen {
    /// Its name in the metadata.
    pub name: String,
    /// Cluster time of the first sight.
    #[schemars(with = "Option<String>")]
    pub at: Option<Timestamp>,
    /// The object that showed it, as `Kind/name`.
    pub object: Option<String>,
}

/// What kept the agent away from the answer, as it was enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Isolation {
    /// A fresh HOME and a workspace under an opaque path.
    pub home: bool,
    /// Only the listed environment was passed.
    pub environment: bool,
    /// The whole process tree ends with the case.
    pub process_tree: bool,
    /// File access was limited by Landlock.
    pub landlock: bool,
}

/// What the agent and the others asked of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GateCounts {
    /// Requests of the agent.
    pub requests: u64,
    /// Of these, requests that change something.
    pub mutations: u64,
    /// Of these, requests that were denied.
    pub denials: u64,
}

words! {
    /// Where the numbers of [`Usage`] come from.
    UsageSource {
        /// The agent reported them.
        Reported = "reported",
        /// The agent reported tokens; its cost was computed from a price table.
        Computed = "computed",
        /// Nobody knows.
        Unknown = "unknown",
    }
}

/// What the agent consumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Where the numbers come from.
    pub source: UsageSource,
    /// Tokens read, those from a cache included.
    pub input_tokens: Option<u64>,
    /// Of these, tokens that came from a cache.
    #[serde(default)]
    pub cached_input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Turns or model calls.
    pub turns: Option<u64>,
    /// Tools that it used: commands, files, searches.
    #[serde(default)]
    pub tool_calls: Option<u64>,
    /// US dollars.
    pub cost_usd: Option<f64>,
    /// The model, as the agent or its command line names it.
    #[serde(default)]
    pub model: Option<String>,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            source: UsageSource::Unknown,
            input_tokens: None,
            cached_input_tokens: None,
            output_tokens: None,
            turns: None,
            tool_calls: None,
            cost_usd: None,
            model: None,
        }
    }
}

/// A request that the gate denied, with what would have allowed it. Never shown to agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeniedRequest {
    /// Who asked.
    pub party: Party,
    /// What was asked.
    pub verb: String,
    /// `pods`, `deployments.apps`, `pods/log`; the path of a request that is about no resource.
    pub resource: String,
    /// Where; empty for objects of the cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// On what, where a name was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Why not.
    pub because: String,
    /// Where which lines would allow it; empty where none would.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub allow_with: String,
    /// How often it was asked.
    pub times: u64,
}

/// Something of the case that is still in the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Leak {
    /// `apps/v1 Deployment ns/name`.
    pub object: String,
    /// `left_over`, `changed`, `missing`.
    pub what: String,
    /// What differs.
    #[serde(default)]
    pub evidence: Vec<Value>,
}

/// A file that the agent left in its workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Relative to `artifacts/<case-id>/`.
    pub path: String,
    /// Bytes kept.
    pub bytes: u64,
    /// The file was longer than the cap.
    pub truncated: bool,
}

/// An attempt at a case that was made again. Its logs are in `logs/<case-id>/attempt-<n>/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierAttempt {
    /// From 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    pub message: String,
    /// Wall time, UTC.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// Wall time, milliseconds.
    pub duration_ms: u64,
    /// US dollars that the agent used in it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// `results/<case-id>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseFile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The case.
    pub id: CaseId,
    /// Cluster, as the matrix names it.
    pub cluster: Id,
    /// What kind of cluster it was.
    pub cluster_kind: ClusterKind,
    /// Failure, as the matrix names it.
    pub failure: Id,
    /// Agent, as the matrix names it.
    pub agent: Id,
    /// From 1.
    pub repeat: u32,
    /// From 1; greater after retries.
    pub attempt: u32,
    /// The attempts before this one; each ended by an infrastructure error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierAttempt>,
    /// A control: never decides.
    pub control: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Whose doing; none exactly when it passed.
    pub class: Option<Class>,
    /// In one word.
    pub status: Status,
    /// Which rule decided the class; none exactly when it passed (and in files of before there were rules).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Why, one sentence; empty when it passed.
    pub message: String,
    /// Wall time, UTC.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// Wall time, UTC.
    #[schemars(with = "String")]
    pub finished_at: Timestamp,
    /// Wall time, milliseconds.
    pub duration_ms: u64,
    /// What happened when.
    pub phases: Vec<PhaseRecord>,
    /// The proof, where it came that far.
    pub witness: Option<Witness>,
    /// Every request of the agent went through the gate.
    pub gated: bool,
    /// What was enforced.
    pub isolation: Isolation,
    /// What the agent handed in.
    pub answer: AnswerRecord,
    /// Where it was judged.
    pub verdict: Option<Verdict>,
    /// What it cost.
    pub usage: Usage,
    /// What the agent asked of the cluster.
    pub gate: GateCounts,
    /// What was denied to anybody: the first 20 that differ.
    #[serde(default)]
    pub denied: Vec<DeniedRequest>,
    /// What was left behind.
    pub leaks: Vec<Leak>,
    /// What the agent left in its workspace.
    pub artifacts: Vec<Artifact>,
    /// Parameters of the failure, as they were used.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
}

impl CaseFile {
    /// What the agent has cost in all attempts, in US dollars; none where that is known of no attempt.
    pub fn spent_usd(&self) -> Option<f64> {
        let costs = self.earlier.iter().map(|attempt| attempt.cost_usd).chain([self.usage.cost_usd]);
        costs.flatten().filter(|cost| cost.is_finite()).reduce(|sum, cost| sum + cost)
    }
}
