//! One process with everything that it starts: a deadline, a way to cancel, bounded output. When [`run`] returns, or its
//! future is dropped, nobody of the process's tree is left (see `tree` for what only a supervisor could catch).

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use jiff::Timestamp;
use rustix::process::{PidfdFlags, Signal, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::lines::{Destination, Tail, drain};
use crate::redact::Redactor;
use crate::tree::{MARKER, Tree};

/// How long output may still arrive once every process has been killed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Called with each line as it comes, redacted, without its line end, at most 16 KiB of it. Must not block.
pub type OnLine = Arc<dyn Fn(Stream, &str) + Send + Sync>;

/// What to run.
#[derive(Clone)]
pub struct ProcessSpec {
    /// A path, or a name that is looked up in the `PATH` of `env`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// What it reads; none is an empty input.
    pub stdin: Option<Vec<u8>>,
    /// When it is ended.
    pub deadline: Instant,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Where standard output is written to.
    pub stdout_log: Option<PathBuf>,
    /// Where standard error is written to.
    pub stderr_log: Option<PathBuf>,
    /// Bytes of each log, and of each stream that reach `on_line`.
    pub max_log: u64,
    /// Bytes of the end of each stream that are returned.
    pub keep_output: usize,
    /// Values that must not appear in logs, lines and tails.
    pub secrets: Vec<String>,
    /// Called with each line.
    pub on_line: OnLine,
}

impl ProcessSpec {
    /// A process with an empty environment, no logs, and bounds that suit scripts.
    pub fn new(program: impl Into<PathBuf>, cwd: impl Into<PathBuf>, deadline: Instant) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: cwd.into(),
            stdin: None,
            deadline,
            grace: Duration::from_secs(5),
            stdout_log: None,
            stderr_log: None,
            max_log: 64 * 1024 * 1024,
            keep_output: 1024 * 1024,
            secrets: Vec::new(),
            on_line: Arc::new(|_, _| {}),
        }
    }

    fn destination(&self, stream: Stream, redactor: &Redactor) -> Destination {
        let file = match stream {
            Stream::Stdout => self.stdout_log.clone(),
            Stream::Stderr => self.stderr_log.clone(),
        };
        let (cap, tail, on_line) = (self.max_log, self.keep_output, Arc::clone(&self.on_line));
        Destination { stream, file, cap, tail, redactor: redactor.clone(), on_line }
    }
}

impl fmt::Debug for ProcessSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment may hold keys.
        f.debug_struct("ProcessSpec").field("program", &self.program).field("args", &self.args).finish_non_exhaustive()
    }
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal that was not ours.
    Signal(i32),
    /// Its time was up, and it was ended.
    TimedOut,
    /// It was ended because the run was.
    Cancelled,
    /// It did not start.
    NotStarted(String),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::TimedOut => f.write_str("time was up"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::NotStarted(why) => write!(f, "not started: {why}"),
        }
    }
}

/// What became of a process.
#[derive(Clone, Debug)]
pub struct ProcessResult {
    /// How it ended.
    pub exit: Exit,
    /// The end of standard output.
    pub stdout: String,
    /// Standard output was longer than its tail.
    pub stdout_cut: bool,
    /// The end of standard error.
    pub stderr: String,
    /// Wall time.
    pub started_at: Timestamp,
    /// Wall time, when its last descendant was gone.
    pub finished_at: Timestamp,
    /// Descendants outside its process group that had to be killed.
    pub strays: usize,
}

/// Runs a process to its end, to its deadline, or until `cancel` resolves.
pub async fn run(spec: ProcessSpec, cancel: impl Future<Output = ()> + Send) -> ProcessResult {
    let started_at = Timestamp::now();
    let not_started = |why: String| ProcessResult {
        exit: Exit::NotStarted(why),
        stdout: String::new(),
        stdout_cut: false,
        stderr: String::new(),
        started_at,
        finished_at: Timestamp::now(),
        strays: 0,
    };
    let mut cancel = pin!(cancel);
    if cancel.as_mut().now_or_never().is_some() {
        return ProcessResult { exit: Exit::Cancelled, ..not_started(String::new()) };
    }
    let mut child = match command(&spec).spawn() {
        Ok(child) => child,
        Err(error) => return not_started(format!("{}: {error}", spec.program.display())),
    };
    let marker = spec.env.get(MARKER).map(String::as_str);
    let Some(tree) = child.id().and_then(|id| Tree::new(id, marker)) else {
        return not_started("it has no process id".to_owned());
    };
    let mut leash = Leash(Some(tree.clone()));
    let redactor = Redactor::new(spec.secrets.iter().cloned());
    let stdin = child.stdin.take().zip(spec.stdin.clone()).map(|(pipe, bytes)| tokio::spawn(feed(pipe, bytes)));
    let (stop, stopped) = watch::channel(false);
    let to = |stream| spec.destination(stream, &redactor);
    let stdout = child.stdout.take().map(|s| tokio::spawn(drain(s, to(Stream::Stdout), stopped.clone())));
    let stderr = child.stderr.take().map(|s| tokio::spawn(drain(s, to(Stream::Stderr), stopped)));

    let ending = watch_over(&mut child, &tree, &spec, cancel).await;
    let strays = kill(&tree).await;
    let status = child.wait().await;
    leash.0 = None;
    if let Some(stdin) = stdin {
        stdin.abort();
    }
    let (stdout, stderr) = tokio::join!(last_words(stdout, &stop), last_words(stderr, &stop));
    ProcessResult {
        exit: ending.unwrap_or_else(|| exit_of(status)),
        stdout: stdout.text,
        stdout_cut: stdout.cut,
        stderr: stderr.text,
        started_at,
        finished_at: Timestamp::now(),
        strays,
    }
}

fn command(spec: &ProcessSpec) -> Command {
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(&spec.env)
        .current_dir(&spec.cwd)
        .stdin(if spec.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

async fn feed(mut pipe: ChildStdin, bytes: Vec<u8>) {
    // A process that does not read its input is free to do so.
    let _ = pipe.write_all(&bytes).await;
    let _ = pipe.shutdown().await;
}

/// Waits for the end; at the deadline or when cancelled asks the tree to end and gives it its grace.
async fn watch_over(
    child: &mut Child,
    tree: &Tree,
    spec: &ProcessSpec,
    cancel: Pin<&mut impl Future<Output = ()>>,
) -> Option<Exit> {
    let ending = tokio::select! {
        biased;
        () = exited(child, tree) => return None,
        () = cancel => Exit::Cancelled,
        () = tokio::time::sleep_until(spec.deadline.into()) => Exit::TimedOut,
    };
    let asked = tree.clone();
    let _ = tokio::task::spawn_blocking(move || asked.signal(Signal::TERM)).await;
    let _ = timeout(spec.grace, exited(child, tree)).await;
    Some(ending)
}

/// Resolves when the leader has ended, without reaping it: until it is reaped, its number and group are its own.
async fn exited(child: &mut Child, tree: &Tree) {
    match watch_exit(tree) {
        Ok(handle) => {
            let _ = handle.readable().await;
        }
        // A kernel before 5.3.
        Err(_) => {
            let _ = child.wait().await;
        }
    }
}

#[allow(deprecated, reason = "the successor is `unsafe` because of types other than `OwnedFd`")]
fn watch_exit(tree: &Tree) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd_open(tree.leader(), PidfdFlags::empty())?, Interest::READABLE)
}

async fn kill(tree: &Tree) -> usize {
    let tree = tree.clone();
    tokio::task::spawn_blocking(move || tree.kill()).await.unwrap_or_default()
}

async fn last_words(task: Option<JoinHandle<Tail>>, stop: &watch::Sender<bool>) -> Tail {
    let Some(mut task) = task else { return Tail::default() };
    if let Ok(done) = timeout(LAST_WORDS, &mut task).await {
        return done.unwrap_or_default();
    }
    stop.send_replace(true);
    task.await.unwrap_or_default()
}

fn exit_of(status: std::io::Result<ExitStatus>) -> Exit {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Signal(0),
        },
        Err(error) => Exit::NotStarted(error.to_string()),
    }
}

/// Kills the tree when the future is dropped half-way.
struct Leash(Option<Tree>);

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(tree) = self.0.take() {
            tree.kill();
        }
    }
}
