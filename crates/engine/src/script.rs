//! Runs a failure's `induce.sh` for the shim component: from a private copy of the package, with the gate's kubeconfig.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::Failure;
use executor::process::{self, Exit, ProcessSpec, Stream};
use executor::{Reach, Sandbox};
use futures::FutureExt;
use futures::future::BoxFuture;
use plugin::{Log, ScriptError, ScriptOutput, ScriptRunner};
use tempfile::TempDir;

use crate::{Cancel, Setting};

/// How long a script may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How much of a script's output is kept for the shim.
const KEPT_OUTPUT: usize = 256 * 1024;

/// Where a case's script finds what it needs.
pub(crate) struct Script {
    folder: TempDir,
    harness_exe: PathBuf,
    sandbox: Sandbox,
    env: BTreeMap<String, String>,
    time_limit: Duration,
    on_line: Log,
    cancel: Cancel,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

impl Script {
    /// Lays the package out in a private folder.
    pub(crate) fn lay_out(
        setting: &Setting,
        failure: &Failure,
        kubeconfig: &str,
        namespace: &str,
        pod_name: &str,
        time_limit: Duration,
        on_line: Log,
        cancel: Cancel,
    ) -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("h-").permissions(Permissions::from_mode(0o700)).tempdir()?;
        let package = folder.path().join("package");
        for (path, content) in &failure.files {
            let target = package.join(path);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&target, content)?;
        }
        let induce = package.join("induce.sh");
        std::fs::set_permissions(&induce, Permissions::from_mode(0o700))?;
        let home = folder.path().join("home");
        let temporary = folder.path().join("tmp");
        std::fs::create_dir(&home)?;
        std::fs::create_dir(&temporary)?;
        let config = folder.path().join("kubeconfig");
        std::fs::write(&config, kubeconfig)?;
        std::fs::set_permissions(&config, Permissions::from_mode(0o600))?;
        let env = environment(&[("HOME", &home), ("TMPDIR", &temporary), ("KUBECONFIG", &config)], namespace, pod_name);
        let mut reach = Reach::new();
        reach.program(&induce);
        let sandbox = Sandbox { read: reach.without(&setting.hidden), write: vec![folder.path().to_owned()] };
        let harness_exe = setting.harness_exe.clone();
        Ok(Self { folder, harness_exe, sandbox, env, time_limit, on_line, cancel })
    }
}

fn environment(paths: &[(&str, &Path)], namespace: &str, pod_name: &str) -> BTreeMap<String, String> {
    let inherited = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    [
        ("PATH", inherited("PATH", "/usr/local/bin:/usr/bin:/bin")),
        ("LANG", inherited("LANG", "C.UTF-8")),
        ("TZ", inherited("TZ", "UTC")),
        ("NO_PROXY", "127.0.0.1,localhost,::1".to_owned()),
        ("TEST_NAMESPACE", namespace.to_owned()),
        ("TEST_POD_NAME", pod_name.to_owned()),
    ]
    .into_iter()
    .chain(paths.iter().map(|(name, path)| (*name, path.display().to_string())))
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

impl ScriptRunner for Script {
    fn run(&self, args: Vec<String>) -> BoxFuture<'static, Result<ScriptOutput, ScriptError>> {
        let package = self.folder.path().join("package");
        let on_line = Arc::clone(&self.on_line);
        let stops = args.first().is_some_and(|first| first == "stop");
        let spec = ProcessSpec {
            args,
            env: self.env.clone(),
            sandbox: Some(self.sandbox.clone()),
            places: vec![self.folder.path().to_owned()],
            grace: GRACE,
            keep_output: KEPT_OUTPUT,
            on_line: Arc::new(move |_: Stream, line: &str| on_line(line)),
            ..ProcessSpec::new(&self.harness_exe, package.join("induce.sh"), package, Instant::now() + self.time_limit)
        };
        // What an interruption ends at once is the breaking; its way back has until failures are abandoned.
        let cancel = if stops { self.cancel.abandoned().boxed() } else { self.cancel.raised().boxed() };
        async move {
            let result = process::run(spec, cancel).await;
            let code = match result.exit {
                Exit::Code(code) => code,
                Exit::Signal(signal) => 128 + signal,
                Exit::TimedOut => return Err(ScriptError("induce.sh did not end in its time".into())),
                Exit::Capped(what) => return Err(ScriptError(format!("induce.sh was ended: {what}"))),
                Exit::Cancelled => return Err(ScriptError("the run was interrupted".into())),
                Exit::NotStarted(why) => return Err(ScriptError(format!("induce.sh could not be started: {why}"))),
            };
            Ok(ScriptOutput { code, stdout: result.stdout, stderr: result.stderr })
        }
        .boxed()
    }
}
