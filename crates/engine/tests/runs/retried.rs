//! What is tried again, and what ends a run before all of its cases have begun.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::{Cancel, Canceller, Interrupt, Listener};
use model::{Event, EventKind, Outcome, StopReason, exit_code};

use crate::fleet::Fleet;
use crate::stage::{Performed, Production};

fn one(agent: &str, execution: &str) -> Production {
    Production::of(format!(
        "name: one\nclusters: [{{id: c, provisioner: embedded}}]\nfailures: [no-fault]\nagents: [{agent}]\n\
         objective: diagnose\nexecution: {execution}\n"
    ))
}

fn retries(run: &Performed) -> Vec<u32> {
    let attempt = |event: &Event| match event.event {
        EventKind::CaseRetried { attempt, .. } => Some(attempt),
        _ => None,
    };
    run.events.iter().filter_map(attempt).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn infrastructure_is_given_another_chance_and_what_was_is_not_hidden() {
    let making = Box::new(|number| if number < 2 { Err("no room") } else { Ok(Duration::ZERO) });
    let fleet = Arc::new(Fleet { making, ..Fleet::new(false) });
    let mut production = one("triage", "{retries: 2}");
    let found = Arc::clone(&fleet);
    production.clusters = Box::new(move |_| Ok(found.clone()));
    let run = production.perform().await;
    let case = &run.document.cases[0];
    assert_eq!((case.outcome, case.attempt), (Outcome::Passed, 3), "{}", case.message);
    assert_eq!(case.earlier.iter().map(|earlier| earlier.attempt).collect::<Vec<_>>(), [1, 2]);
    assert!(case.earlier.iter().all(|earlier| earlier.message.contains("no room")), "{:?}", case.earlier);
    assert_eq!(retries(&run), [1, 2]);
    assert_eq!((run.document.totals.total, run.document.exit_code), (1, exit_code::OK));
    let logs = std::path::Path::new(&run.document.dir).join("logs").join(case.id.as_str());
    assert!(logs.join("attempt-1/gate.jsonl").exists() && logs.join("gate.jsonl").exists());
    fleet.assert_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_final() {
    let run = one("idle", "{retries: 3}").perform().await;
    assert_eq!((run.document.cases[0].outcome, run.document.cases[0].attempt), (Outcome::Failed, 1));
    assert!(retries(&run).is_empty());
}

const DOWN: &str = r#"command: [sh, -c, 'echo "{\"type\": \"result\", \"overloaded\": true}"']
answer: stdout
output: {format: jsonl, final: {type: result}, unavailable: final.overloaded}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_stays_down_is_infrastructure_after_the_last_try() {
    let mut production = one("down", "{retries: 1}");
    production.agents = vec![("down", DOWN.into())];
    let run = production.perform().await;
    let case = &run.document.cases[0];
    assert!(run.outcomes()[0].starts_with("error infrastructure: the agent was not available"), "{:?}", run.outcomes());
    assert_eq!((case.attempt, case.earlier.len(), run.document.exit_code), (2, 1, exit_code::UNJUDGED));
}

/// Interrupts when a case is about to be tried again.
struct AtRetry(Canceller);

impl Listener for AtRetry {
    fn event(&mut self, event: &Event) {
        if let EventKind::CaseRetried { .. } = event.event {
            self.0.interrupt(Interrupt::Sigint);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_tried_again_once_interrupted() {
    let (canceller, cancel) = Cancel::new();
    let mut production = one("down", "{retries: 10}");
    production.agents = vec![("down", DOWN.into())];
    production.listeners.push(Box::new(AtRetry(canceller)));
    production.cancel = cancel;
    let run = production.perform().await;
    assert_eq!((retries(&run), run.document.cases[0].attempt), (vec![1], 1));
    assert_eq!(run.document.exit_code, exit_code::SIGINT);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_case_begins_once_the_money_is_spent() {
    let mut production = one("dear", "{repeats: 5, max_cost_usd: 1}");
    production.agents = vec![(
        "dear",
        "command: [sh, -c, 'echo \"{\\\"fault_present\\\": false, \\\"usd\\\": 0.6}\"']\nanswer: stdout\n\
         output: {format: json, usage: {cost_usd: /usd}}\n"
            .into(),
    )];
    let run = production.perform().await;
    let file = run.run_file();
    assert_eq!((run.document.cases.len(), file.not_run, file.stopped), (2, 3, Some(StopReason::MaxCost)));
    assert!(run.outcomes().iter().all(|outcome| outcome.starts_with("passed")), "{:?}", run.outcomes());
    assert_eq!(run.document.exit_code, exit_code::UNJUDGED, "three were not judged");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_tried_again_once_the_money_is_spent() {
    const DEAR: &str = r#"command: [sh, -c, 'echo "{\"type\": \"result\", \"overloaded\": true, \"usd\": 0.6}"']
answer: stdout
output: {format: jsonl, final: {type: result}, unavailable: final.overloaded, usage: {cost_usd: /usd}}
"#;
    let mut production = one("dear", "{retries: 4, repeats: 2, max_cost_usd: 1}");
    production.agents = vec![("dear", DEAR.into())];
    let run = production.perform().await;
    assert_eq!(retries(&run), [1], "{:?}", run.outcomes());
    let file = run.run_file();
    assert_eq!((run.document.cases[0].attempt, file.not_run, file.stopped), (2, 1, Some(StopReason::MaxCost)));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_case_is_tried_again_where_no_cluster_is_tried_any_more() {
    let fleet = Arc::new(Fleet { making: Box::new(|_| Err("no room")), ..Fleet::new(false) });
    let mut production = one("triage", "{retries: 2, repeats: 3}");
    let found = Arc::clone(&fleet);
    production.clusters = Box::new(move |_| Ok(found.clone()));
    let run = production.perform().await;
    assert_eq!(
        run.document.cases.iter().map(|case| case.attempt).collect::<Vec<_>>(),
        [3, 1, 1],
        "{:?}",
        run.outcomes()
    );
    assert_eq!((retries(&run), fleet.seen.made.load(Ordering::SeqCst)), (vec![1, 2], 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_judged_has_not_passed_either() {
    for allowed in [false, true] {
        let mut production = one("absent, triage", "{}");
        production.agents = vec![(
            "absent",
            "command: [absent]\nrequires: [{program: there-is-none, version: [there-is-none, --version]}]\n".into(),
        )];
        (production.options.fail_fast, production.options.allow_skipped) = (true, allowed);
        let run = production.perform().await;
        assert_eq!(run.document.cases[0].outcome, Outcome::Skipped, "{:?}", run.outcomes());
        assert_eq!(run.document.cases.len(), if allowed { 2 } else { 1 });
        let stopping = run.events.iter().filter(|event| matches!(event.event, EventKind::RunStopping { .. }));
        assert_eq!(stopping.count(), usize::from(!allowed), "it is told, once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failure_ends_a_run_only_where_that_is_asked_for() {
    for fail_fast in [false, true] {
        let mut production = one("{id: idle, name: first}, {id: idle, name: control, control: true}, triage", "{}");
        production.options.fail_fast = fail_fast;
        let run = production.perform().await;
        let file = run.run_file();
        let expected = if fail_fast { (1, 2, Some(StopReason::FailFast)) } else { (3, 0, None) };
        assert_eq!((run.document.cases.len(), file.not_run, file.stopped), expected);
        assert_eq!(run.document.exit_code, exit_code::FAILED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_being_made_when_all_is_over_is_not_left() {
    let (canceller, cancel) = Cancel::new();
    let canceller = std::sync::Mutex::new(Some(canceller));
    let making = Box::new(move |_| {
        if let Some(canceller) = canceller.lock().unwrap().take() {
            canceller.interrupt(Interrupt::Sigterm);
        }
        Ok(Duration::from_secs(3600))
    });
    let fleet = Arc::new(Fleet { making, ..Fleet::new(true) });
    let mut production = one("idle", "{}");
    let found = Arc::clone(&fleet);
    production.clusters = Box::new(move |_| Ok(found.clone()));
    production.cancel = cancel;
    let run = production.perform().await;
    assert_eq!((run.document.cases[0].outcome, run.document.exit_code), (Outcome::Interrupted, exit_code::SIGTERM));
    assert_eq!(fleet.seen.made.load(Ordering::SeqCst), 1);
    fleet.assert_gone().await;
}
