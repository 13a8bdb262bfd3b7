//! The event stream of a run: what every surface sees, and what `events.jsonl` holds.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::words;
use crate::{CaseId, Class, Id, Outcome, Phase, PhaseResult, RunId, Status, StopReason, Totals};

words! {
    /// Who wrote a line.
    LogStream {
        /// The agent's standard output.
        AgentStdout = "agent_stdout",
        /// The agent's standard error.
        AgentStderr = "agent_stderr",
        /// The failure's log.
        Failure = "failure",
        /// The harness.
        Harness = "harness",
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// From 1, without gaps.
    pub seq: u64,
    /// Wall time, UTC.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The run.
    pub run: RunId,
    /// The case, for events of a case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// What happened.
    pub event: EventKind,
}

/// How many cases of a run have a failure and an agent in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedCases {
    /// As the matrix names it.
    pub failure: Id,
    /// As the matrix names it.
    pub agent: Id,
    /// On all clusters, with their repeats.
    pub cases: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// The first event.
    RunStarted {
        /// Name of the matrix.
        matrix: String,
        /// The run directory.
        dir: String,
        /// How many cases there will be.
        total: u64,
        /// Which.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        planned: Vec<PlannedCases>,
    },
    /// A case begins.
    CaseStarted {
        /// Position in expansion order, from 1.
        index: u64,
        /// Its agent is a control.
        #[serde(default)]
        control: bool,
    },
    /// A phase begins.
    PhaseStarted {
        /// Which.
        phase: Phase,
    },
    /// A phase ended.
    PhaseFinished {
        /// Which.
        phase: Phase,
        /// How.
        result: PhaseResult,
        /// Wall time, milliseconds.
        duration_ms: u64,
        /// Why, where it did not end well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A line of a log, without its line end.
    Log {
        /// Who wrote it.
        stream: LogStream,
        /// The line.
        line: String,
    },
    /// A phase takes longer than is usual, and goes on.
    CaseSlow {
        /// Which.
        phase: Phase,
        /// Wall time of the phase so far, milliseconds.
        elapsed_ms: u64,
    },
    /// An attempt at a case ended by an infrastructure error, and there will be another.
    CaseRetried {
        /// The attempt that ended, from 1.
        attempt: u32,
        /// Why it ended.
        message: String,
        /// How long it waits before the next, milliseconds.
        delay_ms: u64,
    },
    /// A case ended; its file is on disk.
    CaseFinished {
        /// How.
        outcome: Outcome,
        /// Whose doing.
        class: Option<Class>,
        /// In one word.
        status: Status,
        /// A control.
        control: bool,
        /// Why.
        message: String,
        /// Wall time, milliseconds.
        duration_ms: u64,
        /// Cases finished so far, this one included.
        finished: u64,
        /// Cases in all.
        total: u64,
    },
    /// A finished case was judged anew, because a control passed; its file is written again.
    CaseRevised {
        /// How it ended now.
        outcome: Outcome,
        /// Whose doing.
        class: Option<Class>,
        /// In one word.
        status: Status,
        /// Why.
        message: String,
    },
    /// No case begins any more; those that run come to their end.
    RunStopping {
        /// Why.
        reason: StopReason,
    },
    /// The last event.
    RunFinished {
        /// What came of it.
        totals: Totals,
        /// What the program will exit with.
        exit_code: u8,
    },
}
