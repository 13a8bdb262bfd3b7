//! A folder per test and the program in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder in which the program runs, with a HOME of its own.
pub(crate) struct Folder(TempDir);

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        fs::create_dir(folder.path().join("home")).expect("a home");
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, text).expect("written");
        path
    }

    /// Everything in the folder but HOME, where compiled components are cached.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).expect("readable").map(|e| e.expect("an entry").file_name());
        let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.retain(|name| name != "home");
        names.sort();
        names
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness-cli"));
        command
            .current_dir(self.path())
            .stdin(Stdio::null())
            .env("HOME", self.path().join("home"))
            .env_remove("XDG_CACHE_HOME")
            .env_remove("HARNESS_RESULTS_DIR")
            .env_remove("KUBECONFIG")
            .env_remove("NO_COLOR");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        Ended::of(self.command().args(args).output().expect("the program starts"))
    }
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Checks the exit code, and what holds for every call that is not on a terminal.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "--- stdout ---\n{}\n--- stderr ---\n{}", self.stdout, self.stderr);
        for text in [&self.stdout, &self.stderr] {
            assert!(!text.contains('\u{1b}'), "no escape sequences off a terminal: {text:?}");
            assert!(!text.contains("bug in the harness"), "{text}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{}", self.stdout))
    }

    /// That each line of standard error that is expected is there.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing in\n{}", self.stderr);
        }
        self
    }
}

/// The folder of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/cli lies in it").to_owned()
}

/// One cluster, two failures, the baseline agent and the control.
pub(crate) const SMALL: &str = "\
name: small
clusters:
  - {id: local, provisioner: embedded}
failures: [image-pull-error, no-fault]
agents: [triage, {id: idle, control: true}]
objective: diagnose
";
