//! `run-live-test.sh <agent> <test-type>`, unmodified: the operator's own program, which brings the system under test, the
//! failure and the agent by itself. So it keeps the operator's home and environment, and no file is hidden from it; it
//! ends with its case like any agent, and what it prints is read with the same distrust.

use std::collections::BTreeMap;
use std::env;
use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use model::Isolation;
use tempfile::TempDir;

use crate::live_report::LiveReport;
use crate::process::{self, Exit, OnLine, ProcessSpec};

/// Between SIGTERM and SIGKILL: the script may have a system to stop.
const GRACE: Duration = Duration::from_secs(10);
/// Bytes of each log.
const MAX_LOG: u64 = 64 * 1024 * 1024;
/// Bytes of the end of the output in which the report is looked for.
const KEPT_OUTPUT: usize = 8 * 1024 * 1024;
/// Variables whose values are kept out of logs: their names hold one of these.
const SECRET: [&str; 5] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"];
/// Shorter values are words of everyday life.
const SHORTEST_SECRET: usize = 8;

/// A script and what it is given.
pub struct LiveTestRun<'a> {
    /// The script, absolute.
    pub script: &'a Path,
    /// Its first argument.
    pub agent: &'a str,
    /// Its second argument: the failure.
    pub test_type: &'a str,
    /// Appended to these and `--json`.
    pub args: &'a [String],
    /// The text of the kubeconfig that it finds in `KUBECONFIG`, until it sets another.
    pub kubeconfig: &'a str,
    /// `TEST_NAMESPACE`.
    pub namespace: &'a str,
    /// `TEST_POD_NAME`.
    pub pod_name: &'a str,
    /// What watches over it, and `HARNESS_CLI`.
    pub harness_exe: &'a Path,
    /// Where its standard output is written to.
    pub stdout_log: PathBuf,
    /// Where its standard error is written to.
    pub stderr_log: PathBuf,
    /// When it is ended.
    pub deadline: Instant,
    /// Called with each line of its output.
    pub on_line: OnLine,
}

impl std::fmt::Debug for LiveTestRun<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveTestRun").field("script", &self.script).field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// What became of a script.
#[derive(Clone, Debug)]
pub struct LiveTestResult {
    /// How it ended.
    pub exit: Exit,
    /// What it reports, where that could be found.
    pub report: Option<LiveReport>,
    /// What was enforced.
    pub isolation: Isolation,
    /// Wall time.
    pub started_at: Timestamp,
    /// Wall time.
    pub finished_at: Timestamp,
}

/// Runs a script to its end, to its deadline, or until `cancel` resolves. Dropping the future kills all of its processes.
pub async fn run(run: LiveTestRun<'_>, cancel: impl Future<Output = ()> + Send) -> LiveTestResult {
    let not_started = |error: io::Error| {
        let now = Timestamp::now();
        LiveTestResult {
            exit: Exit::NotStarted(error.to_string()),
            report: None,
            isolation: Isolation::default(),
            started_at: now,
            finished_at: now,
        }
    };
    let folder = match private_folder(run.kubeconfig) {
        Ok(folder) => folder,
        Err(error) => return not_started(error),
    };
    let cwd = match env::current_dir() {
        Ok(cwd) => cwd,
        Err(error) => return not_started(error),
    };
    let env = environment(&run, folder.path());
    let named = env.iter().filter(|(name, _)| SECRET.iter().any(|word| name.to_ascii_uppercase().contains(word)));
    let named = named.map(|(_, value)| value.clone()).filter(|value| value.len() >= SHORTEST_SECRET);
    let secrets = named.chain(crate::agent::kubeconfig_secrets(run.kubeconfig)).collect();
    let args = [run.agent, run.test_type, "--json"].map(str::to_owned).into_iter().chain(run.args.iter().cloned());
    let spec = ProcessSpec {
        args: args.collect(),
        env,
        places: vec![folder.path().to_owned()],
        grace: GRACE,
        stdout_log: Some(run.stdout_log.clone()),
        stderr_log: Some(run.stderr_log.clone()),
        max_log: MAX_LOG,
        keep_output: KEPT_OUTPUT,
        secrets,
        on_line: run.on_line.clone(),
        ..ProcessSpec::new(run.harness_exe, run.script, cwd, run.deadline)
    };
    let ended = process::run(spec, cancel).await;
    let stdout = ended.stdout;
    let report = tokio::task::spawn_blocking(move || LiveReport::find(&stdout)).await.ok().flatten();
    LiveTestResult {
        exit: ended.exit,
        report,
        isolation: Isolation { home: false, environment: false, process_tree: ended.contained, landlock: false },
        started_at: ended.started_at,
        finished_at: ended.finished_at,
    }
}

/// Nothing in its name says what it is for.
fn private_folder(kubeconfig: &str) -> io::Result<TempDir> {
    let mode = Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("w").rand_bytes(12).permissions(mode).tempdir()?;
    let config = folder.path().join("kubeconfig");
    std::fs::write(&config, kubeconfig)?;
    std::fs::set_permissions(&config, Permissions::from_mode(0o600))?;
    std::fs::write(folder.path().join("grants.yaml"), grants(kubeconfig))?;
    Ok(folder)
}

/// For a harness that the script runs: the cluster of this kubeconfig, which is a gate and lets no more pass than it may.
fn grants(kubeconfig: &str) -> String {
    let value =
        |key: &str| kubeconfig.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_default().trim();
    format!("clusters:\n  - {{context: {}, server: \"{}\"}}\n", value("current-context:"), value("server:"))
}

/// The operator's own, with the way to the cluster.
fn environment(run: &LiveTestRun<'_>, folder: &Path) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    // Loopback never goes through a proxy: the gate listens there.
    for name in ["NO_PROXY", "no_proxy"] {
        let before = environment.get(name).filter(|value| !value.is_empty()).map(|value| format!("{value},"));
        environment.insert(name.to_owned(), format!("{}127.0.0.1,localhost,::1", before.unwrap_or_default()));
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    environment.extend([
        ("KUBECONFIG".to_owned(), text(&folder.join("kubeconfig"))),
        ("HARNESS_GRANTS".to_owned(), text(&folder.join("grants.yaml"))),
        ("TEST_NAMESPACE".to_owned(), run.namespace.to_owned()),
        ("TEST_POD_NAME".to_owned(), run.pod_name.to_owned()),
        ("HARNESS_CLI".to_owned(), text(run.harness_exe)),
    ]);
    environment
}
