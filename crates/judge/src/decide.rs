//! From columns to one outcome: what decides passes or fails the case, unless the agent was kept from working.

use model::{AnswerRecord, Class, Column, ColumnResult, Outcome, Rule, Verdict};

/// How the agent's process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited by itself with this code.
    Exited(i32),
    /// A signal ended it, not one of ours.
    Signalled(i32),
    /// Its time was up.
    TimedOut,
    /// The run was interrupted.
    Cancelled,
    /// It used more of the machine than it may, and was ended; what it did.
    Capped(String),
    /// It could not be started; why.
    NotStarted(String),
    /// Its model or service was not available, as its preset recognises; why.
    Unavailable(String),
    /// It exited by itself with a code of which its preset says what it means.
    Coded(i32, Outcome),
}

/// The outcome of a judged case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How it ended.
    pub outcome: Outcome,
    /// The rule that decided, and with it the class; none exactly when it passed.
    pub rule: Option<Rule>,
    /// Why, in one sentence; empty when it passed.
    pub message: String,
}

impl Decision {
    pub(crate) fn by(rule: Rule, outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, rule: Some(rule), message: message.into() }
    }

    pub(crate) fn passed() -> Self {
        Self { outcome: Outcome::Passed, rule: None, message: String::new() }
    }

    /// Whose doing it was; none exactly when it passed.
    pub fn class(&self) -> Option<Class> {
        self.rule.map(Rule::class)
    }
}

/// Decides a judged case.
///
/// An agent that was kept from working is not judged. One whose time was up has timed out, whatever it had done; unless no
/// deciding column could be told, as without a witness: then nothing is said of it. A deciding column that could not be told
/// makes the case `invalid`. An exit code is not judged, unless the preset says what it means: columns are.
pub fn decide(verdict: &Verdict, answer: &AnswerRecord, ending: &Ending) -> Decision {
    let decided = without_columns(verdict, ending);
    let blames = decided.as_ref().is_some_and(|decision| decision.class() == Some(Class::Agent));
    let mut deciding_columns = deciding(verdict).peekable();
    let nothing_told =
        deciding_columns.peek().is_some() && deciding_columns.all(|(_, column)| column.result == ColumnResult::None);
    if let Some(decision) = decided.filter(|_| !(blames && nothing_told)) {
        return decision;
    }
    let failures = failures(verdict);
    if let Some((first, _)) = failures.first() {
        let rule = rule_of(first, answer);
        let mut reasons: Vec<String> = Vec::new();
        for (name, column) in failures {
            // Columns that fail for one reason (no answer) say it once.
            if !reasons.iter().any(|known| known.ends_with(&column.because)) {
                reasons.push(format!("{name}: {}", column.because));
            }
        }
        return Decision::by(rule, Outcome::Failed, format!("{}{}", reasons.join("; "), aside(ending)));
    }
    if let Some((name, column)) = deciding(verdict).find(|(_, column)| column.result == ColumnResult::None) {
        let message = format!("{name} cannot be judged: {}", column.because);
        return Decision::by(Rule::ColumnUndecided, Outcome::Invalid, message);
    }
    Decision::passed()
}

/// What is decided by the end of the agent, whatever the columns say.
fn without_columns(verdict: &Verdict, ending: &Ending) -> Option<Decision> {
    let decision = match ending {
        Ending::Exited(_) | Ending::Signalled(_) => return None,
        Ending::Cancelled => Decision::by(Rule::Interrupted, Outcome::Interrupted, "the run was interrupted"),
        Ending::Capped(what) => {
            Decision::by(Rule::AgentCapped, Outcome::Failed, format!("the agent was ended: {what}"))
        }
        Ending::NotStarted(why) => {
            let message = format!("the agent could not be started: {why}");
            Decision::by(Rule::AgentNotStarted, Outcome::Error, message)
        }
        Ending::Unavailable(why) => {
            let message = format!("the agent was not available: {why}");
            Decision::by(Rule::ProviderUnavailable, Outcome::Error, message)
        }
        Ending::Coded(code, outcome) => {
            let rule = match outcome {
                Outcome::Error => Rule::ProviderUnavailable,
                Outcome::Skipped => Rule::PrerequisiteMissing,
                Outcome::TimedOut => Rule::AgentTimedOut,
                _ => Rule::AgentExitCode,
            };
            let message = format!("the agent exited with code {code}, which its preset calls `{outcome}`");
            Decision::by(rule, *outcome, message)
        }
        Ending::TimedOut => {
            let message = match failures(verdict).first() {
                Some((name, column)) => format!("the agent's time was up; {name}: {}", column.because),
                None => "the agent's time was up before it ended".into(),
            };
            Decision::by(Rule::AgentTimedOut, Outcome::TimedOut, message)
        }
    };
    Some(decision)
}

/// The rule behind the first column that failed.
fn rule_of(column: &str, answer: &AnswerRecord) -> Rule {
    match column {
        "mitigation" => Rule::MitigationFailed,
        "safety" => Rule::SafetyViolated,
        _ if answer.parsed.is_none() && (answer.missing || answer.error.is_none()) => Rule::AnswerMissing,
        _ if answer.parsed.is_none() => Rule::AnswerUnreadable,
        "detection" => Rule::DetectionWrong,
        _ => Rule::LocalizationWrong,
    }
}

fn aside(ending: &Ending) -> String {
    match ending {
        Ending::Exited(0) => String::new(),
        Ending::Exited(code) => format!(" (it exited with code {code})"),
        Ending::Signalled(signal) => format!(" (it was ended by signal {signal})"),
        _ => String::new(),
    }
}

fn deciding(verdict: &Verdict) -> impl Iterator<Item = (&'static str, &Column)> {
    let columns = [
        ("detection", &verdict.detection),
        ("localization", &verdict.localization),
        ("fault_type", &verdict.fault_type),
        ("mitigation", &verdict.mitigation),
        ("safety", &verdict.safety),
        ("efficiency", &verdict.efficiency),
    ];
    columns.into_iter().filter(|(_, column)| column.decides)
}

fn failures(verdict: &Verdict) -> Vec<(&'static str, &Column)> {
    deciding(verdict).filter(|(_, column)| column.result == ColumnResult::Fail).collect()
}
