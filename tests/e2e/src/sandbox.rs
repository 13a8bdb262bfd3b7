//! A folder of its own for every test, with its own HOME, temporary folder and results.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{RunFolder, harness_cli, processes_mentioning};

/// A folder in which the program is run.
#[derive(Debug)]
pub struct Sandbox(TempDir);

impl Sandbox {
    /// An empty one.
    ///
    /// # Panics
    /// When it can't be made.
    #[expect(clippy::new_without_default, reason = "it makes a folder; nothing about it is a default")]
    pub fn new() -> Self {
        let dir = TempDir::with_prefix("e2e-").expect("a temporary folder");
        for sub in ["home", "tmp"] {
            fs::create_dir(dir.path().join(sub)).expect("a folder in the sandbox");
        }
        Self(dir)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where the program puts its temporary files.
    pub fn tmp(&self) -> PathBuf {
        self.path().join("tmp")
    }

    /// Writes a file, with the folders that it needs.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("folders in the sandbox");
        fs::write(&path, text).expect("a file in the sandbox");
        path
    }

    /// The program, ready to be given arguments: in the sandbox, without the caller's HOME and KUBECONFIG.
    pub fn command(&self) -> Command {
        let mut command = Command::new(harness_cli());
        command
            .current_dir(self.path())
            .stdin(Stdio::null())
            .env("HOME", self.path().join("home"))
            .env("TMPDIR", self.tmp())
            .env("NO_COLOR", "1")
            .env_remove("KUBECONFIG")
            .env_remove("HARNESS_RESULTS_DIR")
            .env_remove("XDG_CACHE_HOME");
        // `failures build` runs cargo, which must find the toolchain without the caller's HOME.
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            if std::env::var_os(name).is_none() && home.join(folder).exists() {
                command.env(name, home.join(folder));
            }
        }
        command
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn harness(&self, args: &[&str]) -> Finished {
        Finished::of(self.command().args(args))
    }

    /// The one run in `results/`.
    ///
    /// # Panics
    /// When there is none or more than one.
    pub fn only_run(&self) -> RunFolder {
        let mut runs: Vec<PathBuf> = fs::read_dir(self.path().join("results"))
            .expect("a results folder")
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        assert_eq!(runs.len(), 1, "one run: {runs:?}");
        RunFolder(runs.remove(0))
    }

    /// That the program has left no process and no temporary file.
    ///
    /// # Panics
    /// When it has.
    pub fn assert_nothing_left(&self) {
        let processes = processes_mentioning(self.path());
        assert!(processes.is_empty(), "processes are left: {processes:#?}");
        let files: Vec<PathBuf> =
            fs::read_dir(self.tmp()).expect("the folder is there").filter_map(Result::ok).map(|e| e.path()).collect();
        assert!(files.is_empty(), "temporary files are left: {files:?}");
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The whole command line, for messages.
    pub command: String,
    /// The exit code, 128 + signal for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn of(command: &mut Command) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let Output { status, stdout, stderr } =
            command.output().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
        Self {
            command: format!("{command:?}"),
            code: status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// That it has ended with a code.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "{}\n--- stdout ---\n{}\n--- stderr ---\n{}",
            self.command, self.stdout, self.stderr
        );
        self
    }

    /// Standard output as one JSON document.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{} printed no JSON: {error}\n{}", self.command, self.stdout))
    }
}
