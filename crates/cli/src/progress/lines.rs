//! Events as lines, the same while a run goes on and when its log is read from elsewhere.

use model::{CaseId, Event, EventKind, LogStream, Outcome, StopReason};
use report::{Style, colored, duration, one_line, printable};

/// What is told of an event without being asked for more: its ends, what is slow, what is tried again; with `verbose` the
/// ends of phases.
pub(crate) fn told(event: &Event, verbose: bool, color: bool) -> Option<String> {
    let case = event.case.as_ref().map_or("", CaseId::as_str);
    let style = Style { color, ..Style::default() };
    let word = |outcome: Outcome| colored(outcome, outcome.as_str(), style);
    match &event.event {
        EventKind::RunStarted { total, dir, .. } => Some(format!("Running {total} cases, results in {dir}")),
        EventKind::PhaseFinished { phase, result, duration_ms, message } if verbose => {
            let why = message.as_ref().map(|m| format!(": {}", one_line(m))).unwrap_or_default();
            Some(format!("      {case} {phase} {result} {}{why}", duration(*duration_ms)))
        }
        EventKind::CaseSlow { phase, elapsed_ms } => {
            Some(format!("      SLOW  {case}  {phase} {} so far", duration(*elapsed_ms)))
        }
        EventKind::CaseRetried { attempt, message, delay_ms } => Some(format!(
            "      again {case}  attempt {attempt} ended, the next begins in {}: {}",
            duration(*delay_ms),
            one_line(message)
        )),
        EventKind::CaseFinished { outcome, control, message, duration_ms, finished, total, .. } => {
            let width = total.to_string().len();
            let note = if *control { " (control)" } else { "" };
            let why = if message.is_empty() || *control { String::new() } else { format!("  {}", one_line(message)) };
            let took = duration(*duration_ms);
            Some(format!("[{finished:>width$}/{total}] {}  {case}{note}  {took}{why}", word(*outcome)))
        }
        EventKind::RunStopping { reason } => stopping(*reason).map(str::to_owned),
        EventKind::CaseRevised { outcome, message, .. } => {
            Some(format!("  now  {}  {case}  {}", word(*outcome), one_line(message)))
        }
        _ => None,
    }
}

/// Whoever interrupts is told by the interruption.
fn stopping(reason: StopReason) -> Option<&'static str> {
    match reason {
        StopReason::Interrupted => None,
        StopReason::FailFast => Some("No case begins any more: one did not pass (`--fail-fast`)."),
        StopReason::MaxCost => Some("No case begins any more: `max_cost_usd` is spent."),
    }
}

/// A line of a log after who wrote it: `local/oom-killed/claude agent: …`, with `.r2` for a second repeat.
pub(crate) fn logged(event: &Event) -> Option<String> {
    let (case, EventKind::Log { stream, line }) = (&event.case, &event.event) else { return None };
    let who = match stream {
        LogStream::AgentStdout => "agent",
        LogStream::AgentStderr => "agent!",
        LogStream::Failure => "failure",
        LogStream::Harness => "harness",
    };
    let case = case.as_ref().map_or_else(|| "run".to_owned(), |case| case.as_str().replace("--", "/"));
    Some(format!("{case} {who}: {}", printable(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str) -> Event {
        let text = format!(
            r#"{{"seq": 1, "at": "2026-11-21T10:00:00Z", "run": "abcd1234", "case": "local--oom-killed--triage.r2", "event": {kind}}}"#
        );
        serde_json::from_str(&text).expect("an event")
    }

    #[test]
    fn a_finished_case_is_one_line() {
        let finished = |outcome: &str, control: bool, message: &str| {
            let kind = format!(
                r#"{{"type": "case_finished", "outcome": "{outcome}", "class": null, "status": "none",
                    "control": {control}, "message": "{message}", "duration_ms": 4200, "finished": 3, "total": 12}}"#
            );
            told(&event(&kind), false, false).expect("a line")
        };
        assert_eq!(finished("passed", false, ""), "[ 3/12] passed  local--oom-killed--triage.r2  4.2s");
        assert_eq!(
            finished("failed", false, r"two\nlines"),
            "[ 3/12] failed  local--oom-killed--triage.r2  4.2s  two lines"
        );
        assert_eq!(finished("failed", true, "idle"), "[ 3/12] failed  local--oom-killed--triage.r2 (control)  4.2s");
        let revised = r#"{"type": "case_revised", "outcome": "invalid", "class": "test", "status": "none", "message": "a control passed"}"#;
        let line = told(&event(revised), false, false).expect("a line");
        assert_eq!(line, "  now  invalid  local--oom-killed--triage.r2  a control passed");
    }

    #[test]
    fn what_takes_long_and_what_is_tried_again_is_told() {
        let slow = event(r#"{"type": "case_slow", "phase": "agent", "elapsed_ms": 65000}"#);
        assert_eq!(
            told(&slow, false, false).as_deref(),
            Some("      SLOW  local--oom-killed--triage.r2  agent 1m 05s so far")
        );
        let retried = event(r#"{"type": "case_retried", "attempt": 1, "message": "gone\nfor good", "delay_ms": 2000}"#);
        let line = told(&retried, false, false).expect("a line");
        assert_eq!(
            line,
            "      again local--oom-killed--triage.r2  attempt 1 ended, the next begins in 2.0s: gone for good"
        );
        let phase = event(r#"{"type": "phase_finished", "phase": "agent", "result": "ok", "duration_ms": 100}"#);
        assert_eq!((told(&phase, false, false), told(&phase, true, false).is_some()), (None, true));
    }

    #[test]
    fn a_log_line_says_whose_it_is_and_is_one_line() {
        let line = |stream: &str, text: &str| {
            logged(&event(&format!(r#"{{"type": "log", "stream": "{stream}", "line": "{text}"}}"#))).expect("a line")
        };
        assert_eq!(line("agent_stdout", "  hello"), "local/oom-killed/triage.r2 agent:   hello");
        assert_eq!(line("failure", r"a\rb\u001b[2J"), "local/oom-killed/triage.r2 failure: a b");
    }
}
