//! Faults that pass: the case comes to what it would have come to without them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Effects;
use crate::fault::{AtFirst, ByChance, Fault, Faults, Nothing, Seen};
use crate::stage::{Play, Played, play};

async fn with(failure: &str, agent: &str, faults: impl Faults + 'static) -> Played {
    let faults: Arc<dyn Faults> = Arc::new(faults);
    let objective = if agent == "idle" { "diagnose" } else { "both" };
    let faults = Box::new(move |_| Arc::clone(&faults));
    play(Play { failures: &[failure], agent, objective, faults, listener: None }).await
}

fn is_write(request: &Seen<'_>) -> bool {
    request.is_write() && !request.is_dry_run()
}

fn any(_: &Seen<'_>) -> bool {
    true
}

/// Effects by method and path, without what nobody counts: events and leases.
fn counted(effects: &Effects) -> BTreeMap<String, usize> {
    effects
        .iter()
        .filter(|(what, _)| !what.contains("/events") && !what.contains("/leases"))
        .map(|(k, v)| (k.clone(), *v))
        .collect()
}

async fn as_without(failure: &str, faults: impl Faults + 'static) -> Played {
    let quiet = with(failure, "idle", Nothing).await;
    quiet.assert_clean(0).await;
    let played = with(failure, "idle", faults).await;
    let happened = played.clusters[0].faults();
    assert_eq!(played.outcomes(), quiet.outcomes(), "after {happened:#?}");
    played.assert_clean(0).await;
    assert_eq!(counted(&played.clusters[0].effects()), counted(&quiet.clusters[0].effects()), "after {happened:#?}");
    assert!(!happened.is_empty(), "nothing went wrong");
    played
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_at_every_write() {
    as_without(
        "oom-killed",
        AtFirst::new(vec![Fault::Conflict], |request| is_write(request) && request.method != "POST"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_at_every_write() {
    as_without("oom-killed", AtFirst::new(vec![Fault::Busy(0), Fault::Busy(1)], is_write)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_at_every_read() {
    as_without("oom-killed", AtFirst::new(vec![Fault::Busy(0)], |request| !request.is_write())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_at_everything() {
    as_without("oom-killed", AtFirst::new(vec![Fault::Error], any)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_before_every_request() {
    as_without("oom-killed", AtFirst::new(vec![Fault::LostBefore, Fault::LostBefore], any)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_after_every_write_took_effect() {
    as_without("oom-killed", AtFirst::new(vec![Fault::LostAfter], is_write)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_after_every_write_of_a_script() {
    as_without("crashloopbackoff-script", AtFirst::new(vec![Fault::LostAfter], is_write)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_takes_five_seconds() {
    let late = vec![Fault::Late(Duration::from_secs(5))];
    as_without(
        "oom-killed",
        AtFirst::new(late, |request| *request.method == http::Method::PATCH && !request.is_dry_run()),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_end_all_the_time() {
    let cuts = [0, 1, 0, 3, 2, 1, 5, 0, 2, 8].into_iter().zip([true, false].into_iter().cycle());
    let cuts = cuts.map(|(after, cleanly)| Fault::Cut { after, cleanly }).collect();
    as_without("oom-killed", AtFirst::new(cuts, |request| request.is_watch())).await;
}

/// The outcome of an agent that repairs is the same as well; how often it asks depends on how long it waits.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_repairs_on_a_bad_connection() {
    let quiet = with("oom-killed", "triage", Nothing).await;
    let played = with("oom-killed", "triage", ByChance::new(5, 10)).await;
    let happened = played.clusters[0].faults();
    assert_eq!(played.outcomes(), quiet.outcomes(), "after {happened:#?}");
    played.assert_clean(0).await;
    once_each(&played, &happened);
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_at_any_time() {
    let failures = ["oom-killed", "crashloopbackoff", "image-pull-error", "crashloopbackoff-script", "no-fault"];
    let mut total = 0;
    for (seed, failure) in (0_u64..).zip(failures) {
        let quiet = with(failure, "idle", Nothing).await;
        for round in 0..2 {
            let played = with(failure, "idle", ByChance::new(seed * 10 + round, 15)).await;
            let happened = played.clusters[0].faults();
            assert_eq!(played.outcomes(), quiet.outcomes(), "{failure}, seed {}: {happened:#?}", seed * 10 + round);
            played.assert_clean(0).await;
            assert_eq!(
                counted(&played.clusters[0].effects()),
                counted(&quiet.clusters[0].effects()),
                "{failure}: {happened:#?}"
            );
            total += happened.len();
        }
    }
    println!("{total} faults endured in {} cases", failures.len() * 2);
}

/// Nothing was made twice.
fn once_each(played: &Played, happened: &[String]) {
    for (what, times) in counted(&played.clusters[0].effects()) {
        assert!(times == 1 || !what.starts_with("POST"), "{what} took effect {times} times: {happened:#?}");
    }
}
