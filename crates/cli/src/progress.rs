//! What people see while a run goes on, on standard error: a redrawn line on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::time::Duration;

use api::Listener;
use indicatif::{ProgressBar, ProgressStyle};
use model::{CaseId, Event, EventKind, LogStream, Outcome};
use report::{Style, colored, duration, one_line, printable};

use crate::terminal::{Terminal, complain};

/// Makes the listeners that a run gets.
pub(crate) fn listeners(terminal: Terminal, follow: bool) -> Vec<Box<dyn Listener>> {
    let mut listeners: Vec<Box<dyn Listener>> = Vec::new();
    if follow {
        listeners.push(Box::new(Follow));
    }
    match terminal {
        Terminal { quiet: true, .. } => {}
        // A redrawn line and streaming logs would overwrite each other.
        Terminal { live: true, verbose: 0, .. } if !follow => listeners.push(Box::new(Live::new(terminal))),
        _ => listeners.push(Box::new(Plain { terminal })),
    }
    listeners
}

/// One line for each finished case; with `-v` the phases too.
struct Plain {
    terminal: Terminal,
}

impl Listener for Plain {
    fn event(&mut self, event: &Event) {
        match &event.event {
            EventKind::RunStarted { total, dir, .. } => {
                complain(&format!("Running {total} cases, results in {dir}"));
            }
            EventKind::PhaseFinished { phase, result, duration_ms, message } if self.terminal.verbose > 0 => {
                let case = event.case.as_ref().map_or("", CaseId::as_str);
                let why = message.as_ref().map(|m| format!(": {}", one_line(m))).unwrap_or_default();
                complain(&format!("      {case} {phase} {result} {}{why}", duration(*duration_ms)));
            }
            _ => {
                if let Some(line) = finished_line(event, self.terminal.stderr_color) {
                    complain(&line);
                }
            }
        }
    }
}

/// `[3/8] passed  local--oom-killed--triage  4.2s`
fn finished_line(event: &Event, color: bool) -> Option<String> {
    let case = event.case.as_ref()?;
    let style = Style { color, ..Style::default() };
    let word = |outcome: Outcome| colored(outcome, outcome.as_str(), style);
    match &event.event {
        EventKind::CaseFinished { outcome, control, message, duration_ms, finished, total, .. } => {
            let width = total.to_string().len();
            let note = if *control { " (control)" } else { "" };
            let why = if message.is_empty() || *control { String::new() } else { format!("  {}", one_line(message)) };
            let took = duration(*duration_ms);
            Some(format!("[{finished:>width$}/{total}] {}  {case}{note}  {took}{why}", word(*outcome)))
        }
        EventKind::CaseRevised { outcome, message, .. } => {
            Some(format!("  now  {}  {case}  {}", word(*outcome), one_line(message)))
        }
        _ => None,
    }
}

/// The line of the case that is running, with its phase, redrawn; finished cases above it.
struct Live {
    terminal: Terminal,
    bar: ProgressBar,
    running: VecDeque<CaseId>,
    phase: &'static str,
}

impl Live {
    fn new(terminal: Terminal) -> Self {
        let bar = ProgressBar::new(0);
        // The template is a constant: it is either right always or never.
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{pos}/{len}] {msg} {elapsed}") {
            bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { terminal, bar, running: VecDeque::new(), phase: "" }
    }

    fn draw(&self) {
        let case = self.running.front().map_or("", CaseId::as_str);
        let separator = if self.phase.is_empty() { "" } else { " · " };
        self.bar.set_message(format!("{case}{separator}{}", self.phase));
    }
}

impl Listener for Live {
    fn event(&mut self, event: &Event) {
        match &event.event {
            EventKind::RunStarted { total, .. } => self.bar.set_length(*total),
            EventKind::CaseStarted { .. } => {
                self.running.extend(event.case.clone());
                self.phase = "";
            }
            EventKind::PhaseStarted { phase } => self.phase = phase.as_str(),
            EventKind::CaseFinished { finished, .. } => {
                self.running.retain(|case| Some(case) != event.case.as_ref());
                self.bar.set_position(*finished);
            }
            EventKind::RunFinished { .. } => return self.bar.finish_and_clear(),
            _ => {}
        }
        if let Some(line) = finished_line(event, self.terminal.stderr_color) {
            self.bar.println(line);
        }
        self.draw();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Also when the run ends by an error: the cursor is left on a line of its own.
        self.bar.finish_and_clear();
    }
}

/// Log lines as they come, each after who wrote it.
struct Follow;

impl Listener for Follow {
    fn event(&mut self, event: &Event) {
        let (Some(case), EventKind::Log { stream, line }) = (&event.case, &event.event) else { return };
        let who = match stream {
            LogStream::AgentStdout => "agent",
            LogStream::AgentStderr => "agent!",
            LogStream::Failure => "failure",
            LogStream::Harness => "harness",
        };
        complain(&format!("{} {who}: {}", case.as_str().replace("--", "/"), printable(line)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str) -> Event {
        let text = format!(
            r#"{{"seq": 1, "at": "2026-11-21T10:00:00Z", "run": "abcd1234", "case": "local--oom-killed--triage", "event": {kind}}}"#
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
            finished_line(&event(&kind), false).expect("a line")
        };
        assert_eq!(finished("passed", false, ""), "[ 3/12] passed  local--oom-killed--triage  4.2s");
        assert_eq!(
            finished("failed", false, r"two\nlines"),
            "[ 3/12] failed  local--oom-killed--triage  4.2s  two lines"
        );
        assert_eq!(finished("failed", true, "idle"), "[ 3/12] failed  local--oom-killed--triage (control)  4.2s");
        let revised = r#"{"type": "case_revised", "outcome": "invalid", "class": "test", "status": "none", "message": "a control passed"}"#;
        let line = finished_line(&event(revised), false).expect("a line");
        assert_eq!(line, "  now  invalid  local--oom-killed--triage  a control passed");
    }
}
