//! The program `kind`, run with a bound on its time. When it does not end, or nobody waits for it any more, its whole
//! process group is killed. What it has started in sessions of its own stays when it ends by itself: with podman that is
//! what holds the nodes, so it must not run under a supervisor that ends every descendant.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::KindHost;
use super::said::last_words;
use crate::ProvisionError;
use crate::claim::end_group;

pub(crate) const PROGRAM: &str = "kind";
const INSTALL: &str = "install it (https://kind.sigs.k8s.io/docs/user/quick-start/#installation) and docker, podman or \
                       nerdctl, or leave the cluster out of the matrix";
/// Bytes of the end of each stream that are kept.
const KEPT: usize = 64 * 1024;
/// For output that is still on its way when the program has ended; somebody else may hold the stream open.
const REST: Duration = Duration::from_millis(500);

/// How a command ended that did.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Standard output.
    pub(crate) stdout: String,
    /// The end of standard error, for people.
    pub(crate) said: String,
}

impl Ended {
    pub(crate) fn how(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "it ended".to_owned(),
        }
    }
}

/// Why a command did not end.
#[derive(Debug)]
pub(crate) enum Unended {
    /// The program is not there, or cannot be started.
    NotStarted(ProvisionError),
    /// It was killed when its time was up; the end of what it had said.
    TimedOut(String),
}

/// Runs `kind` with these arguments. `started` hears the process id, which is that of its group too.
pub(crate) async fn run(
    host: &KindHost,
    args: &[impl AsRef<OsStr> + Sync],
    time: Duration,
    started: impl FnOnce(i32) + Send,
) -> Result<Ended, Unended> {
    let mut child = spawn(host, args).map_err(Unended::NotStarted)?;
    // Declared after the child, so dropped before it: the number is still its own then.
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()));
    if let Some(id) = group.0 {
        started(id);
    }
    let (stdout, stderr) = (Tail::of(child.stdout.take()), Tail::of(child.stderr.take()));
    let status = match timeout(time, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            drop(group);
            // Reaped here, so that nobody is left of it when this returns.
            let _ = child.wait().await;
            return Err(Unended::TimedOut(last_words(&stderr.text().await)));
        }
    };
    group.0 = None;
    let status = status.map_err(|error| {
        Unended::NotStarted(ProvisionError::NotStarted { program: PROGRAM, why: error.to_string() })
    })?;
    Ok(Ended { status, stdout: stdout.text().await, said: last_words(&stderr.text().await) })
}

fn spawn(host: &KindHost, args: &[impl AsRef<OsStr>]) -> Result<Child, ProvisionError> {
    let program = host.find(PROGRAM).ok_or(ProvisionError::Missing { program: PROGRAM, install: INSTALL })?;
    let mut command = Command::new(program);
    for (name, value) in &host.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .args(args)
        .env("PATH", &host.path)
        // What it says is read; and nothing of the caller's may decide which file or cluster is meant.
        .env("LC_ALL", "C")
        .env("LANG", "C")
        .env("NO_COLOR", "1")
        .env_remove("KUBECONFIG")
        .env_remove("KIND_CLUSTER_NAME")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().map_err(|error| ProvisionError::NotStarted { program: PROGRAM, why: error.to_string() })
}

/// Kills the group when dropped, unless its leader has ended by itself.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            end_group(leader);
        }
    }
}

/// Reads a stream and keeps its end.
struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Tail {
    fn of(stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&kept);
        let reading = tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            let mut buffer = vec![0; 8192];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                let mut kept = to.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..read]);
                let surplus = kept.len().saturating_sub(KEPT);
                kept.drain(..surplus);
            }
        });
        Self { kept, reading }
    }

    async fn text(mut self) -> String {
        let _ = timeout(REST, &mut self.reading).await;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
