//! Gathers what will be the case file while a case lives, and tells the event stream about its phases.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use model::{
    AnswerRecord, CaseFile, CaseId, Class, ClusterKind, DeniedRequest, EventKind, GateCounts, Id, Isolation, Leak,
    LogStream, Outcome, Phase, PhaseRecord, PhaseResult, Rule, SCHEMA, Usage, Verdict, Witness,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::AbortHandle;

use crate::dispatcher::Dispatcher;

/// After so much wall time, and each time it has passed again, a phase is said to be slow.
const SLOW: Duration = Duration::from_secs(60);

/// How a case ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) class: Option<Class>,
    /// Which rule says so; none exactly when it passed.
    pub(crate) rule: Option<Rule>,
    pub(crate) message: String,
}

impl End {
    fn of(rule: Rule, outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, class: Some(rule.class()), rule: Some(rule), message: message.into() }
    }

    pub(crate) fn skipped(message: impl Into<String>) -> Self {
        Self::of(Rule::PrerequisiteMissing, Outcome::Skipped, message)
    }

    /// The failure did not take hold, or is unfit.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::of(Rule::NotWitnessed, Outcome::Invalid, message)
    }

    /// The failure broke.
    pub(crate) fn test(message: impl Into<String>) -> Self {
        Self::of(Rule::FailureBroken, Outcome::Error, message)
    }

    /// Cluster or harness broke.
    pub(crate) fn infrastructure(message: impl Into<String>) -> Self {
        Self::of(Rule::HarnessError, Outcome::Error, message)
    }

    /// There is no cluster, or it is gone.
    pub(crate) fn no_cluster(message: impl Into<String>) -> Self {
        Self::of(Rule::ClusterUnavailable, Outcome::Error, message)
    }

    /// The harness was ended in the middle, and what it left was found later.
    pub(crate) fn killed() -> Self {
        Self::of(Rule::HarnessKilled, Outcome::Interrupted, "the harness was ended in the middle of the case")
    }

    pub(crate) fn interrupted() -> Self {
        Self::interrupted_at("the run was interrupted")
    }

    pub(crate) fn interrupted_at(message: &str) -> Self {
        Self::of(Rule::Interrupted, Outcome::Interrupted, message)
    }
}

impl From<judge::Decision> for End {
    fn from(decision: judge::Decision) -> Self {
        let class = decision.class();
        Self { outcome: decision.outcome, class, rule: decision.rule, message: decision.message }
    }
}

impl From<gate::JournalError> for End {
    fn from(error: gate::JournalError) -> Self {
        Self::infrastructure(error.to_string())
    }
}

/// Who and where; fixed from the start of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) id: CaseId,
    pub(crate) cluster: Id,
    pub(crate) cluster_kind: ClusterKind,
    pub(crate) failure: Id,
    pub(crate) agent: Id,
    pub(crate) repeat: u32,
    pub(crate) control: bool,
}

/// The record of one case.
#[derive(Debug)]
pub(crate) struct Record {
    identity: Identity,
    dispatcher: Dispatcher,
    /// From 1.
    pub(crate) attempt: u32,
    started_at: Timestamp,
    started: Instant,
    phases: Vec<PhaseRecord>,
    pub(crate) witness: Option<Witness>,
    pub(crate) gated: bool,
    pub(crate) isolation: Isolation,
    pub(crate) answer: AnswerRecord,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) usage: Usage,
    pub(crate) gate: GateCounts,
    pub(crate) denied: Vec<DeniedRequest>,
    pub(crate) leaks: Vec<Leak>,
    pub(crate) artifacts: Vec<model::Artifact>,
    pub(crate) params: Value,
    /// Wall time that an embedded cluster worked in the agent's phase.
    pub(crate) cluster_for_agent: Duration,
}

impl Record {
    pub(crate) fn new(identity: Identity, dispatcher: Dispatcher) -> Self {
        Self {
            identity,
            dispatcher,
            attempt: 1,
            started_at: Timestamp::now(),
            started: Instant::now(),
            phases: Vec::new(),
            witness: None,
            gated: false,
            isolation: Isolation::default(),
            answer: AnswerRecord::default(),
            verdict: None,
            usage: Usage::default(),
            gate: GateCounts::default(),
            denied: Vec::new(),
            leaks: Vec::new(),
            artifacts: Vec::new(),
            params: Value::Null,
            cluster_for_agent: Duration::ZERO,
        }
    }

    /// It began earlier, in another process.
    pub(crate) fn began(&mut self, at: Timestamp) {
        self.started_at = at;
    }

    pub(crate) fn id(&self) -> &CaseId {
        &self.identity.id
    }

    /// A line of the harness in the event stream.
    pub(crate) async fn say(&self, line: impl Into<String>) {
        let event = EventKind::Log { stream: LogStream::Harness, line: line.into() };
        self.dispatcher.event(Some(&self.identity.id), event).await;
    }

    /// Begins a phase.
    pub(crate) async fn begin(&mut self, phase: Phase) -> Running {
        self.dispatcher.event(Some(&self.identity.id), EventKind::PhaseStarted { phase }).await;
        let started = Instant::now();
        let slow = SlowPhase::watch(self.identity.id.clone(), self.dispatcher.clone(), phase, started);
        Running { phase, started_at: Timestamp::now(), started, _slow: slow }
    }

    /// Ends a phase.
    pub(crate) async fn end(&mut self, running: Running, result: PhaseResult, message: Option<String>) {
        let duration_ms = millis(running.started);
        let phase = running.phase;
        self.phases.push(PhaseRecord {
            phase,
            started_at: running.started_at,
            duration_ms,
            result,
            message: message.clone(),
        });
        let event = EventKind::PhaseFinished { phase, result, duration_ms, message };
        self.dispatcher.event(Some(&self.identity.id), event).await;
    }

    /// The case file.
    pub(crate) fn finish(self, end: End) -> CaseFile {
        let params = match self.params {
            Value::Object(map) => map.into_iter().collect(),
            _ => Default::default(),
        };
        CaseFile {
            schema: SCHEMA,
            id: self.identity.id,
            cluster: self.identity.cluster,
            cluster_kind: self.identity.cluster_kind,
            failure: self.identity.failure,
            agent: self.identity.agent,
            repeat: self.identity.repeat,
            attempt: self.attempt,
            earlier: Vec::new(),
            control: self.identity.control,
            outcome: end.outcome,
            class: end.class,
            status: end.outcome.status(end.class),
            rule: end.rule,
            message: end.message,
            started_at: self.started_at,
            finished_at: Timestamp::now(),
            duration_ms: millis(self.started),
            phases: self.phases,
            witness: self.witness,
            gated: self.gated,
            isolation: self.isolation,
            answer: self.answer,
            verdict: self.verdict,
            usage: self.usage,
            gate: self.gate,
            denied: self.denied,
            leaks: self.leaks,
            artifacts: self.artifacts,
            params,
        }
    }
}

/// A phase that has begun.
#[derive(Debug)]
#[must_use = "a phase that has begun must end"]
pub(crate) struct Running {
    phase: Phase,
    started_at: Timestamp,
    started: Instant,
    _slow: SlowPhase,
}

/// Says again and again that a phase still goes on, until it is dropped.
#[derive(Debug)]
struct SlowPhase(AbortHandle);

impl SlowPhase {
    fn watch(case: CaseId, dispatcher: Dispatcher, phase: Phase, started: Instant) -> Self {
        let tell = async move {
            loop {
                tokio::time::sleep(SLOW).await;
                dispatcher.event(Some(&case), EventKind::CaseSlow { phase, elapsed_ms: millis(started) }).await;
            }
        };
        Self(tokio::spawn(tell).abort_handle())
    }
}

impl Drop for SlowPhase {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
