//! kubectl as people use it, in two versions, against `cluster up`: sessions that are written down as transcripts.

mod transcript;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Cluster, kubectls_or_skip};

/// Runs a session with every kubectl, each against a cluster of its own.
fn session(name: &str, text: &str) {
    let failures: BTreeMap<String, Vec<String>> = std::thread::scope(|scope| {
        let sessions: Vec<_> = kubectls_or_skip(name)
            .into_iter()
            .map(|program| scope.spawn(move || (version_of(&program), failures_of(text, &program))))
            .collect();
        sessions.into_iter().map(|session| session.join().expect("a session does not panic")).collect()
    });
    let told: Vec<String> = failures
        .iter()
        .flat_map(|(version, failures)| {
            failures.iter().map(move |failure| format!("kubectl {version}, {name} {failure}"))
        })
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

fn failures_of(text: &str, program: &Path) -> Vec<String> {
    let cluster = Cluster::up();
    let folder = cluster.sandbox().path().join("session");
    std::fs::create_dir_all(&folder).expect("a folder for the session");
    let shell = || shell(program, &cluster, &folder);
    let steps = transcript::parse(text, &version_of(program));
    let failures = steps.iter().filter_map(|step| step.check(&shell).err()).collect();
    cluster.interrupt();
    failures
}

/// `sh` with kubectl on its PATH, both streams in one.
fn shell(program: &Path, cluster: &Cluster, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    let dirs = program.parent().map(PathBuf::from);
    let path = std::env::join_paths(dirs.into_iter().chain(std::env::split_paths("/usr/local/bin:/usr/bin:/bin")));
    command.env_clear().env("PATH", path.expect("a PATH")).env("HOME", cluster.sandbox().path().join("home"));
    command.env("KUBECONFIG", cluster.kubeconfig()).env("TZ", "UTC").env("LANG", "C").current_dir(folder);
    command.arg("-c").arg("exec 2>&1; exec sh \"$@\"").arg("sh");
    command
}

/// `1.32`.
fn version_of(program: &Path) -> String {
    let output = Command::new(program).args(["version", "--client"]).output().expect("kubectl starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("Client Version: v").nth(1).unwrap_or_else(|| panic!("a version: {text}"));
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

macro_rules! sessions {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            session(stringify!($name), include_str!(concat!(stringify!($name), ".txt")));
        })+
    };
}

sessions! { reading writing rollouts pods access nodes watching }
