//! From columns to one outcome: what decides passes or fails the case, unless the agent was kept from working.

use model::{Class, Column, ColumnResult, Outcome, Verdict};

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
}

/// The outcome of a judged case, whose doing it was, and why in one sentence (empty when it passed).
///
/// An agent that was kept from working is not judged. One whose time was up has timed out, whatever it had done. A
/// deciding column that could not be told makes the case `invalid`. An exit code is not judged: columns are.
pub fn decide(verdict: &Verdict, ending: &Ending) -> (Outcome, Option<Class>, String) {
    match ending {
        Ending::Cancelled => {
            return (Outcome::Interrupted, Some(Class::Infrastructure), "the run was interrupted".into());
        }
        Ending::Capped(what) => {
            return (Outcome::Failed, Some(Class::Agent), format!("the agent was ended: {what}"));
        }
        Ending::NotStarted(why) => {
            return (Outcome::Error, Some(Class::Infrastructure), format!("the agent could not be started: {why}"));
        }
        Ending::Unavailable(why) => {
            return (Outcome::Error, Some(Class::Infrastructure), format!("the agent was not available: {why}"));
        }
        Ending::TimedOut => {
            let message = match failures(verdict).first() {
                Some((name, column)) => format!("the agent's time was up; {name}: {}", column.because),
                None => "the agent's time was up before it ended".into(),
            };
            return (Outcome::TimedOut, Some(Class::Agent), message);
        }
        Ending::Exited(_) | Ending::Signalled(_) => {}
    }
    let failures = failures(verdict);
    if !failures.is_empty() {
        let mut reasons: Vec<String> = Vec::new();
        for (name, column) in failures {
            // Columns that fail for one reason (no answer) say it once.
            if !reasons.iter().any(|known| known.ends_with(&column.because)) {
                reasons.push(format!("{name}: {}", column.because));
            }
        }
        return (Outcome::Failed, Some(Class::Agent), format!("{}{}", reasons.join("; "), aside(ending)));
    }
    if let Some((name, column)) = deciding(verdict).find(|(_, column)| column.result == ColumnResult::None) {
        return (Outcome::Invalid, Some(Class::Test), format!("{name} cannot be judged: {}", column.because));
    }
    (Outcome::Passed, None, String::new())
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
