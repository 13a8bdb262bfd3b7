//! `live_test::run`: scripts of the old kind, and such that crash, hang, print rubbish, or leave children behind.

use std::fs;
use std::future::pending;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use executor::live_test::{LiveTestResult, LiveTestRun, run};
use executor::{Exit, LiveStatus};

use crate::agents::KUBECONFIG;
use crate::{STAGE, assert_gone, later};

struct Ran {
    result: LiveTestResult,
    lines: Vec<String>,
    folder: tempfile::TempDir,
}

async fn ran(script: &str, deadline: Instant) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run-live-test.sh");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&lines);
    let live = LiveTestRun {
        script: &path,
        agent: "robot",
        test_type: "oom-killed",
        args: &["--debug".to_owned()],
        kubeconfig: KUBECONFIG,
        namespace: "c-1",
        pod_name: "pod-1",
        harness_exe: Path::new(STAGE),
        stdout_log: folder.path().join("stdout"),
        stderr_log: folder.path().join("stderr"),
        deadline,
        on_line: Arc::new(move |_, line: &str| {
            let mut seen = seen.lock().expect("lock");
            if seen.len() < 100 {
                seen.push(line.to_owned());
            }
            None
        }),
    };
    let result = run(live, pending()).await;
    let lines = lines.lock().expect("lock").clone();
    Ran { result, lines, folder }
}

fn status(ran: &Ran) -> Option<&str> {
    ran.result.report.as_ref().map(|report| report.status.as_str())
}

#[tokio::test]
async fn a_script_is_wrapped_as_it_is() {
    let script = r#"
        echo "$@"; echo "$HOME"; echo "$TEST_NAMESPACE $TEST_POD_NAME"; cat "$KUBECONFIG"; stat -c %a "$KUBECONFIG"
        cat "$HARNESS_GRANTS"
        echo '{"test_id": "x", "status": "PASS", "events": {"failure_induced": true}}'; echo 'namespace deleted'
    "#;
    let ran = ran(script, later()).await;
    assert_eq!((ran.result.exit.clone(), status(&ran)), (Exit::Code(0), Some("PASS")));
    let home = std::env::var("HOME").expect("HOME");
    assert_eq!(ran.lines[..3], ["robot oom-killed --json --debug".to_owned(), home, "c-1 pod-1".to_owned()]);
    let all = ran.lines.join("\n");
    assert!(all.contains("600") && all.contains("clusters:") && !all.contains("0123456789abcdef"), "{all}");
    let isolation = ran.result.isolation;
    assert!(isolation.process_tree && !isolation.home && !isolation.environment && !isolation.landlock);
    assert_eq!(ran.result.report.and_then(|report| report.failure_induced), Some(true));
}

#[tokio::test]
async fn a_script_that_crashes_babbles_or_says_nothing_leaves_no_report() {
    for script in [
        "exit 3",
        "kill -9 $$",
        "head -c 3000000 /dev/urandom",
        "yes '{' | head -c 3000000",
        "yes '{\"status\":' | tr -d '\\n' | head -c 3000000",
        "echo '{\"status\": \"PASS\"'",
        "printf '\\000\\001{\"status\": 1}'",
        "echo status: PASS >&2",
    ] {
        let ran = ran(script, later()).await;
        assert_eq!(status(&ran), None, "{script}");
    }
}

#[tokio::test]
async fn memory_stays_flat_while_a_script_floods() {
    let script = "yes 'nothing of interest' | head -c 80000000; echo 'Status: NO_DETECTION'";
    let ran = ran(script, later()).await;
    assert_eq!(status(&ran), Some("NO_DETECTION"), "what comes last is kept");
    let log = fs::metadata(ran.folder.path().join("stdout")).expect("a log").len();
    assert!(log <= 65 * 1024 * 1024, "{log} bytes of log");
}

#[tokio::test]
async fn what_a_hanging_script_has_reported_counts() {
    let soon = || Instant::now() + Duration::from_millis(500);
    let hung = ran("echo $$; exec sleep 1000", soon()).await;
    assert_eq!((hung.result.exit.clone(), status(&hung)), (Exit::TimedOut, None));
    assert_gone(&hung.lines[0]);
    let after = ran("echo 'Status: PASS'; exec sleep 1000", soon()).await;
    assert_eq!((after.result.exit.clone(), status(&after)), (Exit::TimedOut, Some("PASS")));
}

#[tokio::test]
async fn children_end_with_their_script() {
    let script =
        "setsid sh -c 'echo $$; trap \"\" TERM HUP; sleep 1000' & sleep 0.3; echo '{\"status\": \"FAILED\"}'; exit 0";
    let ran = ran(script, later()).await;
    assert_eq!(ran.result.report.as_ref().map(|report| report.status.clone()), Some(LiveStatus::Failed));
    assert!(ran.result.isolation.process_tree);
    assert_gone(&ran.lines[0]);
}
