//! Clusters that go away and stay away: the case ends soon, as nobody's fault but the infrastructure's, and the run goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::Listener;
use model::{Class, Event, EventKind, Outcome, Phase};

use crate::fault::{Away, Faults, Nothing};
use crate::stage::{Play, play};

/// Takes the cluster away when a phase of the first case begins.
struct Leaves {
    at: Phase,
    case: Option<String>,
    away: Arc<Away>,
}

impl Listener for Leaves {
    fn event(&mut self, event: &Event) {
        let EventKind::PhaseStarted { phase } = &event.event else { return };
        let case = event.case.as_ref().map(ToString::to_string);
        let first = self.case.get_or_insert_with(|| case.clone().unwrap_or_default());
        if *phase == self.at && case.as_ref() == Some(first) {
            self.away.0.store(true, Ordering::Release);
        }
    }
}

async fn leaves_at(phase: Phase) {
    let away: Arc<Away> = Arc::default();
    let first = Arc::clone(&away);
    let faults = Box::new(move |number| match number {
        0 => Arc::clone(&first) as Arc<dyn Faults>,
        _ => Arc::new(Nothing),
    });
    let listener: Option<Box<dyn Listener>> = Some(Box::new(Leaves { at: phase, case: None, away }));
    let failures = &["oom-killed", "no-fault"];
    // An agent that does nothing would not notice, and would be judged in no time.
    let slow = matches!(phase, Phase::Agent | Phase::Judge);
    let (agent, objective) = if slow { ("triage", "both") } else { ("idle", "diagnose") };
    let played = play(Play { failures, agent, objective, faults, listener }).await;
    println!("away at {phase:?}: {:?} after {:?}", played.outcomes(), played.took);
    let [case, next] = &played.document.cases[..] else { panic!("two cases: {:?}", played.outcomes()) };
    // Once it is judged the verdict stands, whatever becomes of the cluster.
    let judged = matches!(phase, Phase::Stop | Phase::Certify);
    if !judged {
        assert_eq!((case.outcome, case.class), (Outcome::Error, Some(Class::Infrastructure)), "{}", case.message);
    }
    // Nothing may have been made yet; whatever was made is not called clean on a cluster that does not answer.
    let touched = phase != Phase::Prepare || !played.clusters[0].effects().is_empty();
    assert!(!touched || !case.leaks.is_empty(), "{:?}", played.clusters[0].effects());
    assert_eq!(played.document.exit_code == 12, !case.leaks.is_empty());
    assert_ne!(next.outcome, Outcome::Error, "{}", next.message);
    assert!(next.leaks.is_empty(), "{:?}", next.leaks);
    assert!(played.took < Duration::from_secs(240), "{:?}", played.took);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_workload() {
    leaves_at(Phase::Prepare).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_failure() {
    leaves_at(Phase::Induce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_it_is_witnessed() {
    leaves_at(Phase::Witness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_agent() {
    leaves_at(Phase::Agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_judge() {
    leaves_at(Phase::Judge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_stop() {
    leaves_at(Phase::Stop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_it_is_certified() {
    leaves_at(Phase::Certify).await;
}
