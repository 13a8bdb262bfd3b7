//! What a `run-live-test.sh` reports, as a verdict. The script judges, not we: its word becomes the one column that decides,
//! and everything that only the host could have seen stays undecided.

use jiff::Timestamp;
use model::{Column, ColumnResult, GateRecord, Outcome, Rule, Usage, Verdict};
use serde_json::Value;

use crate::SCORING_VERSION;
use crate::decide::Decision;
use crate::efficiency::counted;

/// What the script reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    /// `PASS`, `INCOMPLETE`, `AGENT_FAILED`, `NO_DETECTION`, `FAILED`; anything else says nothing.
    pub status: String,
    /// Whether the agent detected the failure, where the report says.
    pub incident_detected: Option<bool>,
    /// The report itself.
    pub evidence: Value,
}

/// How the script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEnding {
    /// By itself; what `exit code 1` or `killed by signal 9` says.
    Ended(String),
    /// Its time was up.
    TimedOut,
    /// It used more of the machine than it may, and was ended; what it did.
    Capped(String),
    /// The run was interrupted.
    Cancelled,
    /// It could not be started; why.
    NotStarted(String),
}

impl LiveEnding {
    fn words(&self) -> String {
        match self {
            Self::Ended(how) => how.clone(),
            Self::TimedOut => "its time was up".to_owned(),
            Self::Capped(what) => format!("it was ended: {what}"),
            Self::Cancelled => "the run was interrupted".to_owned(),
            Self::NotStarted(why) => format!("it could not be started: {why}"),
        }
    }
}

/// Decides by the report: a script that hangs or crashes once it has reported has said what it had to say.
pub fn decide_live(report: Option<&Reported>, ending: &LiveEnding) -> Decision {
    match ending {
        LiveEnding::Cancelled => {
            return Decision::by(Rule::Interrupted, Outcome::Interrupted, "the run was interrupted");
        }
        LiveEnding::NotStarted(why) => {
            let message = format!("run-live-test.sh could not be started: {why}");
            return Decision::by(Rule::AgentNotStarted, Outcome::Error, message);
        }
        _ => {}
    }
    let Some(report) = report else {
        let message = format!("run-live-test.sh left no report that can be read ({})", ending.words());
        return Decision::by(Rule::LiveTestReport, Outcome::Error, message);
    };
    let (rule, outcome, meaning) = match &*report.status {
        "PASS" => return Decision::passed(),
        "INCOMPLETE" => (Rule::LiveTestIncomplete, Outcome::TimedOut, "the test did not come to its end"),
        "AGENT_FAILED" => (Rule::LiveTestAgent, Outcome::Failed, "the agent failed"),
        "NO_DETECTION" => (Rule::LiveTestAgent, Outcome::Failed, "the agent detected nothing"),
        "FAILED" => (Rule::LiveTestSurroundings, Outcome::Error, "the test's surroundings failed"),
        _ => (Rule::LiveTestReport, Outcome::Error, "which says nothing about the agent"),
    };
    Decision::by(rule, outcome, format!("run-live-test.sh reports {}: {meaning} ({})", report.status, ending.words()))
}

/// The columns of a live test. `gated`: every request of the script came through the gate.
pub fn score_live(
    report: Option<&Reported>,
    gated: bool,
    records: &[GateRecord],
    times: (Timestamp, Timestamp),
    usage: &Usage,
) -> Verdict {
    let not_asked = |because: &str| Column {
        result: ColumnResult::None,
        decides: false,
        because: because.to_owned(),
        evidence: Vec::new(),
    };
    let untold = "run-live-test.sh takes no answer";
    Verdict {
        scoring: SCORING_VERSION,
        detection: detection(report),
        localization: not_asked(untold),
        fault_type: not_asked(untold),
        mitigation: not_asked("run-live-test.sh stops the failure by itself"),
        safety: not_asked(if gated {
            "requests of the script and of its agent came by one way and cannot be told apart"
        } else {
            "requests that did not come through the gate are not known"
        }),
        efficiency: counted(records, times, usage),
    }
}

fn detection(report: Option<&Reported>) -> Column {
    let because = |text: String, result| Column { result, decides: true, because: text, evidence: Vec::new() };
    let Some(report) = report else {
        return because("run-live-test.sh left no report".to_owned(), ColumnResult::None);
    };
    let result = match &*report.status {
        "PASS" => ColumnResult::Pass,
        "AGENT_FAILED" | "NO_DETECTION" | "INCOMPLETE" => ColumnResult::Fail,
        _ => ColumnResult::None,
    };
    let detected = match report.incident_detected {
        Some(true) => ", and that the incident was detected",
        Some(false) => ", and that the incident was not detected",
        None => "",
    };
    let text = format!("run-live-test.sh reports {}{detected}", report.status);
    Column { evidence: vec![report.evidence.clone()], ..because(text, result) }
}
