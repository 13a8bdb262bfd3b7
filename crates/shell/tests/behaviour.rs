//! What containers do: scripts, signals, memory, servers, images; and that no input panics or runs for ever.

use std::time::Duration;

use proptest::prelude::*;
use shell::{Effect, Ended, ImageError, NoNetwork, Process, Signal, Start, StartError, resolve};

const ZERO: Duration = Duration::from_secs(1_700_000_000);

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|w| (*w).to_owned()).collect()
}

fn start_with(image: &str, command: &[&str], limit: Option<u64>) -> Result<Process, StartError> {
    let image = resolve(image).expect("a known image");
    let command = words(command);
    Process::start(
        Start {
            image: &image,
            command: &command,
            args: &[],
            env: vec![("GREETING".to_owned(), "hello world".to_owned())],
            working_dir: None,
            hostname: "pod-1",
            ip: "10.88.1.2",
            files: vec![("/etc/settings/mode".to_owned(), b"fast\n".to_vec(), true)],
            directories: vec!["/data".to_owned()],
            memory_limit: limit,
            user: (0, 0),
        },
        ZERO,
    )
}

/// Runs to the end or for a day; output, end, and the seconds that it took.
fn run(mut process: Process) -> (Vec<String>, Option<Ended>, f64) {
    let (mut now, mut lines) = (ZERO, Vec::new());
    for _ in 0..5_000 {
        for effect in process.step(now, &NoNetwork) {
            if let Effect::Line { text, .. } = effect {
                lines.push(text);
            }
        }
        if let Some(ended) = process.ended() {
            return (lines, Some(ended), (ended.at - ZERO).as_secs_f64());
        }
        match process.wake_at() {
            Some(at) if at < ZERO + Duration::from_secs(86_400) => now = at.max(now),
            _ => break,
        }
    }
    (lines, None, (now - ZERO).as_secs_f64())
}

fn script(text: &str) -> (Vec<String>, i32, f64) {
    let (lines, ended, took) = run(start_with("busybox:1.36", &["sh", "-c", text], None).expect("sh starts"));
    (lines, ended.unwrap_or_else(|| panic!("does not end: {text}")).code, took)
}

#[test]
fn scripts_do_what_a_shell_does() {
    let cases: &[(&str, &str, i32)] = &[
        ("echo a; echo b >&2; exit 3", "a|b", 3),
        ("false || echo no; true && echo yes", "no|yes", 0),
        ("x=2; while [ $x -gt 0 ]; do echo $x; x=$((x-1)); done", "2|1", 0),
        ("for i in a b c; do [ $i = b ] && continue; echo $i; done", "a|c", 0),
        ("i=0; until [ $i -ge 3 ]; do i=$((i+1)); [ $i -eq 2 ] && break; done; echo $i", "2", 0),
        ("case $HOSTNAME in pod-*) echo mine;; *) echo other;; esac", "mine", 0),
        ("if grep -q fast /etc/settings/mode; then echo ok; elif true; then echo no; else echo no; fi", "ok", 0),
        ("echo \"$GREETING\" $GREETING '$GREETING'", "hello world hello world $GREETING", 0),
        ("x=$(cat /etc/settings/mode); echo \"<$x>\" ${x%st} ${#x} ${y:-none}", "<fast> fa 4 none", 0),
        ("echo one > /tmp/a; echo two >> /tmp/a; cat /tmp/a | wc -l; head -n 1 < /tmp/a", "2|one", 0),
        ("printf '%s-%03d\\n' a 7 b 8", "a-007|b-008", 0),
        ("f() { echo in $1; return 4; }; f x; echo $?", "in x|4", 0),
        ("set -e; false; echo never", "", 1),
        ("set -e; false || true; if false; then :; fi; echo there", "there", 0),
        ("set -u; echo $NOT_THERE", "sh: NOT_THERE: parameter not set", 2),
        ("foo --bar", "sh: foo: not found", 127),
        ("cat /absent", "cat: can't open '/absent': No such file or directory", 1),
        ("echo x > /etc/settings/mode", "sh: can't create /etc/settings/mode: Read-only file system", 1),
        ("(exit 5); echo $?", "5", 0),
        ("sleep 1 & wait; echo done", "done", 0),
        ("sh -c 'exit 6'; echo $?; exec sh -c 'exit 7'; echo never", "6", 7),
        ("seq 3 | while read n; do echo n=$n; done", "n=1|n=2|n=3", 0),
        ("cat <<EOF\nhi $GREETING\nEOF", "hi hello world", 0),
        ("trap 'echo bye' EXIT; echo hi; exit 2", "hi|bye", 2),
        ("echo $((2+3*4)) $(( (1<2) && 7 % 4 )) $((010))", "14 1 8", 0),
        ("test -f /etc/settings/mode && test ! -d /etc/settings/mode && [ -d /data ] && echo right", "right", 0),
        ("kill -0 $$ && echo alive; ls /etc/settings", "alive|mode", 0),
        ("if then", "sh: syntax error: unexpected \"then\"", 2),
        ("! true; echo $?", "1", 0),
        ("wget -qO- http://nowhere/", "wget: bad address 'nowhere'", 1),
    ];
    for (text, output, code) in cases {
        let (lines, ended, _) = script(text);
        assert_eq!((lines.join("|").as_str(), ended), (*output, *code), "{text}");
    }
}

#[test]
fn time_passes_only_in_commands_that_take_it() {
    assert!(script("echo now").2 < 0.01);
    let (_, code, took) = script("sleep 1; sleep 0.5; sleep 1m; exit 1");
    assert_eq!((code, (took - 61.5).abs() < 0.01), (1, true), "{took}");
    let (lines, ended, _) = run(start_with("busybox:1.36", &["sleep", "3600000"], None).expect("starts"));
    assert!(lines.is_empty() && ended.is_none(), "a long sleep does not end within a day");
}

fn terminated(command: &[&str], image: &str) -> Option<f64> {
    let mut process = start_with(image, command, None).expect("starts");
    let mut now = ZERO;
    let mut signalled = false;
    for _ in 0..2_000 {
        process.step(now, &NoNetwork);
        if let Some(ended) = process.ended() {
            return Some((ended.at - ZERO).as_secs_f64() * if ended.code == 0 { 1.0 } else { -1.0 });
        }
        if !signalled && now >= ZERO + Duration::from_secs(5) {
            signalled = true;
            process.signal(Signal::Term, now);
        }
        let next = process.wake_at().unwrap_or(now + Duration::from_secs(1)).max(now);
        now = if signalled { next } else { next.min(ZERO + Duration::from_secs(5)).max(now) };
        if now > ZERO + Duration::from_secs(60) {
            return None;
        }
    }
    None
}

#[test]
fn process_one_ignores_sigterm_unless_it_handles_it() {
    assert_eq!(terminated(&["sleep", "3600"], "busybox:1.36"), None);
    assert_eq!(terminated(&["sh", "-c", "while true; do sleep 1; done"], "busybox:1.36"), None);
    assert_eq!(terminated(&["sh", "-c", "trap '' TERM; while true; do sleep 1; done"], "busybox:1.36"), None);
    let trapped =
        terminated(&["sh", "-c", "trap 'sleep 2; exit 0' TERM; while true; do sleep 0.2; done"], "busybox:1.36");
    assert!(trapped.is_some_and(|at| (7.0..7.5).contains(&at)), "{trapped:?}");
    let waiting = terminated(&["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"], "busybox:1.36");
    assert!(waiting.is_some_and(|at| at < 5.1), "wait is interrupted: {waiting:?}");
    assert!(terminated(&[], "nginx:1.27").is_some_and(|at| at < 5.5), "nginx ends with 0");
    assert_eq!(terminated(&[], "local/web:1"), None, "httpd of busybox has no handler");
}

#[test]
fn memory_beyond_the_limit_kills_the_container() {
    let limit = Some(32 << 20);
    for text in [
        "dd if=/dev/zero of=/dev/null bs=200M count=1",
        "exec dd if=/dev/zero of=/dev/null bs=200M count=1",
        "tail /dev/zero",
    ] {
        let (_, ended, _) = run(start_with("busybox:1.36", &["sh", "-c", text], limit).expect("starts"));
        let ended = ended.expect("is killed");
        assert_eq!((ended.code, ended.out_of_memory), (137, true), "{text}");
    }
    let (_, ended, _) =
        run(start_with("busybox:1.36", &["dd", "if=/dev/zero", "of=/dev/null", "bs=1M", "count=200"], limit)
            .expect("starts"));
    assert_eq!(ended.map(|e| (e.code, e.out_of_memory)), Some((0, false)), "small blocks fit");
    let error = start_with("busybox:1.36", &["true"], Some(1 << 20)).expect_err("too little even for runc");
    assert!(error.to_string().contains("container init was OOM-killed"));
}

#[test]
fn what_is_not_there_does_not_start() {
    let said = |command: &[&str]| start_with("busybox:1.36", command, None).expect_err("does not start").to_string();
    assert_eq!(
        said(&["/usr/local/bin/server"]),
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to \
         start container process: exec: \"/usr/local/bin/server\": stat /usr/local/bin/server: no such file or directory: unknown"
    );
    assert!(said(&["server"]).ends_with("exec: \"server\": executable file not found in $PATH: unknown"));
    assert!(said(&["/etc/passwd"]).ends_with("exec: \"/etc/passwd\": permission denied: unknown"));
    assert!(start_with("registry.k8s.io/pause:3.10", &["sh"], None).is_err(), "pause has no shell");
}

#[test]
fn images_are_found_or_not_as_the_runtime_says() {
    for good in [
        "busybox",
        "busybox:1.37",
        "busybox:1.36.1-musl",
        "docker.io/library/nginx:1.27-alpine",
        "redis:7",
        "python:3.12-slim",
        "alpine:3.20",
    ] {
        assert!(resolve(good).is_ok(), "{good}");
    }
    let said = |name: &str| resolve(name).expect_err("no such image").to_string();
    assert_eq!(
        said("busybox:no-such-tag"),
        "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/library/busybox:no-such-tag\": failed to resolve \
         reference \"docker.io/library/busybox:no-such-tag\": docker.io/library/busybox:no-such-tag: not found"
    );
    assert_eq!(
        said("Busybox:1.36"),
        "couldn't parse image name \"Busybox:1.36\": invalid reference format: repository name (library/Busybox) must be lowercase"
    );
    assert_eq!(
        said("registry.example.com//app:::1"),
        "couldn't parse image name \"registry.example.com//app:::1\": invalid reference format"
    );
    assert!(matches!(resolve("nginx:9.99"), Err(ImageError::NotFound { .. })));
}

#[test]
fn servers_listen_and_answer() {
    let mut process = start_with("local/web:1", &[], None).expect("starts");
    process.step(ZERO, &NoNetwork);
    let listener = &process.listeners()[0];
    assert_eq!(listener.port, 8080);
    assert_eq!(listener.respond("/").map(|r| r.status), Some(200));
    assert_eq!(listener.respond("/ready").map(|r| r.status), Some(404));
    let mut nginx = start_with("nginx:1.27", &[], None).expect("starts");
    nginx.step(ZERO, &NoNetwork);
    assert!(
        nginx.listeners()[0]
            .respond("/")
            .is_some_and(|r| String::from_utf8_lossy(&r.body).contains("Welcome to nginx"))
    );
}

#[test]
fn execs_run_beside_the_main_process() {
    let mut process = start_with("busybox:1.36", &["sh", "-c", "touch /tmp/ready; sleep 100"], None).expect("starts");
    process.step(ZERO, &NoNetwork);
    for (command, code) in [(["cat", "/tmp/ready"], 0), (["cat", "/tmp/absent"], 1)] {
        let id = process.exec(&words(&command), ZERO);
        let effects = process.step(ZERO, &NoNetwork);
        assert!(
            effects.iter().any(|e| matches!(e, Effect::Executed(r) if r.id == id && r.code == code)),
            "{effects:?}"
        );
    }
    assert!(process.ended().is_none());
}

fn any_script() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "echo ",
        "x=1",
        "$x",
        "${x:-",
        "}",
        "$(",
        ")",
        "`",
        "((",
        "))",
        "$((",
        "while true; do ",
        "done",
        "if ",
        "then ",
        "fi",
        "case ",
        "esac",
        "in ",
        "{ ",
        "; ",
        "&&",
        "||",
        "|",
        "&",
        "\n",
        "<<EOF\n",
        ">",
        ">>",
        "2>&1",
        "<",
        "'",
        "\"",
        "\\",
        "f() ",
        "f",
        "exit ",
        "break 2",
        "continue",
        "return",
        "trap 'f' TERM EXIT",
        "wait",
        "read x",
        "eval ",
        "sh -c ",
        "exec ",
        "kill $$",
        "sleep 0",
        "seq 1 9999",
        "cat",
        "yes",
        "[ ",
        " ]",
        "-eq ",
        "*",
        "?",
        "set -eu",
        "dd bs=1G",
        "nc -l -p 80",
        "for i in 1 2 3; do ",
        ":",
        "#",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_script_panics_or_holds_up_time(text in prop_oneof![any_script(), ".{0,200}"]) {
        let mut process = start_with("busybox:1.36", &["sh", "-c", &text], Some(64 << 20)).expect("sh starts");
        let mut now = ZERO;
        for round in 0..60 {
            process.step(now, &NoNetwork);
            if round == 30 {
                process.signal(Signal::Term, now);
            }
            match process.wake_at() {
                Some(at) => now = at.max(now).min(now + Duration::from_secs(3600)),
                None => break,
            }
        }
        process.signal(Signal::Kill, now);
        process.step(now, &NoNetwork);
        prop_assert!(process.ended().is_some());
    }

    #[test]
    fn no_image_name_panics(name in "\\PC{0,60}") {
        let _ = resolve(&name);
    }

    #[test]
    fn the_same_script_does_the_same(text in any_script()) {
        let once = || run_some(start_with("busybox:1.36", &["sh", "-c", &text], None).expect("sh starts"));
        prop_assert_eq!(once(), once());
    }
}

fn run_some(mut process: Process) -> Vec<Effect> {
    let (mut now, mut seen) = (ZERO, Vec::new());
    for _ in 0..10 {
        seen.extend(process.step(now, &NoNetwork));
        match process.wake_at() {
            Some(at) => now = at.max(now),
            None => break,
        }
    }
    seen
}
