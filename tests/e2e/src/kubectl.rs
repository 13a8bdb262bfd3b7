//! The kubectl of the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Finished;

/// A kubectl that talks to one cluster, without the caller's HOME.
#[derive(Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// The kubectl that `cargo xtask setup` provides, or the one on PATH; of several the first.
///
/// Without one the test has to be left; in CI that is a failure.
///
/// # Panics
/// When there is none and `CI` is set.
pub fn kubectl_or_skip(test: &str) -> Option<PathBuf> {
    kubectls_or_skip(test).into_iter().next()
}

/// All kubectls that `cargo xtask setup` provides, each another version, or the one on PATH.
///
/// # Panics
/// When there is none and `CI` is set.
pub fn kubectls_or_skip(test: &str) -> Vec<PathBuf> {
    let named = std::env::var_os("HARNESS_TEST_KUBECTL").unwrap_or_default();
    let found: Vec<PathBuf> = std::env::split_paths(&named).filter(|path| path.is_file()).collect();
    if found.is_empty() { program_or_skip("kubectl", test).into_iter().collect() } else { found }
}

/// A program that `cargo xtask setup` provides, from PATH.
///
/// Without it the test has to be left; in CI that is a failure.
///
/// # Panics
/// When there is none and `CI` is set.
pub fn program_or_skip(program: &str, test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file());
    if found.is_none() {
        let in_ci = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        assert!(!in_ci, "{test} needs {program} (cargo xtask setup)");
        eprintln!("skipped: {test} needs {program} (cargo xtask setup)");
    }
    found
}

impl Kubectl {
    /// A kubectl for a cluster; its caches go to `home`.
    pub fn new(program: PathBuf, kubeconfig: &Path, home: &Path) -> Self {
        Self { program, kubeconfig: kubeconfig.to_path_buf(), home: home.to_path_buf() }
    }

    /// A command, ready to be given arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null()).env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.home);
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn run(&self, args: &[&str]) -> Finished {
        Finished::of(self.command().args(args))
    }

    /// Runs it; its standard output without the last line end.
    ///
    /// # Panics
    /// When it does not succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).expect(0).stdout.trim_end().to_owned()
    }

    /// Runs it with `-o json`.
    ///
    /// # Panics
    /// When it does not succeed or prints no JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["-o", "json"]].concat()).expect(0).json()
    }
}
