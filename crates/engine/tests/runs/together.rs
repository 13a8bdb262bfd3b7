//! Cases side by side in one process: each cluster has its own time, and hurries whatever the others are at.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::Nothing;
use crate::stage::{Play, Played, play};

async fn alone(failure: &str, agent: &str) -> Played {
    let objective = if agent == "idle" { "diagnose" } else { "both" };
    let faults = Box::new(|_| Arc::new(Nothing) as Arc<dyn crate::fault::Faults>);
    play(Play { failures: &[failure], agent, objective, faults, listener: None }).await
}

/// An agent at work keeps its own cluster at the wall's time, and this runtime busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases_come_to_the_same_side_by_side() {
    const CASES: [(&str, &str); 6] = [
        ("oom-killed", "idle"),
        ("crashloopbackoff", "triage"),
        ("image-pull-error", "idle"),
        ("crashloopbackoff-script", "triage"),
        ("no-fault", "triage"),
        ("oom-killed", "triage"),
    ];
    let mut apart = Vec::new();
    for (failure, agent) in CASES {
        apart.push(alone(failure, agent).await);
    }
    let spinning = tokio::spawn(async {
        loop {
            std::thread::sleep(Duration::from_micros(200));
            tokio::task::yield_now().await;
        }
    });
    let together = futures::future::join_all(CASES.map(|(failure, agent)| alone(failure, agent))).await;
    spinning.abort();
    for (n, (one, other)) in apart.iter().zip(&together).enumerate() {
        assert_eq!(one.outcomes(), other.outcomes(), "{:?}", CASES[n]);
        other.assert_clean(0).await;
    }
}
