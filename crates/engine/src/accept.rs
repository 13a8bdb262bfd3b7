//! What a finished run is worth: the exit code, by `accept` of the matrix where there is one.

use std::collections::BTreeMap;

use matrix::Accept;
use model::{CaseFile, Class, Outcome, exit_code};

use crate::{Interrupt, RunOptions};

/// The exit code of a run, in the contract's order of precedence: leak, interruption, failed, unjudged, fine.
pub(crate) fn exit_code_of(
    cases: &[CaseFile],
    accept: Option<&Accept>,
    options: &RunOptions,
    interrupt: Option<Interrupt>,
) -> u8 {
    if cases.iter().any(|case| !case.leaks.is_empty()) {
        return exit_code::LEAK;
    }
    if let Some(interrupt) = interrupt {
        return interrupt.exit_code();
    }
    let counted: Vec<&CaseFile> = cases.iter().filter(|case| !case.control).collect();
    let code = match accept {
        Some(accept) if accepted(&counted, accept) => exit_code::OK,
        Some(_) => exit_code::FAILED,
        None if counted.iter().any(|case| failed(case)) => exit_code::FAILED,
        None if counted.iter().any(|case| unjudged(case, options.allow_skipped)) => exit_code::UNJUDGED,
        None => exit_code::OK,
    };
    if options.exit_zero { exit_code::OK } else { code }
}

fn failed(case: &CaseFile) -> bool {
    case.outcome == Outcome::Failed || (case.outcome == Outcome::TimedOut && case.class == Some(Class::Agent))
}

fn unjudged(case: &CaseFile, allow_skipped: bool) -> bool {
    match case.outcome {
        Outcome::Passed | Outcome::Failed => false,
        Outcome::TimedOut => case.class != Some(Class::Agent),
        Outcome::Skipped => !allow_skipped,
        Outcome::Invalid | Outcome::Error | Outcome::Interrupted => true,
    }
}

/// Whether each agent passes often enough, and enough could be judged.
fn accepted(cases: &[&CaseFile], accept: &Accept) -> bool {
    let mut agents: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut lost = 0_u32;
    for case in cases {
        if unjudged(case, false) {
            lost += 1;
            continue;
        }
        let (passed, judged) = agents.entry(case.agent.as_str()).or_default();
        *passed += u32::from(case.outcome == Outcome::Passed);
        *judged += 1;
    }
    let rate = |part: u32, whole: u32| f64::from(part) / f64::from(whole.max(1));
    let whole = u32::try_from(cases.len()).unwrap_or(u32::MAX);
    let enough = accept.max_unjudged.is_none_or(|most| rate(lost, whole) <= most);
    let least = accept.min_pass_rate.unwrap_or(1.0);
    enough && agents.values().all(|(passed, judged)| rate(*passed, *judged) >= least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn case(agent: &str, outcome: Outcome, class: Option<Class>) -> CaseFile {
        serde_json::from_value(json!({
            "schema": 1, "id": format!("local--f--{agent}"), "cluster": "local", "cluster_kind": "embedded",
            "failure": "f", "agent": agent, "repeat": 1, "attempt": 1, "control": false, "outcome": outcome,
            "class": class, "status": outcome.status(class), "message": "",
            "started_at": "2026-11-21T10:00:00Z", "finished_at": "2026-11-21T10:00:01Z", "duration_ms": 1000,
            "phases": [], "witness": null, "gated": true,
            "isolation": {"home": true, "environment": true, "process_tree": true, "landlock": false},
            "answer": {"parsed": null, "error": null}, "verdict": null,
            "usage": {"source": "unknown", "input_tokens": null, "output_tokens": null, "turns": null, "cost_usd": null},
            "gate": {"requests": 0, "mutations": 0, "denials": 0}, "leaks": [], "artifacts": []
        }))
        .expect("a case file")
    }

    fn leaked(mut case: CaseFile) -> CaseFile {
        case.leaks =
            vec![model::Leak { object: "v1 Namespace c-1".into(), what: "left_over".into(), evidence: Vec::new() }];
        case
    }

    fn control(mut case: CaseFile) -> CaseFile {
        case.control = true;
        case
    }

    const PASSED: (Outcome, Option<Class>) = (Outcome::Passed, None);
    const FAILED: (Outcome, Option<Class>) = (Outcome::Failed, Some(Class::Agent));
    const LATE: (Outcome, Option<Class>) = (Outcome::TimedOut, Some(Class::Agent));
    const INVALID: (Outcome, Option<Class>) = (Outcome::Invalid, Some(Class::Test));
    const SKIPPED: (Outcome, Option<Class>) = (Outcome::Skipped, Some(Class::Test));

    fn code(cases: &[(Outcome, Option<Class>)]) -> u8 {
        let cases: Vec<CaseFile> = cases.iter().map(|(outcome, class)| case("a", *outcome, *class)).collect();
        exit_code_of(&cases, None, &RunOptions::default(), None)
    }

    #[test]
    fn without_accept_every_case_that_counts_must_pass() {
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[PASSED, PASSED]), 0);
        assert_eq!(code(&[PASSED, INVALID]), 11);
        assert_eq!(code(&[PASSED, SKIPPED]), 11);
        assert_eq!(code(&[FAILED, INVALID]), 10, "a failure outweighs what could not be judged");
        assert_eq!(code(&[LATE]), 10);
        assert_eq!(code(&[(Outcome::TimedOut, Some(Class::Infrastructure))]), 11);
    }

    #[test]
    fn controls_never_decide() {
        let cases = [case("a", PASSED.0, PASSED.1), control(case("idle", FAILED.0, FAILED.1))];
        assert_eq!(exit_code_of(&cases, None, &RunOptions::default(), None), 0);
    }

    #[test]
    fn a_leak_outweighs_everything_even_exit_zero() {
        let cases = [leaked(control(case("idle", FAILED.0, FAILED.1))), case("a", FAILED.0, FAILED.1)];
        let options = RunOptions { exit_zero: true, ..RunOptions::default() };
        assert_eq!(exit_code_of(&cases, None, &options, Some(Interrupt::Sigint)), 12);
    }

    #[test]
    fn an_interruption_outweighs_failures() {
        let cases = [case("a", FAILED.0, FAILED.1)];
        assert_eq!(exit_code_of(&cases, None, &RunOptions::default(), Some(Interrupt::Sigint)), 130);
        assert_eq!(exit_code_of(&cases, None, &RunOptions::default(), Some(Interrupt::Sigterm)), 143);
    }

    #[test]
    fn options_soften() {
        let skipped = [case("a", SKIPPED.0, SKIPPED.1)];
        let allow = RunOptions { allow_skipped: true, ..RunOptions::default() };
        assert_eq!(exit_code_of(&skipped, None, &allow, None), 0);
        let zero = RunOptions { exit_zero: true, ..RunOptions::default() };
        assert_eq!(exit_code_of(&[case("a", FAILED.0, FAILED.1)], None, &zero, None), 0);
    }
}
