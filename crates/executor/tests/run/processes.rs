//! `process::run`: how processes end, and that nobody is left.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use executor::process::{Exit, ProcessResult, ProcessSpec, Stream, run};
use tokio::sync::mpsc;

use crate::{STAGE, alive, assert_gone, later};

/// A shell script.
pub(crate) fn script(text: &str) -> ProcessSpec {
    let path = std::env::var("PATH").expect("PATH");
    let env = BTreeMap::from([("PATH".to_owned(), path)]);
    ProcessSpec {
        args: vec!["-c".into(), text.into()],
        env,
        grace: Duration::from_millis(200),
        ..ProcessSpec::new(STAGE, "/bin/sh", "/", later())
    }
}

pub(crate) fn first_word(result: &ProcessResult) -> String {
    result.stdout.split_whitespace().next().expect("a process id on standard output").to_owned()
}

/// Lines as they come.
pub(crate) fn listened(mut spec: ProcessSpec) -> (ProcessSpec, mpsc::UnboundedReceiver<String>) {
    let (sender, lines) = mpsc::unbounded_channel();
    spec.on_line = Arc::new(move |_, line: &str| {
        drop(sender.send(line.to_owned()));
        None
    });
    (spec, lines)
}

#[tokio::test]
async fn processes_end_by_themselves() {
    let result = run(script("echo out; echo err >&2; exit 3"), pending()).await;
    assert_eq!(result.exit, Exit::Code(3));
    assert_eq!((result.stdout.as_str(), result.stderr.as_str(), result.strays), ("out\n", "err\n", 0));
    assert_eq!(run(script("kill -9 $$"), pending()).await.exit, Exit::Signal(9));
    let absent = ProcessSpec { program: "/no/such/program".into(), ..script("") };
    assert!(matches!(run(absent, pending()).await.exit, Exit::NotStarted(why) if why.contains("/no/such/program")));
    let nowhere = ProcessSpec { cwd: "/no/such/folder".into(), ..script("") };
    assert!(matches!(run(nowhere, pending()).await.exit, Exit::NotStarted(_)));
}

#[tokio::test]
async fn nothing_is_inherited() {
    let mut spec = script("/usr/bin/env");
    spec.env.insert("A".into(), "b".into());
    let result = run(spec, pending()).await;
    let mut names: Vec<&str> = result.stdout.lines().filter_map(|l| Some(l.split_once('=')?.0)).collect();
    // The shell makes some of its own.
    names.retain(|n| !matches!(*n, "PWD" | "OLDPWD" | "SHLVL" | "_"));
    names.sort_unstable();
    assert_eq!(names, ["A", "PATH"]);
}

#[tokio::test]
async fn a_hang_ends_at_the_deadline() {
    let spec = ProcessSpec { deadline: Instant::now() + Duration::from_millis(150), ..script("echo $$; sleep 1000") };
    let started = Instant::now();
    let result = run(spec, pending()).await;
    assert_eq!(result.exit, Exit::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_gone(&first_word(&result));
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed() {
    let text = "trap '' TERM; echo $$; while :; do sleep 1000; done";
    let spec = ProcessSpec { deadline: Instant::now() + Duration::from_millis(300), ..script(text) };
    let result = run(spec, pending()).await;
    assert_eq!(result.exit, Exit::TimedOut);
    assert_gone(&first_word(&result));
}

#[tokio::test]
async fn who_heeds_sigterm_has_its_last_words() {
    let text = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let (spec, mut lines) = listened(ProcessSpec { grace: Duration::from_secs(30), ..script(text) });
    let ready = async move {
        assert_eq!(lines.recv().await.as_deref(), Some("ready"));
    };
    let result = run(spec, ready).await;
    assert_eq!(result.exit, Exit::Cancelled);
    assert!(result.stdout.ends_with("bye\n"), "{}", result.stdout);
}

#[tokio::test]
async fn children_in_the_background_end_too() {
    // They hold standard output open: waiting for its end would hang.
    let result = run(script("sleep 1000 & echo $!; exit 0"), pending()).await;
    assert_eq!(result.exit, Exit::Code(0));
    assert_gone(&first_word(&result));
}

#[tokio::test]
async fn children_in_sessions_of_their_own_end_too() {
    let text = "setsid sh -c 'echo $$; setsid sleep 1000 & echo $!; wait' & read line </dev/null; sleep 0.3; exit 0";
    let result = run(script(text), pending()).await;
    assert_eq!(result.exit, Exit::Code(0));
    assert!(result.strays >= 1, "{result:?}");
    let pids: Vec<&str> = result.stdout.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "{}", result.stdout);
    pids.iter().for_each(|pid| assert_gone(pid));
}

#[tokio::test]
async fn descendants_that_clean_their_environment_are_found_by_their_parents() {
    // The parent lives, so the line of descent is there.
    let text = "setsid env -i /bin/sh -c 'echo $$; exec sleep 1000' & wait";
    let (spec, mut lines) = listened(script(text));
    let (told, pid) = tokio::sync::oneshot::channel();
    let started = async move {
        let _ = told.send(lines.recv().await.expect("a process id"));
    };
    let result = run(spec, started).await;
    assert_eq!(result.exit, Exit::Cancelled);
    assert_gone(pid.await.expect("a process id").trim());
}

#[tokio::test]
async fn other_processes_are_left_alone() {
    let mut bystander = tokio::process::Command::new("sleep").arg("1000").kill_on_drop(true).spawn().expect("sleep");
    let pid = bystander.id().expect("a process id").to_string();
    run(script("setsid sleep 1000 & exit 0"), pending()).await;
    assert!(alive(&pid));
    bystander.kill().await.expect("killed");
}

#[tokio::test]
async fn dropping_the_future_kills_the_tree() {
    let (spec, mut lines) = listened(script("setsid sleep 1000 & echo $!; echo $$; wait"));
    let running = tokio::spawn(run(spec, pending()));
    let pids = [lines.recv().await.expect("a child"), lines.recv().await.expect("the shell")];
    running.abort();
    assert!(running.await.expect_err("aborted").is_cancelled());
    pids.iter().for_each(|pid| assert_gone(pid));
}

#[tokio::test]
async fn cancelled_before_it_began() {
    let marker = tempfile::tempdir().expect("a folder");
    let file = marker.path().join("ran");
    let spec = script(&format!("touch {}", file.display()));
    assert_eq!(run(spec, std::future::ready(())).await.exit, Exit::Cancelled);
    assert!(!file.exists());
}

#[tokio::test]
async fn a_flood_is_cut_and_does_not_hang() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let count = Arc::new(Mutex::new(0_u64));
    let counted = Arc::clone(&count);
    let spec = ProcessSpec {
        stdout_log: Some(log.clone()),
        max_log: 10_000,
        keep_output: 1000,
        on_line: Arc::new(move |_, _| {
            *counted.lock().expect("lock") += 1;
            None
        }),
        ..script("yes 0123456789 | head -c 30000000; echo; echo end")
    };
    let result = run(spec, pending()).await;
    assert_eq!(result.exit, Exit::Code(0));
    assert!(result.stdout_cut && result.stdout.len() <= 1000 && result.stdout.ends_with("end\n"));
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(log.len() < 11_000 && log.ends_with("its limit]\n"), "{} bytes", log.len());
    assert!(*count.lock().expect("lock") < 1000);
}

#[tokio::test]
async fn a_slow_reader_slows_the_writer_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let done = folder.path().join("done");
    let seen = Arc::new(Mutex::new(0_u64));
    let (room, rooms) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::clone(&seen));
    let gate = Arc::clone(&room);
    let spec = ProcessSpec {
        on_line: Arc::new(move |_, line: &str| {
            let mut seen = rooms.lock().expect("lock");
            assert_eq!(line, seen.to_string(), "in order");
            *seen += 1;
            let gate = Arc::clone(&gate);
            Some(Box::pin(async move { gate.acquire().await.expect("open").forget() }))
        }),
        ..script(&format!("seq 0 99999; touch {}", done.display()))
    };
    let running = tokio::spawn(run(spec, pending()));
    while *seen.lock().expect("lock") == 0 {
        tokio::task::yield_now().await;
    }
    // 600 kB do not fit into a pipe: as long as the first line is not taken, the script cannot come to its end.
    assert_eq!(*seen.lock().expect("lock"), 1, "the second is not read before the first is taken");
    assert!(!done.exists(), "the writer waits");
    room.add_permits(100_000);
    assert_eq!(running.await.expect("no panic").exit, Exit::Code(0));
    assert_eq!(*seen.lock().expect("lock"), 100_000);
    assert!(done.exists());
}

#[tokio::test]
async fn one_endless_line_is_cut() {
    let spec = script("head -c 5000000 /dev/zero | tr '\\0' x");
    let (spec, mut lines) = listened(ProcessSpec { keep_output: 10_000_000, ..spec });
    let result = run(spec, pending()).await;
    assert!(result.stdout.len() < 1_100_000 && result.stdout.ends_with("[line cut]\n"));
    assert!(lines.recv().await.is_some_and(|l| l.len() < 20_000));
}

#[tokio::test]
async fn input_is_given_and_need_not_be_read() {
    let read = ProcessSpec { stdin: Some(b"question".to_vec()), ..script("cat") };
    assert_eq!(run(read, pending()).await.stdout, "question\n");
    let ignored = ProcessSpec { stdin: Some(vec![b'x'; 10_000_000]), ..script("exit 0") };
    assert_eq!(run(ignored, pending()).await.exit, Exit::Code(0));
    assert_eq!(run(script("cat"), pending()).await.exit, Exit::Code(0), "no input is an empty one");
}

#[tokio::test]
async fn secrets_reach_no_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let seen = Arc::new(Mutex::new(String::new()));
    let shown = Arc::clone(&seen);
    let spec = ProcessSpec {
        secrets: vec!["sk-very-secret".into()],
        stderr_log: Some(log.clone()),
        on_line: Arc::new(move |stream, line: &str| {
            assert_eq!(stream, Stream::Stderr);
            shown.lock().expect("lock").push_str(line);
            None
        }),
        ..script("echo key=sk-very-secret >&2")
    };
    let result = run(spec, pending()).await;
    for text in
        [result.stderr, std::fs::read_to_string(Path::new(&log)).expect("a log"), seen.lock().expect("lock").clone()]
    {
        assert_eq!(text.trim(), "key=[redacted]");
    }
}
