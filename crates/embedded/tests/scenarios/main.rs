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

/// Differences that are known, and why they are there.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "image-pull-error",
        "event only recorded: Pod Normal ",
        "25 Events about one object at once are the most, and 25 were recorded: one retry more drops the last",
    ),
    (
        "rollout-stuck",
        "Failed: Error: ImagePullBackOff",
        "of two Events about one object at one instant the server keeps one",
    ),
    (
        "restart-never",
        "Killing: Stopping container app",
        "of two Events about one object at one instant the server keeps one",
    ),
];

/// A recording is one draw of what is left to chance (jitter of waits, the phase of probes): one of these clusters must
/// show the same.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=8;

/// The differences of the cluster that comes closest.
fn closest(recording: &Recording) -> Vec<String> {
    let mut best: Option<Vec<String>> = None;
    for seed in SEEDS {
        let replayed = runtime().block_on(replay::replay(recording, seed));
        let differences = compare::compare(&recording.seen, &replayed);
        if best.as_ref().is_none_or(|best| differences.len() < best.len()) {
            best = Some(differences);
        }
        if best.as_ref().is_some_and(Vec::is_empty) {
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
        let mut differences = closest(&recording);
        let known =
            KNOWN.iter().find(|(scenario, words, _)| scenario == name && differences.iter().any(|d| d.contains(words)));
        if let Some((_, words, _)) = known {
            differences.retain(|difference| !difference.contains(words));
        }
        let result = match (differences.len(), known) {
            (0, None) => "replays".to_owned(),
            (0, Some((_, _, why))) => format!("replays, but for: {why}"),
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
        assert!(!closest(&recording).is_empty(), "{name} with {what} should not have matched");
    }
}
