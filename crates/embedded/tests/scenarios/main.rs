//! Recorded scenarios of a real cluster, replayed in the embedded one: the same writes at the same times must lead to
//! the same statuses, restarts, reasons, conditions and events, at about the same times.

mod cluster;
mod compare;
mod recording;
mod replay;
mod timeline;

use recording::Recording;

/// What is replayed, and what in it cannot be compared.
const SCENARIOS: &[&str] = &[
    "crash-exit-1",
    "crash-deployment",
    "oom-killed",
    "image-pull-error",
    "rollout-good",
    "rollout-stuck",
    "scale-zero",
    "bad-command",
    "pod-delete-grace",
    "image-invalid-name",
    "create-container-config-error",
    "unschedulable-cpu",
    "init-crash",
    "init-hang",
    "liveness-fail",
    "readiness-fail",
    "image-pull-never",
    "run-as-non-root",
    "secret-volume-missing",
    "configmap-volume-missing",
    "restart-never",
    "startup-probe-fail",
    "liveness-http-404",
    "sidecar",
    "service-selector-mismatch",
    "service-target-port-wrong",
    "deployment-recreate",
    "node-selector-mismatch",
    "hostport-clash",
    "anti-affinity",
    "pvc-missing",
    "job-complete",
    "job-failed",
    "job-failed-onfailure",
    "statefulset-ordinal-fail",
    "daemonset",
    "cordon-pending",
    "cronjob",
    "eviction-pdb",
    "finalizer-stuck",
    "hpa-no-metrics",
    "limit-range-violation",
    "namespace-deletion",
    "node-drained",
    "node-not-ready",
    "pod-on-unknown-node",
    "preemption",
    "psa-restricted",
    "pvc-storageclass-missing",
    "quota-exceeded",
    "service-account-missing",
    "taint-no-toleration",
    "topology-spread",
    "webhook-failing",
];

/// One line of `ignored.txt`.
struct Ignored {
    scenario: &'static str,
    words: &'static str,
    why: &'static str,
}

/// What is left out, and why.
fn ignored() -> Vec<Ignored> {
    let lines = include_str!("ignored.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.split(" | ");
            let mut part = || parts.next().expect("scenario | words | why");
            Ignored { scenario: part(), words: part(), why: part() }
        })
        .collect()
}

/// A recording is one draw of what is left to chance (jitter of waits, the phase of probes): one of these clusters must
/// show the same.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=8;

/// The differences that count, and why others do not.
fn differences(recording: &Recording, replayed: &timeline::Seen) -> (Vec<String>, Vec<&'static str>) {
    let mut reasons = Vec::new();
    let mut differences = compare::compare(&recording.seen, replayed);
    for Ignored { scenario, words, why } in ignored() {
        let before = differences.len();
        if scenario == "*" || scenario == recording.name {
            differences.retain(|difference| !difference.contains(words));
        }
        if differences.len() < before {
            reasons.push(why);
        }
    }
    (differences, reasons)
}

/// The differences of the cluster that comes closest.
fn closest(recording: &Recording) -> (Vec<String>, Vec<&'static str>) {
    let mut best: Option<(Vec<String>, Vec<&'static str>)> = None;
    for seed in SEEDS {
        let found = differences(recording, &runtime().block_on(replay::replay(recording, seed)));
        if best.as_ref().is_none_or(|(best, _)| found.0.len() < best.len()) {
            best = Some(found);
        }
        if best.as_ref().is_some_and(|(best, _)| best.is_empty()) {
            break;
        }
    }
    best.unwrap_or_default()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn recorded_scenarios_replay() {
    let only = std::env::var("SCENARIO").ok();
    let mut failed = Vec::new();
    println!("{:<32} {:>7} {:>8}  result", "scenario", "length", "objects");
    for name in SCENARIOS.iter().filter(|name| only.as_deref().is_none_or(|only| only == **name)) {
        let recording = Recording::read(name);
        let (differences, reasons) = closest(&recording);
        let result = match (differences.len(), reasons.as_slice()) {
            (0, []) => "replays".to_owned(),
            (0, reasons) => format!("replays, but for: {}", reasons.join("; ")),
            (count, _) => format!("{count} differences"),
        };
        println!("{name:<32} {:>6.0}s {:>8}  {result}", recording.end, recording.seen.pods.len());
        for difference in &differences {
            println!("    {difference}");
        }
        if !differences.is_empty() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "these scenarios do not replay: {failed:?}");
}

#[test]
fn a_cluster_is_deterministic() {
    let recording = Recording::read("crash-exit-1");
    let first = runtime().block_on(replay::replay(&recording, 11));
    let second = runtime().block_on(replay::replay(&recording, 11));
    assert!(compare::compare(&first, &second).is_empty());
}

#[test]
fn perturbed_recordings_fail() {
    for (name, what, perturb) in recording::PERTURBATIONS {
        let mut recording = Recording::read(name);
        perturb(&mut recording.seen);
        assert!(!closest(&recording).0.is_empty(), "{name} with {what} should not have matched");
    }
}

/// Each recording, changed in three ways, matches none of the clusters.
#[test]
fn each_perturbed_recording_fails() {
    let mut missed = Vec::new();
    for name in SCENARIOS {
        let recording = Recording::read(name);
        let replays: Vec<_> = SEEDS.map(|seed| runtime().block_on(replay::replay(&recording, seed))).collect();
        for (what, perturb) in recording::EVERYWHERE {
            let mut perturbed = recording.clone();
            if perturb(&mut perturbed.seen) && replays.iter().any(|seen| differences(&perturbed, seen).0.is_empty()) {
                missed.push(format!("{name} with {what}"));
            }
        }
    }
    assert!(missed.is_empty(), "these should not have matched: {missed:#?}");
}
