//! Which cases go on at a time, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Event, EventKind, Outcome};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::fleet::Fleet;
use crate::stage::Production;

const TWELVE: &str = "\
name: twelve
clusters: [{id: a, provisioner: embedded}, {id: b, provisioner: embedded}, {id: c, provisioner: embedded}]
failures: [no-fault, oom-killed]
agents: [idle, {id: idle, name: idler}]
objective: diagnose
";

fn twelve() -> Vec<String> {
    let case = |cluster, failure| ["idle", "idler"].map(|agent| format!("{cluster}--{failure}--{agent}"));
    ["a", "b", "c"].iter().flat_map(|c| ["no-fault", "oom-killed"].iter().flat_map(move |f| case(c, f))).collect()
}

/// The cases at work after each event that begins or ends one.
fn at_work(events: &[Event]) -> Vec<BTreeSet<String>> {
    let mut running = BTreeSet::new();
    let mut over_time = Vec::new();
    for event in events {
        let Some(case) = event.case.as_ref().map(ToString::to_string) else { continue };
        match event.event {
            EventKind::CaseStarted { .. } => assert!(running.insert(case.clone()), "{case} began twice"),
            EventKind::CaseFinished { .. } => assert!(running.remove(&case), "{case} ended without having begun"),
            _ => continue,
        }
        over_time.push(running.clone());
    }
    over_time
}

fn clusters(cases: &BTreeSet<String>) -> BTreeSet<&str> {
    cases.iter().filter_map(|case| case.split("--").next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_after_another_in_expansion_order() {
    let run = Production::of(TWELVE).perform().await;
    let started = run.events.iter().filter(|event| matches!(event.event, EventKind::CaseStarted { .. }));
    assert_eq!(started.map(|event| event.case.as_ref().unwrap().to_string()).collect::<Vec<_>>(), twelve());
    assert!(at_work(&run.events).iter().all(|cases| cases.len() <= 1));
    let finished = run.events.iter().filter_map(|event| match event.event {
        EventKind::CaseFinished { finished, total, .. } => Some((finished, total)),
        _ => None,
    });
    assert_eq!(finished.collect::<Vec<_>>(), (1..=12).map(|number| (number, 12)).collect::<Vec<_>>());
    let ids: Vec<String> = run.document.cases.iter().map(|case| case.id.to_string()).collect();
    assert_eq!(ids, twelve());
    assert!(run.document.cases.iter().all(|case| case.outcome == Outcome::Failed), "{:?}", run.outcomes());
}

/// Clusters that take a random time to be made or cannot be, so that cases end in any order.
#[tokio::test(flavor = "multi_thread")]
async fn never_more_clusters_or_cases_at_work_than_allowed() {
    let mut most = BTreeMap::new();
    for schedule in 0..60_u64 {
        let (most_clusters, most_cases) = (1 + schedule % 3, 1 + (schedule / 3) % 3);
        let fleet = Arc::new(Fleet {
            // Seldom a whole case, which takes longer.
            making: Box::new(move |number| {
                let mut dice = StdRng::seed_from_u64(schedule << 8 | number as u64);
                std::thread::sleep(Duration::from_micros(dice.random_range(0..3_000)));
                if dice.random_ratio(1, 40) { Ok(Duration::from_millis(1)) } else { Err("not today") }
            }),
            ..Fleet::new(false)
        });
        let matrix = format!(
            "{TWELVE}execution: {{parallel_clusters: {most_clusters}, parallel_tests_per_cluster: {most_cases}}}\n"
        );
        let mut production = Production::of(matrix);
        let found = Arc::clone(&fleet);
        production.clusters = Box::new(move |_| Ok(found.clone()));
        let run = production.perform().await;
        assert_eq!(run.document.cases.len(), 12);
        for cases in at_work(&run.events) {
            let clusters = clusters(&cases);
            assert!(clusters.len() as u64 <= most_clusters, "{cases:?}");
            for cluster in &clusters {
                let here = cases.iter().filter(|case| case.split("--").next() == Some(cluster)).count() as u64;
                assert!(here <= most_cases, "{cases:?}");
            }
            let seen: &mut usize = most.entry((most_clusters, most_cases)).or_default();
            *seen = cases.len().max(*seen);
        }
        fleet.assert_gone().await;
    }
    assert_eq!(most[&(1, 1)], 1);
    assert!(most[&(3, 3)] > 3, "nothing went on at the same time: {most:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_share_a_cluster_that_is_kept_and_leave_each_other_alone() {
    let fleet = Arc::new(Fleet::new(true));
    let mut production = Production::of(
        "name: shared\nclusters: [{id: a, provisioner: embedded}]\nfailures: [no-fault, image-pull-error]\n\
         agents: [triage]\nobjective: diagnose\nexecution: {parallel_tests_per_cluster: 3, repeats: 3}\n",
    );
    let found = Arc::clone(&fleet);
    production.clusters = Box::new(move |_| Ok(found.clone()));
    let run = production.perform().await;
    assert!(run.document.cases.iter().all(|case| case.outcome == Outcome::Passed), "{:?}", run.outcomes());
    assert!(run.document.cases.iter().all(|case| case.leaks.is_empty()));
    assert!(at_work(&run.events).iter().any(|cases| cases.len() == 3));
    assert_eq!(fleet.seen.made.load(Ordering::SeqCst), 1);
    assert_eq!(fleet.seen.removed.load(Ordering::SeqCst), 1);
    assert_eq!(fleet.seen.asked.load(Ordering::SeqCst), 5, "before each case but the one that it was made for");
    fleet.assert_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_failure_has_its_cluster_alone() {
    let fleet = Arc::new(Fleet::new(true));
    let mut production = Production::of(
        "name: exclusive\nclusters: [{id: a, provisioner: embedded}]\nfailures: [no-fault, alone, {id: no-fault, name: \
         more}]\nagents: [idle]\nobjective: diagnose\nexecution: {parallel_tests_per_cluster: 4, repeats: 2}\n",
    );
    production.failures = vec![("alone", format!("exclusive: true\n{SCALED}"), "")];
    let found = Arc::clone(&fleet);
    production.clusters = Box::new(move |_| Ok(found.clone()));
    let run = production.perform().await;
    assert_eq!(run.document.cases.len(), 6);
    let alone: Vec<_> = run.document.cases.iter().filter(|case| case.failure.as_str() == "alone").collect();
    assert!(alone.iter().all(|case| case.outcome == Outcome::Failed), "{:?}", run.outcomes());
    for cases in at_work(&run.events) {
        assert!(cases.len() == 1 || cases.iter().all(|case| !case.contains("--alone--")), "{cases:?}");
    }
    fleet.assert_gone().await;
}

/// A failure that shows at once.
const SCALED: &str = "\
name: Scaled away
description: Scales a Deployment to nothing.
expected_duration: 10s
workload: {manifests: [workload.yaml]}
capabilities: {rules: [{apiGroups: [apps], resources: [deployments], verbs: [get, patch]}]}
induce: [{patch: {apiVersion: apps/v1, kind: Deployment, name: checkout}, with: {spec: {replicas: 0}}}]
symptoms:
  - {name: not-wanted, select: {apiVersion: apps/v1, kind: Deployment, name: checkout}, any: object.spec.replicas == 0}
health:
  - name: available
    select: {apiVersion: apps/v1, kind: Deployment, name: checkout}
    all: object.status.availableReplicas >= 1
ground_truth: {fault_type: replicas, root_causes: [{apiVersion: apps/v1, kind: Deployment, name: checkout}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_falls_ill_is_replaced_and_one_that_cannot_be_made_is_given_up() {
    let fleet = Arc::new(Fleet { fit: Box::new(|number| number != 1), ..Fleet::new(true) });
    let hopeless = Arc::new(Fleet { making: Box::new(|_| Err("no room")), ..Fleet::new(true) });
    let mut production = Production::of(
        "name: ill\nclusters: [{id: bad, provisioner: embedded}, {id: good, provisioner: embedded, template: x}]\n\
         failures: [no-fault]\nagents: [triage]\nobjective: diagnose\nexecution: {repeats: 5}\n",
    );
    let (good, bad) = (Arc::clone(&fleet), Arc::clone(&hopeless));
    production.clusters =
        Box::new(move |source| Ok(if source.template.is_some() { good.clone() } else { bad.clone() }));
    let run = production.perform().await;
    let outcomes = run.outcomes();
    for (number, outcome) in outcomes.iter().enumerate().take(5) {
        let given_up = outcome.contains("3 times in a row, and is not tried any more");
        assert!(outcome.starts_with("error infrastructure") && outcome.contains("no room"), "{outcome}");
        assert_eq!(given_up, number >= 3, "{outcome}");
    }
    assert!(outcomes[5..].iter().all(|outcome| outcome.starts_with("passed")), "{outcomes:?}");
    assert_eq!(hopeless.seen.made.load(Ordering::SeqCst), 3);
    assert_eq!(fleet.seen.made.load(Ordering::SeqCst), 2, "the second question found it ill");
    assert_eq!(fleet.seen.removed.load(Ordering::SeqCst), 2);
    fleet.assert_gone().await;
    hopeless.assert_gone().await;
}
