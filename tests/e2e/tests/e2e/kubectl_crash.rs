//! A crashing pod on `cluster up`, looked at with kubectl: states and pace as on a real node.

use std::time::{Duration, Instant};

use e2e::{Cluster, Kubectl, wait_until};
use serde_json::Value;

/// Restarts, and when each was first seen, in seconds since the pod ran for the first time.
fn watch_restarts(kubectl: &Kubectl, for_: Duration) -> Vec<f64> {
    let pod = || kubectl.json(&["get", "pod", "x"]);
    let status = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
    wait_until("the first start", Duration::from_secs(10), || {
        let status = status(&pod());
        !status["state"]["running"].is_null() || !status["state"]["terminated"].is_null()
    });
    let start = Instant::now();
    let mut seen: Vec<f64> = Vec::new();
    while start.elapsed() < for_ {
        let count = status(&pod())["restartCount"].as_u64().unwrap_or(0) as usize;
        while seen.len() < count {
            seen.push(start.elapsed().as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    seen
}

#[test]
fn a_pod_that_crashes_restarts_at_the_pace_of_a_real_node() {
    let Some((cluster, kubectl)) = Cluster::with_kubectl("a crashing pod") else { return };
    let text = kubectl.ok(&["run", "x", "--image=busybox", "--restart=Always", "--", "/bin/sh", "-c", "exit 1"]);
    assert_eq!(text, "pod/x created");

    // Recorded: the first restart at once, the second about 12 s after the second crash, the third 27 s after that.
    let restarts = watch_restarts(&kubectl, Duration::from_secs(28));
    assert_eq!(restarts.len(), 2, "two restarts in 28 s: {restarts:?}");
    assert!(restarts[0] < 5.0, "the first restart comes at once: {restarts:?}");
    assert!((8.0..22.0).contains(&restarts[1]), "the second after the first back-off: {restarts:?}");

    let row = kubectl.ok(&["get", "pod", "x", "--no-headers"]);
    let columns: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(columns[..2], ["x", "0/1"], "{row}");
    assert!(["Error", "CrashLoopBackOff"].contains(&columns[2]), "{row}");
    assert!(columns[3] == "2" && row.contains("s ago)"), "RESTARTS reads `2 (… ago)`: {row}");

    let pod = kubectl.json(&["get", "pod", "x"]);
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1, "{status}");
    assert_eq!(status["lastState"]["terminated"]["reason"], "Error", "{status}");
    check_events(&kubectl);
    check_describe(&kubectl);
    assert_eq!(kubectl.ok(&["logs", "x"]), "", "exit 1 says nothing");
    cluster.interrupt();
}

fn check_events(kubectl: &Kubectl) {
    let back_off = kubectl.json(&["get", "events", "--field-selector", "reason=BackOff"]);
    let event = &back_off["items"][0];
    let message = event["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("Back-off restarting failed container x in pod x_default("), "{back_off:#}");
    assert_eq!(event["type"], "Warning");
    assert!(event["count"].as_u64() >= Some(2), "the same event counts up: {event}");
    let all = kubectl.ok(&["get", "events"]);
    for word in ["LAST SEEN", "Scheduled", "Pulled", "Created", "Started", "BackOff", "pod/x"] {
        assert!(all.contains(word), "{word} in\n{all}");
    }
    let by_command = kubectl.ok(&["events", "--for", "pod/x"]);
    assert!(by_command.contains("Back-off restarting failed container"), "{by_command}");
}

fn check_describe(kubectl: &Kubectl) {
    let text = kubectl.ok(&["describe", "pod", "x"]);
    for line in
        ["Restart Count:  2", "Exit Code:    1", "Last State:", "Back-off restarting failed container", "Image:  "]
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let found = text.lines().any(|l| l.split_whitespace().collect::<Vec<_>>().join(" ").contains(&words.join(" ")));
        assert!(found, "{line} in\n{text}");
    }
}
