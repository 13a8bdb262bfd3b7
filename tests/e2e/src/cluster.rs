//! `harness-cli cluster up` as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::{Kubectl, Running, Sandbox, kubectl_or_skip};

/// A running embedded cluster in a sandbox of its own.
#[derive(Debug)]
pub struct Cluster {
    process: Running,
    sandbox: Sandbox,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Starts one and waits for its line on stdout.
    ///
    /// # Panics
    /// When it does not start.
    pub fn up() -> Self {
        let sandbox = Sandbox::new();
        let asked = sandbox.path().join("cluster.kubeconfig");
        let mut command = sandbox.command();
        command.args(["cluster", "up", "--kubeconfig"]).arg(&asked).stdout(Stdio::piped());
        let mut process = Running::start(&mut command);
        let stdout = process.child().stdout.take().expect("stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line on stdout");
        let told = line.trim_end().strip_prefix("KUBECONFIG=").unwrap_or_else(|| panic!("KUBECONFIG=…: {line:?}"));
        assert_eq!(told, asked.to_string_lossy(), "the file that was asked for");
        Self { process, kubeconfig: PathBuf::from(told), sandbox }
    }

    /// The one with a kubectl, or none where there is no kubectl.
    pub fn with_kubectl(test: &str) -> Option<(Self, Kubectl)> {
        let program = kubectl_or_skip(test)?;
        let cluster = Self::up();
        let kubectl = Kubectl::new(program, &cluster.kubeconfig, &cluster.sandbox.path().join("home"));
        Some((cluster, kubectl))
    }

    /// The file with the way in, as an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Its sandbox.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Interrupts it as Ctrl-C does; it must end well and leave nothing.
    ///
    /// # Panics
    /// When it does not.
    pub fn interrupt(mut self) {
        self.process.signal(Signal::INT);
        let status = self.process.wait(Duration::from_secs(10));
        assert!(matches!(status.code(), Some(0 | 130)), "ends well when interrupted: {status}");
        self.sandbox.assert_nothing_left();
    }
}
