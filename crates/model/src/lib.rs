//! The words of the project as types: ids, outcomes, cases, verdicts, answers, events and the files that hold them.
//! Pure data, serialised as CONTRACT and FORMATS fix it; no I/O and no logic beyond what a word means.

mod acceptance;
mod answer;
mod case_file;
mod event;
mod gate_record;
mod id;
mod outcome;
mod rule;
mod run_file;
mod task;
mod taxonomy;
mod verdict;

pub use acceptance::{AcceptPart, AcceptRule, Acceptance, BASELINE_SCHEMA, Baseline, BaselineEntry};
pub use answer::{Answer, AnswerRecord, NamedObject};
pub use case_file::{
    Artifact, CaseFile, ClusterKind, DeniedRequest, EarlierAttempt, GateCounts, Isolation, Leak, Phase, PhaseRecord,
    PhaseResult, SCHEMA, SymptomSeen, Usage, UsageSource, Witness, WitnessKind,
};
pub use event::{Event, EventKind, LogStream, PlannedCases};
pub use gate_record::{Decision, GateRecord, Party};
pub use id::{CaseId, CaseParts, Id, IdError, RunId};
pub use outcome::{Class, Outcome, Status};
pub use rule::{RULES_VERSION, Rule};
pub use run_file::{ClusterRecord, FailureRecord, RunDocument, RunFile, StopReason, Totals, exit_code};
pub use task::{AnswerSlot, Endpoints, Objective, Task};
pub use taxonomy::{FAULT_TYPES, FaultType, TAXONOMY_VERSION, fault_type};
pub use verdict::{Column, ColumnResult, Verdict};
