//! Processes that try to get away, to be many, or to fill the disk.

use std::collections::BTreeMap;
use std::future::pending;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use executor::process::{Exit, ProcessResult, ProcessSpec, run};
use executor::{Limits, Sandbox, sandbox_available};

use crate::processes::{first_word, listened, script};
use crate::{STAGE, alive, assert_gone, later};

/// Leaves session, parents, environment and standard streams behind; prints its process id before that. `$1` runs on.
const DAEMON: &str = r#"
    daemon() {
        setsid env -i /bin/sh -c '(/bin/sh -c "echo \$\$; exec >&- 2>&- <&-; exec sleep 1000" &) ; exit 0' &
        wait $!
    }
"#;

#[tokio::test]
async fn daemons_end_with_their_agent() {
    let result = run(script(&format!("{DAEMON} daemon; daemon; sleep 0.2; exit 5")), pending()).await;
    assert_eq!(result.exit, Exit::Code(5));
    let pids: Vec<&str> = result.stdout.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "{result:?}");
    pids.iter().for_each(|pid| assert!(!alive(pid), "{pid} is gone when the result is there"));
    assert_eq!(result.strays, 2);
    assert!(result.contained);
}

#[tokio::test]
async fn daemons_end_when_their_agent_is_cancelled() {
    let (spec, mut lines) = listened(script(&format!("{DAEMON} trap '' TERM; daemon; while :; do sleep 1000; done")));
    let (told, pid) = tokio::sync::oneshot::channel();
    let started = async move {
        let _ = told.send(lines.recv().await.expect("a process id"));
    };
    let result = run(spec, started).await;
    assert_eq!(result.exit, Exit::Cancelled);
    assert!(!alive(&pid.await.expect("a process id")));
}

#[tokio::test]
async fn a_killed_harness_takes_everything_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("place");
    std::fs::create_dir(&place).expect("made");
    std::fs::write(place.join("key"), "a copy of the caller's").expect("written");
    let mut harness = Command::new(STAGE)
        .args(["harness", &place.display().to_string()])
        .arg(format!("{DAEMON} trap '' TERM HUP; daemon; echo $$; while :; do sleep 1000; done"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a harness");
    let lines = BufReader::new(harness.stdout.take().expect("piped")).lines();
    let pids: Vec<String> = lines.take(2).map(|line| line.expect("a line")).collect();
    assert!(pids.iter().all(|pid| alive(pid)), "{pids:?}");
    harness.kill().expect("killed");
    harness.wait().expect("reaped");
    pids.iter().for_each(|pid| assert_gone(pid));
    let give_up = later();
    while place.exists() {
        assert!(Instant::now() < give_up, "what it was given is still there");
        std::thread::yield_now();
    }
}

/// Starts processes one after the other, `deep` times each of which starts the next: without end for whom it bites, but
/// never more than 3000, and those end by themselves: the test must not harm a machine where it fails.
const CHAIN: &str = r#"link() { test "$1" -gt 0 || return; sleep 20 & (link $(($1 - 1))) & wait; }"#;

#[tokio::test]
async fn who_multiplies_is_ended_and_leaves_nobody() {
    let limits = Limits { processes: 100, ..Limits::default() };
    // One parent, each child the parent of the next, each the parent of two, and each in a session of its own.
    for bomb in [
        "i=0; while [ $i -lt 3000 ]; do sleep 20 & i=$((i+1)); done; wait".to_owned(),
        format!("{CHAIN}; link 1000"),
        "double() { test $1 -gt 0 || { sleep 20; return; }; double $(($1 - 1)) & double $(($1 - 1)); wait; }; double 10".into(),
        "i=0; while [ $i -lt 1500 ]; do setsid -f sleep 20; i=$((i+1)); done; sleep 20".to_owned(),
    ] {
        let mark = format!("{}-{}", std::process::id(), bomb.len());
        let mut spec = script(&bomb);
        spec.env.insert("MARK".to_owned(), mark.clone());
        spec.limits = limits;
        let result = run(spec, pending()).await;
        assert!(
            matches!(&result.exit, Exit::Capped(why) if why.contains("100 processes")),
            "{bomb}: {:?}",
            result.exit
        );
        assert!(result.contained, "{bomb}");
        assert_eq!(with_mark(&mark), Vec::<String>::new(), "{bomb}");
    }
}

/// The processes in whose environment this stands.
fn with_mark(mark: &str) -> Vec<String> {
    let needle = format!("MARK={mark}");
    let all =
        std::fs::read_dir("/proc").expect("processes").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    all.filter(|id| {
        let environ = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == needle.as_bytes())
    })
    .collect()
}

/// A script whose folder is its own, and counted.
async fn in_place(text: &str, limits: Limits) -> ProcessResult {
    let folder = tempfile::tempdir().expect("a folder");
    let spec =
        ProcessSpec { cwd: folder.path().to_owned(), places: vec![folder.path().to_owned()], limits, ..script(text) };
    run(spec, pending()).await
}

fn capped(result: &ProcessResult) -> &str {
    match &result.exit {
        Exit::Capped(why) => why,
        other => panic!("{other:?}, {}", result.stderr),
    }
}

const MEBI: u64 = 1024 * 1024;

#[tokio::test]
async fn what_fills_the_disk_is_ended() {
    let limits = Limits { total_bytes: 8 * MEBI, file_bytes: 4 * MEBI, ..Limits::default() };
    let many = "i=0; while [ $i -lt 40 ]; do head -c 1000000 /dev/zero > f$i; i=$((i+1)); sleep 0.02; done; sleep 20";
    assert!(capped(&in_place(many, limits).await).contains("8 MiB"));
    let deleted =
        "for i in 1 2 3 4; do eval \"exec $((i+3))>f; rm f; head -c 3000000 /dev/zero >&$((i+3))\"; done; sleep 1000";
    assert!(capped(&in_place(deleted, limits).await).contains("8 MiB"), "deleted files that are open count");
    let large = "exec head -c 5000000 /dev/zero > f";
    assert!(capped(&in_place(large, limits).await).contains("a file of more than 4 MiB"));
    let limits = Limits { files: 100, ..Limits::default() };
    let files = "i=0; while [ $i -lt 200 ]; do : > f$i; i=$((i+1)); done; sleep 1000";
    assert!(capped(&in_place(files, limits).await).contains("100 files"));
    let deep = "i=0; while [ $i -lt 150 ]; do mkdir d; cd d; i=$((i+1)); done; sleep 1000";
    assert!(capped(&in_place(deep, Limits::default()).await).contains("deeper"));
}

#[tokio::test]
async fn what_takes_no_space_does_not_count() {
    let limits = Limits { total_bytes: MEBI, ..Limits::default() };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("big"), vec![1; 2 * 1024 * 1024]).expect("written");
    let text =
        format!("truncate -s 500M sparse; ln -s {0} outside; ln -s {0}/big file; sleep 2.5", folder.path().display());
    assert_eq!(in_place(&text, limits).await.exit, Exit::Code(0), "neither holes nor what links lead to");
}

#[tokio::test]
async fn nobody_outside_can_be_killed() {
    let mut bystander = tokio::process::Command::new("sleep").arg("1000").kill_on_drop(true).spawn().expect("sleep");
    let harness = std::process::id();
    let victim = bystander.id().expect("a process id");
    // The parent of the shell is its supervisor.
    let text =
        format!("kill -9 $PPID {victim} && echo hit; kill -0 {harness} && echo hit; sleep 1000 & kill $!; exit 7");
    let sandbox = Sandbox { read: vec!["/".into()], write: Vec::new() };
    let result = run(ProcessSpec { sandbox: Some(sandbox), ..script(&text) }, pending()).await;
    if !result.landlock {
        return assert!(!sandbox_available());
    }
    assert_eq!((result.exit, result.stdout.as_str()), (Exit::Code(7), ""), "{}", result.stderr);
    assert!(bystander.try_wait().expect("a child").is_none());
    bystander.kill().await.expect("killed");
}

#[tokio::test]
async fn a_killed_supervisor_is_told() {
    // Without a sandbox nothing protects it.
    let result = run(script("sleep 1000 & echo $!; kill -9 $PPID; sleep 1000"), pending()).await;
    assert!(matches!(&result.exit, Exit::Capped(why) if why.contains("supervisor was killed")), "{:?}", result.exit);
    assert!(!result.contained, "nobody can know who got away");
    assert_gone(&first_word(&result));
}

#[tokio::test]
async fn what_is_no_supervisor_is_told() {
    let spec = ProcessSpec { harness_exe: "/bin/true".into(), ..script("exit 0") };
    let result = run(spec, pending()).await;
    assert!(matches!(&result.exit, Exit::NotStarted(why) if why.contains("/bin/true")), "{:?}", result.exit);
}

#[tokio::test]
async fn supervisors_say_nothing_about_their_work() {
    let mut spec =
        script("tr '\\0' ' ' < /proc/$PPID/cmdline; echo; tr '\\0' '\\n' < /proc/$PPID/environ; ls -l /proc/$PPID/cwd");
    spec.env = BTreeMap::from([
        ("PATH".to_owned(), std::env::var("PATH").expect("PATH")),
        ("KEY".into(), "secret-value".into()),
    ]);
    let result = run(spec, pending()).await;
    let lines: Vec<&str> = result.stdout.lines().collect();
    assert_eq!(lines[0], format!("{STAGE} supervise "));
    assert!(lines.len() == 2 && lines[1].ends_with("-> /"), "{lines:?}");
}

#[tokio::test]
async fn limits_and_terminal_are_taken_away() {
    let result = run(script("ulimit -c; ulimit -n; (: < /dev/tty) 2>/dev/null || echo no terminal"), pending()).await;
    let lines: Vec<&str> = result.stdout.lines().collect();
    assert_eq!(lines[0], "0");
    assert!(lines[1].parse::<u64>().expect("a number") <= 8192);
    assert_eq!(lines[2], "no terminal");
}

#[test]
fn arguments_are_handed_over_out_of_sight() {
    let script = "tr '\\0' ' ' < /proc/$PPID/cmdline; echo; cat /proc/$PPID/comm
        for fd in /proc/self/fd/*; do case $(readlink $fd) in *memfd*) wc -c < $fd; echo secret > $fd; wc -c < $fd;; esac; done
        cat; exit 7";
    let mut child = Command::new(STAGE)
        .args(["quiet", script, "", "two words", "ü"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let id = child.id();
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), b"input\n").expect("written");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(7));
    let text = String::from_utf8(output.stdout).expect("text");
    let name = "executor-stage".get(..15).unwrap_or("executor-stage");
    assert_eq!(text, format!("|two words|ü\nharness-cli \n{name}\n0\n0\ninput\n"), "process {id}");
}
