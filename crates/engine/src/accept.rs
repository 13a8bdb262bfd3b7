//! What a finished run is worth: what `accept` of the matrix asked and what was found, and the exit code.

use std::collections::{BTreeMap, BTreeSet};

use matrix::Accept;
use model::{AcceptPart, AcceptRule, Acceptance, CaseFile, ClusterKind, FailureRecord, Id, Outcome, Status, exit_code};
use report::Share;

use crate::drop::drops;
use crate::{Interrupt, RunOptions};

/// The exit code of a run, in the contract's order of precedence: leak, interruption, failed, unjudged, fine.
pub(crate) fn exit_code_of(
    cases: &[CaseFile],
    acceptance: Option<&Acceptance>,
    options: &RunOptions,
    interrupt: Option<Interrupt>,
) -> u8 {
    if cases.iter().any(|case| !case.leaks.is_empty()) {
        return exit_code::LEAK;
    }
    if let Some(interrupt) = interrupt {
        return interrupt.exit_code();
    }
    let mut counted = counted(cases, options).map(|case| case.status);
    let code = match acceptance {
        Some(acceptance) if acceptance.met => exit_code::OK,
        Some(_) => exit_code::FAILED,
        None if counted.clone().any(|status| status == Status::Fail) => exit_code::FAILED,
        None if counted.any(|status| status == Status::None) => exit_code::UNJUDGED,
        None => exit_code::OK,
    };
    if options.exit_zero { exit_code::OK } else { code }
}

/// Whether the case counts: no control does, and with `--allow-skipped` none that was skipped.
pub(crate) fn counts(case: &CaseFile, options: &RunOptions) -> bool {
    !case.control && !(options.allow_skipped && case.outcome == Outcome::Skipped)
}

fn counted<'a>(cases: &'a [CaseFile], options: &'a RunOptions) -> impl Iterator<Item = &'a CaseFile> + Clone {
    cases.iter().filter(move |case| counts(case, options))
}

/// What `accept` asked of these cases, and what was found.
pub(crate) fn acceptance(
    cases: &[CaseFile],
    accept: &Accept,
    options: &RunOptions,
    failures: &[FailureRecord],
) -> Acceptance {
    let counted: Vec<&CaseFile> = counted(cases, options).collect();
    // A baseline asks for no less than before; only without one does silence mean that all must pass.
    let least = accept.min_pass_rate.or_else(|| accept.baseline.is_none().then_some(1.0));
    let mut parts: Vec<AcceptPart> = least.map(|least| pass_rates(&counted, least)).unwrap_or_default();
    parts.extend(accept.max_unjudged.map(|most| unjudged(&counted, most)));
    let mut notes = Vec::new();
    if let Some(baseline) = &options.baseline {
        let found = drops(cases, failures, baseline, accept.max_drop.unwrap_or(0.0));
        parts.extend(found.parts);
        notes = found.notes;
    }
    Acceptance { met: parts.iter().all(|part| part.met), parts, notes }
}

/// Whether each agent passes often enough, on each kind of cluster by itself.
fn pass_rates(cases: &[&CaseFile], least: f64) -> Vec<AcceptPart> {
    let mut agents: BTreeMap<(&Id, ClusterKind), (Share, u64)> = BTreeMap::new();
    for case in cases {
        let (share, all) = agents.entry((&case.agent, case.cluster_kind)).or_default();
        *all += 1;
        share.judged += u64::from(case.status != Status::None);
        share.passed += u64::from(case.status == Status::Pass);
    }
    let part = |((agent, kind), (share, all)): ((&Id, ClusterKind), (Share, u64))| {
        let because = match share.wilson() {
            Some(interval) => format!(
                "{} of {} judged cases passed, 95 % interval {:.2} to {:.2}",
                share.passed, share.judged, interval.low, interval.high
            ),
            None => format!("none of its {all} cases could be judged"),
        };
        AcceptPart {
            rule: AcceptRule::MinPassRate,
            agent: Some(agent.clone()),
            cluster_kind: Some(kind),
            asked: least,
            found: share.rate(),
            met: share.rate().is_some_and(|rate| rate >= least),
            because,
        }
    };
    agents.into_iter().map(part).collect()
}

fn unjudged(cases: &[&CaseFile], most: f64) -> AcceptPart {
    let lost = cases.iter().filter(|case| case.status == Status::None).count() as u64;
    let share = Share { passed: lost, judged: cases.len() as u64 };
    let why: BTreeSet<&str> =
        cases.iter().filter(|case| case.status == Status::None).map(|case| case.outcome.as_str()).collect();
    let why: Vec<&str> = why.into_iter().collect();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
    AcceptPart {
        rule: AcceptRule::MaxUnjudged,
        agent: None,
        cluster_kind: None,
        asked: most,
        found: share.rate(),
        met: share.rate().is_none_or(|rate| rate <= most),
        because: format!("{lost} of {} cases have no verdict{why}", cases.len()),
    }
}

#[cfg(test)]
mod tests {
    use model::Class;
    use serde_json::json;

    use super::*;

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

    fn accepted(cases: &[CaseFile], accept: &Accept, options: &RunOptions) -> Acceptance {
        acceptance(cases, accept, options, &[])
    }

    #[test]
    fn accept_asks_each_agent_on_each_kind_of_cluster() {
        let accept = Accept { min_pass_rate: Some(0.5), ..Accept::default() };
        let elsewhere = |mut case: CaseFile| {
            case.cluster_kind = model::ClusterKind::Stub;
            case
        };
        let cases = [
            case("a", PASSED.0, PASSED.1),
            case("a", FAILED.0, FAILED.1),
            elsewhere(case("a", LATE.0, LATE.1)),
            case("b", PASSED.0, PASSED.1),
            control(case("idle", FAILED.0, FAILED.1)),
        ];
        let found = accepted(&cases, &accept, &RunOptions::default());
        let told: Vec<(String, &str, Option<f64>, bool)> = found
            .parts
            .iter()
            .map(|p| (p.agent.clone().expect("one").to_string(), p.cluster_kind.expect("one").as_str(), p.found, p.met))
            .collect();
        let expected = [("a", "embedded", 0.5, true), ("a", "stub", 0.0, false), ("b", "embedded", 1.0, true)];
        assert_eq!(told, expected.map(|(a, kind, rate, met)| (a.to_owned(), kind, Some(rate), met)));
        assert!(!found.met);
        assert!(found.parts[0].because.contains("1 of 2 judged cases passed"), "{}", found.parts[0].because);
        assert_eq!(exit_code_of(&cases, Some(&found), &RunOptions::default(), None), 10);
    }

    #[test]
    fn an_agent_that_was_never_judged_has_met_nothing() {
        let cases = [case("a", SKIPPED.0, SKIPPED.1), case("b", PASSED.0, PASSED.1)];
        let accept = Accept { min_pass_rate: Some(0.0), ..Accept::default() };
        let found = accepted(&cases, &accept, &RunOptions::default());
        assert!(!found.met);
        assert_eq!(
            (found.parts[0].found, found.parts[0].because.as_str()),
            (None, "none of its 1 cases could be judged")
        );
        let allow = RunOptions { allow_skipped: true, ..RunOptions::default() };
        assert!(accepted(&cases, &accept, &allow).met, "what was skipped by leave counts nowhere");
    }

    #[test]
    fn what_could_not_be_judged_has_a_limit() {
        let cases = [case("a", INVALID.0, INVALID.1), case("a", PASSED.0, PASSED.1)];
        let asked = |most| Accept { min_pass_rate: Some(1.0), max_unjudged: Some(most), ..Accept::default() };
        assert!(accepted(&cases, &asked(0.5), &RunOptions::default()).met);
        let found = accepted(&cases, &asked(0.4), &RunOptions::default());
        let part = found.parts.last().expect("a part");
        assert_eq!(
            (part.met, part.found, part.because.as_str()),
            (false, Some(0.5), "1 of 2 cases have no verdict (invalid)")
        );
        assert!(accepted(&[], &asked(0.0), &RunOptions::default()).met, "an empty partition");
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
