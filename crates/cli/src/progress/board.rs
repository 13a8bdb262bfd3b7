//! What a run is at now, from its events: how many cases have ended how, which run, since when, and about how long the
//! rest will take. Pure: times are given, nothing is drawn.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::{CaseId, Event, EventKind, Outcome};
use report::{duration, symbol};

use super::estimate::Estimate;

/// How many running cases are shown; the others are counted.
const SHOWN: usize = 8;

/// A case that runs.
#[derive(Debug)]
struct Running {
    case: CaseId,
    since: Instant,
    phase: &'static str,
    phase_since: Instant,
    slow: bool,
    attempt: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    began: Instant,
    total: u64,
    finished: u64,
    /// How each has ended; a verdict that was taken back is what it is now.
    outcomes: HashMap<CaseId, Outcome>,
    running: Vec<Running>,
    /// How many ran when the last one had begun: the moment between two cases makes nothing slower.
    at_a_time: usize,
    estimate: Estimate,
}

impl Board {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            total: 0,
            finished: 0,
            outcomes: HashMap::new(),
            running: Vec::new(),
            at_a_time: 1,
            estimate: Estimate::default(),
        }
    }

    /// Takes in an event.
    pub(crate) fn take(&mut self, event: &Event, now: Instant) {
        match (&event.event, &event.case) {
            (EventKind::RunStarted { total, planned, .. }, _) => {
                (self.total, self.began, self.estimate) = (*total, now, Estimate::of(planned));
            }
            (EventKind::RunStopping { .. }, _) => self.estimate.stops(),
            (EventKind::CaseStarted { .. }, Some(case)) => {
                self.running.retain(|running| running.case != *case);
                self.estimate.began(case);
                let case = case.clone();
                self.running.push(Running { case, since: now, phase: "", phase_since: now, slow: false, attempt: 1 });
                self.at_a_time = self.running.len();
            }
            (EventKind::PhaseStarted { phase }, Some(case)) => self.change(case, |running| {
                (running.phase, running.phase_since, running.slow) = (phase.as_str(), now, false);
            }),
            (EventKind::CaseSlow { .. }, Some(case)) => self.change(case, |running| running.slow = true),
            (EventKind::CaseRetried { attempt, .. }, Some(case)) => self.change(case, |running| {
                running.attempt = attempt.saturating_add(1);
                (running.phase, running.phase_since, running.slow) = ("waiting to try again", now, false);
            }),
            (EventKind::CaseFinished { outcome, finished, .. }, Some(case)) => {
                let since =
                    self.running.extract_if(.., |running| running.case == *case).map(|ended| ended.since).next();
                self.finished = *finished;
                self.outcomes.insert(case.clone(), *outcome);
                match (outcome, since) {
                    (Outcome::Skipped, _) => self.estimate.skipped(case),
                    (Outcome::Interrupted, _) | (_, None) => {}
                    (_, Some(since)) => self.estimate.took(case, now.saturating_duration_since(since)),
                }
            }
            (EventKind::CaseRevised { outcome, .. }, Some(case)) => drop(self.outcomes.insert(case.clone(), *outcome)),
            _ => {}
        }
    }

    fn change(&mut self, case: &CaseId, change: impl FnOnce(&mut Running)) {
        if let Some(running) = self.running.iter_mut().find(|running| running.case == *case) {
            change(running);
        }
    }

    /// See [`Estimate::rest`].
    fn rest(&self, now: Instant) -> Option<Duration> {
        let running = self.running.iter();
        let running = running.map(|running| (&running.case, now.saturating_duration_since(running.since)));
        self.estimate.rest(running, u32::try_from(self.at_a_time).unwrap_or(u32::MAX))
    }

    /// The lines to show, none wider than `width`.
    pub(crate) fn lines(&self, now: Instant, width: usize) -> Vec<String> {
        let mut parts = vec![format!("[{}/{}]", self.finished, self.total)];
        for outcome in Outcome::ALL {
            let count = self.outcomes.values().filter(|ended| *ended == outcome).count();
            parts.extend((count > 0).then(|| format!("{} {count} {outcome}", symbol(*outcome))));
        }
        parts.push(format!("{} running", self.running.len()));
        parts.push(since(self.began, now));
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        parts.extend(self.rest(now).map(|rest| format!("about {} left", duration(millis(rest)))));
        let mut lines = vec![parts.join("  ")];
        let ids = self.running.iter().take(SHOWN).map(|running| running.case.as_str().chars().count());
        // One long id must not push the phases of all off the screen.
        let column = ids.max().unwrap_or(0).min(width / 2);
        for running in self.running.iter().take(SHOWN) {
            let id = fit(running.case.as_str(), column);
            let slow = if running.slow { "  SLOW" } else { "" };
            let attempt = if running.attempt > 1 { format!("  attempt {}", running.attempt) } else { String::new() };
            let (phase, took) = (running.phase, since(running.phase_since, now));
            lines.push(format!("  {id:column$}  {phase} {took}  (case {}){slow}{attempt}", since(running.since, now)));
        }
        if self.running.len() > SHOWN {
            lines.push(format!("  … and {} more", self.running.len() - SHOWN));
        }
        lines.iter().map(|line| fit(line, width)).collect()
    }
}

fn since(then: Instant, now: Instant) -> String {
    duration(u64::try_from(now.saturating_duration_since(then).as_millis()).unwrap_or(u64::MAX))
}

/// Cut at the end, visibly. Ids and our own words have no wide characters.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn event(case: &str, kind: &str) -> Event {
        let text = format!(
            r#"{{"seq": 1, "at": "2026-11-21T10:00:00Z", "run": "abcd1234", "case": "local--{case}--a", "event": {kind}}}"#
        );
        serde_json::from_str(&text).expect("an event")
    }

    /// Six cases, of one agent and failures of their own.
    fn begins() -> Event {
        let one = |failure: &str| format!(r#"{{"failure": "{failure}", "agent": "a", "cases": 1}}"#);
        let planned = ["one", "two", "three", "four", "five", "six"].map(one).join(", ");
        event(
            "x",
            &format!(r#"{{"type": "run_started", "matrix": "m", "dir": "d", "total": 6, "planned": [{planned}]}}"#),
        )
    }

    fn started(case: &str) -> Event {
        event(case, r#"{"type": "case_started", "index": 1}"#)
    }

    fn ended(case: &str, outcome: &str, seconds: u64, finished: u64) -> Event {
        let kind = format!(
            r#"{{"type": "case_finished", "outcome": "{outcome}", "class": null, "status": "none", "control": false,
                "message": "", "duration_ms": {}, "finished": {finished}, "total": 6}}"#,
            seconds * 1000
        );
        event(case, &kind)
    }

    #[test]
    fn several_running_cases_are_shown_with_phase_and_time() {
        let begin = Instant::now();
        let mut board = Board::new(begin);
        board.take(&begins(), begin);
        assert_eq!(board.rest(begin), None, "nothing is known yet");
        for case in ["one", "two"] {
            board.take(&started(case), begin);
            board.take(&event(case, r#"{"type": "phase_started", "phase": "agent"}"#), begin + SECOND);
        }
        board
            .take(&event("one", r#"{"type": "case_slow", "phase": "agent", "elapsed_ms": 9000}"#), begin + 10 * SECOND);
        let lines = board.lines(begin + 11 * SECOND, 80);
        assert_eq!(
            lines,
            [
                "[0/6]  2 running  11.0s",
                "  local--one--a  agent 10.0s  (case 11.0s)  SLOW",
                "  local--two--a  agent 10.0s  (case 11.0s)"
            ]
        );
        board.take(
            &event("two", r#"{"type": "case_retried", "attempt": 1, "message": "x", "delay_ms": 5}"#),
            begin + 12 * SECOND,
        );
        board.take(&ended("one", "passed", 20, 1), begin + 20 * SECOND);
        let lines = board.lines(begin + 20 * SECOND, 80);
        assert_eq!(lines[1], "  local--two--a  waiting to try again 8.0s  (case 20.0s)  attempt 2");
        // Four wait, 20 s each; the fifth has had its 20 s; two at a time.
        assert_eq!(lines[0], "[1/6]  ✓ 1 passed  1 running  20.0s  about 40.0s left");
        assert!(board.lines(begin, 30).iter().all(|line| line.chars().count() <= 30));
    }

    #[test]
    fn the_estimate_follows_the_run() {
        let begin = Instant::now();
        let at = |seconds: u32| begin + seconds * SECOND;
        let mut board = Board::new(begin);
        board.take(&begins(), begin);
        board.take(&started("one"), begin);
        board.take(&ended("one", "skipped", 0, 1), begin);
        assert_eq!(board.rest(begin), None, "what was not run tells nothing");
        board.take(&started("two"), begin);
        assert_eq!(board.rest(at(5)), None, "nothing has ended");
        // Its second attempt took 3 s, and its place was taken for 10.
        board.take(&ended("two", "failed", 3, 2), at(10));
        assert_eq!(board.rest(at(10)), Some(40 * SECOND), "one at a time");
        board.take(&started("three"), at(10));
        board.take(&started("four"), at(12));
        assert_eq!(board.rest(at(16)), Some(15 * SECOND), "4 s and 6 s, and two that wait, two at a time");
        board.take(&event("x", r#"{"type": "run_stopping", "reason": "fail_fast"}"#), at(16));
        assert_eq!(board.rest(at(16)), Some(6 * SECOND), "nothing waits any more");
        assert_eq!(board.rest(at(600)), None, "it takes longer, and nobody knows how long");
        board.take(&ended("three", "passed", 10, 3), at(20));
        board.take(&ended("four", "interrupted", 10, 4), at(21));
        assert_eq!(board.rest(at(21)), None, "nothing is left");
    }

    #[test]
    fn outcomes_are_counted_as_they_are_now() {
        let begin = Instant::now();
        let mut board = Board::new(begin);
        board.take(&begins(), begin);
        for (case, (outcome, number)) in ["one", "two", "three", "four", "five", "six"]
            .iter()
            .zip(["skipped", "failed"].into_iter().zip(1..).chain(["passed"; 4].into_iter().zip(3..)))
        {
            board.take(&started(case), begin);
            board.take(&ended(case, outcome, 10, number), begin);
        }
        let revised =
            r#"{"type": "case_revised", "outcome": "invalid", "class": "test", "status": "none", "message": "m"}"#;
        board.take(&event("three", revised), begin);
        let line = board.lines(begin, 100).remove(0);
        assert_eq!(line, "[6/6]  ✓ 3 passed  ✗ 1 failed  ? 1 invalid  - 1 skipped  0 running  0.0s");
    }

    #[test]
    fn many_are_counted_beyond_what_fits() {
        let begin = Instant::now();
        let mut board = Board::new(begin);
        (0..20).for_each(|n| board.take(&started(&format!("c{n}")), begin));
        let lines = board.lines(begin, 80);
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (2 + SHOWN, Some("  … and 12 more")));
    }
}
