//! Signals in every phase of a case: it ends soon, the cluster is as it was, and the run says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Cancel, Canceller, Interrupt, Listener, Stage};
use model::{Event, EventKind, LogStream, Outcome, Phase, StopReason};

use crate::fleet::Fleet;
use crate::stage::Production;

/// Sends signals when a phase begins.
struct Signals {
    canceller: Canceller,
    at: Phase,
    signals: Vec<Interrupt>,
}

impl Listener for Signals {
    fn event(&mut self, event: &Event) {
        if matches!(&event.event, EventKind::PhaseStarted { phase } if *phase == self.at) {
            for signal in self.signals.drain(..) {
                self.canceller.interrupt(signal);
            }
        }
    }
}

/// Two cases, of which the second never begins.
async fn signalled(at: Phase, signals: &[Interrupt]) {
    let fleet = Arc::new(Fleet::new(false));
    // Until the agent is at work there is nothing to wait for but it; what comes after it needs one that ends.
    let agent = if at <= Phase::Agent { "sleeper" } else { "idle" };
    let mut production = Production::of(format!(
        "name: signals\nclusters: [{{id: c, provisioner: embedded}}]\nfailures: [oom-killed]\nagents: [{agent}]\n\
         objective: diagnose\nexecution: {{repeats: 2}}\n"
    ));
    production.agents = vec![("sleeper", "command: [sleep, '300']\n".into())];
    let (canceller, cancel) = Cancel::new();
    let found = Arc::clone(&fleet);
    production.clusters = Box::new(move |_| Ok(found.clone()));
    production.listeners.push(Box::new(Signals { canceller, at, signals: signals.to_vec() }));
    production.cancel = cancel;
    let begun = Instant::now();
    let run = production.perform().await;
    let what = format!("{signals:?} at {at:?}: {:?} after {:?}", run.outcomes(), begun.elapsed());
    println!("{what}");
    assert_eq!(run.document.cases.len(), 1, "{what}");
    let case = &run.document.cases[0];
    if at <= Phase::Agent {
        assert_eq!(case.outcome, Outcome::Interrupted, "{what}");
    } else {
        // Once it has ended it may be judged before the signal is there.
        assert!(matches!(case.outcome, Outcome::Interrupted | Outcome::Failed), "{what}");
    }
    assert!(case.leaks.is_empty(), "{what}: {:?}", case.leaks);
    assert_eq!(run.document.exit_code, signals[0].exit_code(), "{what}");
    let file = run.run_file();
    assert_eq!((file.stopped, file.not_run), (Some(StopReason::Interrupted), 1), "{what}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
    fleet.assert_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_signal_in_every_phase() {
    use Interrupt::{Sigint, Sigterm};
    for phase in Phase::ALL {
        for signals in [[Sigint].as_slice(), &[Sigterm], &[Sigint, Sigterm], &[Sigterm, Sigint]] {
            signalled(*phase, signals).await;
        }
    }
}

/// The first signal when the agent begins; the second only when the failure's own way back has begun.
struct Impatient(Canceller);

impl Listener for Impatient {
    fn event(&mut self, event: &Event) {
        match &event.event {
            EventKind::PhaseStarted { phase: Phase::Agent } => {
                assert_eq!(self.0.interrupt(Interrupt::Sigint), Stage::Stopping);
            }
            EventKind::Log { stream: LogStream::Failure, line } if line.contains("on the way back") => {
                assert_eq!(self.0.interrupt(Interrupt::Sigint), Stage::Abandoning);
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_does_not_come_back_is_abandoned_and_undone_without_it() {
    const METADATA: &str = "name: Stays\ndescription: Never stops.\nexpected_duration: 10s\n\
                            workload: {manifests: [workload.yaml]}\n";
    const SCRIPT: &str =
        "#!/bin/sh\nif [ \"$1\" = stop ]; then echo on the way back; sleep 300; fi\necho TIMEOUT=300\n";
    let fleet = Arc::new(Fleet::new(false));
    let mut production = Production::of(
        "name: stays\nclusters: [{id: c, provisioner: embedded}]\nfailures: [stays]\nagents: [sleeper]\n",
    );
    production.failures = vec![("stays", METADATA.into(), SCRIPT)];
    production.agents = vec![("sleeper", "command: [sleep, '300']\n".into())];
    let (canceller, cancel) = Cancel::new();
    let found = Arc::clone(&fleet);
    production.clusters = Box::new(move |_| Ok(found.clone()));
    production.listeners.push(Box::new(Impatient(canceller)));
    production.cancel = cancel;
    let begun = Instant::now();
    let run = production.perform().await;
    let case = &run.document.cases[0];
    assert_eq!(case.outcome, Outcome::Interrupted, "{:?}", run.outcomes());
    let stop = case.phases.iter().find(|phase| phase.phase == Phase::Stop).expect("it was stopped");
    assert!(stop.message.as_ref().is_some_and(|why| why.contains("abandoned")), "{stop:?}");
    assert!(case.leaks.is_empty(), "{:?}", case.leaks);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    fleet.assert_gone().await;
}
