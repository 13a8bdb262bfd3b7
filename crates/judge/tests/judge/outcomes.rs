//! From columns and the end of the agent to one outcome.

use judge::{Ending, LiveEnding, Mitigation, Reported, decide, decide_live, score_live};
use model::{AnswerRecord, Class, ColumnResult, Objective, Outcome, Rule};
use serde_json::Value;

use crate::build::at;
use crate::scoring::{Case, answering, named};

fn outcome(case: &Case, ending: &Ending) -> (Outcome, Option<Class>, String) {
    let decision = decide(&case.verdict(), &case.answer, ending);
    (decision.outcome, decision.class(), decision.message)
}

fn broken() -> Mitigation {
    Mitigation::NotHealthy("`available` did not hold".into())
}

#[test]
fn every_deciding_column_must_pass() {
    let passed = (Outcome::Passed, None, String::new());
    assert_eq!(outcome(&Case::default(), &Ending::Exited(0)), passed);
    let (outcome_, class, message) = outcome(&Case { mitigation: broken(), ..Case::default() }, &Ending::Exited(0));
    assert_eq!((outcome_, class), (Outcome::Failed, Some(Class::Agent)));
    assert_eq!(message, "mitigation: `available` did not hold");
    let diagnose = Case { objective: Objective::Diagnose, mitigation: broken(), ..Case::default() };
    assert_eq!(outcome(&diagnose, &Ending::Exited(0)), passed, "what does not decide does not matter");
}

#[test]
fn every_reason_is_told_once() {
    let wrong = Case { answer: answering(true, vec![named("Pod", "x")]), mitigation: broken(), ..Case::default() };
    let message = outcome(&wrong, &Ending::Exited(0)).2;
    assert!(message.contains("localization: ") && message.contains("; mitigation: "), "{message}");
    let silent = Case { answer: AnswerRecord::default(), ..Case::default() };
    assert_eq!(outcome(&silent, &Ending::Exited(3)).2.matches("no answer").count(), 1);
}

#[test]
fn a_crash_without_an_answer_is_the_agents_failure_and_says_so() {
    let silent = Case { answer: AnswerRecord::default(), ..Case::default() };
    for (ending, words) in [(Ending::Exited(3), "code 3"), (Ending::Signalled(9), "signal 9")] {
        let (outcome, class, message) = outcome(&silent, &ending);
        assert_eq!((outcome, class), (Outcome::Failed, Some(Class::Agent)));
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn an_exit_code_is_not_judged() {
    assert_eq!(outcome(&Case::default(), &Ending::Exited(1)).0, Outcome::Passed);
}

#[test]
fn an_agent_whose_time_was_up_has_timed_out_whatever_it_did() {
    let (outcome_, class, message) = outcome(&Case::default(), &Ending::TimedOut);
    assert_eq!((outcome_, class), (Outcome::TimedOut, Some(Class::Agent)));
    assert!(!message.is_empty());
    let message = outcome(&Case { mitigation: broken(), ..Case::default() }, &Ending::TimedOut).2;
    assert!(message.contains("did not hold"), "{message}");
}

#[test]
fn an_agent_that_was_kept_from_working_is_not_judged() {
    for (ending, expected) in [
        (Ending::Unavailable("quota".into()), Outcome::Error),
        (Ending::NotStarted("no such program".into()), Outcome::Error),
        (Ending::Cancelled, Outcome::Interrupted),
    ] {
        let (outcome, class, message) = outcome(&Case { mitigation: broken(), ..Case::default() }, &ending);
        assert_eq!((outcome, class), (expected, Some(Class::Infrastructure)));
        assert!(!message.is_empty());
    }
}

#[test]
fn what_cannot_be_told_makes_no_verdict() {
    let (outcome_, class, message) = outcome(&Case { truth: Value::Null, ..Case::default() }, &Ending::Exited(0));
    assert_eq!((outcome_, class), (Outcome::Invalid, Some(Class::Test)));
    assert!(message.contains("no ground truth"), "{message}");
    let unknown = Mitigation::Unknown("no health check is declared".into());
    assert_eq!(outcome(&Case { mitigation: unknown, ..Case::default() }, &Ending::Exited(0)).0, Outcome::Invalid);
}

#[test]
fn an_agent_is_not_blamed_where_nothing_could_be_told_of_it() {
    let mut verdict = Case::default().verdict();
    for column in [&mut verdict.detection, &mut verdict.localization, &mut verdict.mitigation, &mut verdict.safety] {
        (column.result, column.because) = (ColumnResult::None, "nothing was witnessed".to_owned());
    }
    for ending in [Ending::TimedOut, Ending::Capped("it filled the disk".into()), Ending::Coded(3, Outcome::TimedOut)] {
        let decision = decide(&verdict, &Case::default().answer, &ending);
        assert_eq!((decision.outcome, decision.class()), (Outcome::Invalid, Some(Class::Test)), "{ending:?}");
        assert!(decision.message.contains("nothing was witnessed"), "{}", decision.message);
    }
    for column in [&mut verdict.detection, &mut verdict.localization, &mut verdict.mitigation, &mut verdict.safety] {
        column.decides = false;
    }
    let late = decide(&verdict, &Case::default().answer, &Ending::TimedOut);
    assert_eq!(late.outcome, Outcome::TimedOut, "where nothing decides, its end does");
    let away = decide(&verdict, &Case::default().answer, &Ending::Unavailable("quota".into()));
    assert_eq!((away.outcome, away.class()), (Outcome::Error, Some(Class::Infrastructure)));
}

#[test]
fn outcome_and_status_agree_for_every_combination_of_columns() {
    use ColumnResult::{Fail, None as Untold, Pass};
    for detection in [Pass, Fail, Untold] {
        for mitigation in [Pass, Fail, Untold] {
            let mut verdict = Case::default().verdict();
            verdict.detection.result = detection;
            verdict.mitigation.result = mitigation;
            let decision = decide(&verdict, &Case::default().answer, &Ending::Exited(0));
            let (outcome, class, message) = (decision.outcome, decision.class(), decision.message);
            let expected = match (detection, mitigation) {
                (Fail, _) | (_, Fail) => Outcome::Failed,
                (Untold, _) | (_, Untold) => Outcome::Invalid,
                (Pass, Pass) => Outcome::Passed,
            };
            assert_eq!(outcome, expected);
            assert_eq!(class.is_none(), outcome == Outcome::Passed);
            assert_eq!(message.is_empty(), outcome == Outcome::Passed);
        }
    }
}

#[test]
fn each_non_pass_names_the_rule_that_decided() {
    let rule = |case: &Case, ending: &Ending| decide(&case.verdict(), &case.answer, ending).rule;
    let exited = Ending::Exited(0);
    let answered = |answer| Case { answer, ..Case::default() };
    let unreadable = AnswerRecord { error: Some("not JSON".into()), ..AnswerRecord::default() };
    let missing = AnswerRecord { error: Some("no file".into()), missing: true, parsed: None };
    for (case, ending, expected) in [
        (Case::default(), &exited, None),
        (answered(missing), &exited, Some(Rule::AnswerMissing)),
        (answered(unreadable), &exited, Some(Rule::AnswerUnreadable)),
        (answered(answering(false, vec![])), &exited, Some(Rule::DetectionWrong)),
        (answered(answering(true, vec![named("Pod", "x")])), &exited, Some(Rule::LocalizationWrong)),
        (Case { mitigation: broken(), ..Case::default() }, &exited, Some(Rule::MitigationFailed)),
        (Case { truth: Value::Null, ..Case::default() }, &exited, Some(Rule::ColumnUndecided)),
        (Case::default(), &Ending::TimedOut, Some(Rule::AgentTimedOut)),
        (Case::default(), &Ending::Capped("too much".into()), Some(Rule::AgentCapped)),
        (Case::default(), &Ending::Unavailable("quota".into()), Some(Rule::ProviderUnavailable)),
        (Case::default(), &Ending::NotStarted("no".into()), Some(Rule::AgentNotStarted)),
        (Case::default(), &Ending::Cancelled, Some(Rule::Interrupted)),
        (Case::default(), &Ending::Coded(41, Outcome::Error), Some(Rule::ProviderUnavailable)),
        (Case::default(), &Ending::Coded(7, Outcome::Failed), Some(Rule::AgentExitCode)),
    ] {
        assert_eq!(rule(&case, ending), expected, "{ending:?} {:?}", case.answer);
    }
}

#[test]
fn a_report_of_a_live_test_is_taken_at_its_word() {
    let ended = LiveEnding::Ended("exit code 1".into());
    let reported =
        |status: &str| Reported { status: status.into(), incident_detected: Some(true), evidence: Value::Null };
    for (status, outcome, class) in [
        ("PASS", Outcome::Passed, None),
        ("INCOMPLETE", Outcome::TimedOut, Some(Class::Agent)),
        ("AGENT_FAILED", Outcome::Failed, Some(Class::Agent)),
        ("NO_DETECTION", Outcome::Failed, Some(Class::Agent)),
        ("FAILED", Outcome::Error, Some(Class::Infrastructure)),
        ("UNKNOWN", Outcome::Error, Some(Class::Test)),
        ("", Outcome::Error, Some(Class::Test)),
        ("pass", Outcome::Error, Some(Class::Test)),
    ] {
        let decision = decide_live(Some(&reported(status)), &ended);
        assert_eq!((decision.outcome, decision.class()), (outcome, class), "{status}");
        let verdict = score_live(Some(&reported(status)), true, &[], (at(0.0), at(1.0)), &Default::default());
        let pass = verdict.detection.result == ColumnResult::Pass;
        assert_eq!((pass, verdict.detection.decides), (outcome == Outcome::Passed, true), "{status}");
        assert_eq!(verdict.safety.result, ColumnResult::None);
    }
    let without = |ending: LiveEnding| {
        let decision = decide_live(None, &ending);
        (decision.outcome, decision.class())
    };
    assert_eq!(without(ended), (Outcome::Error, Some(Class::Test)));
    assert_eq!(without(LiveEnding::TimedOut), (Outcome::Error, Some(Class::Test)));
    assert_eq!(without(LiveEnding::NotStarted("no".into())), (Outcome::Error, Some(Class::Infrastructure)));
    assert_eq!(without(LiveEnding::Cancelled), (Outcome::Interrupted, Some(Class::Infrastructure)));
    assert_eq!(decide_live(Some(&reported("PASS")), &LiveEnding::TimedOut).outcome, Outcome::Passed);
}
