//! One process with everything that it starts: a deadline, a way to cancel, caps, a sandbox, bounded output. Each runs
//! under a supervisor process of its own (see `supervisor`): when [`run`] returns, or its future is dropped, or this
//! process dies in whatever way, nobody of the process's tree is left.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Line;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::descent;
use crate::limits::Limits;
use crate::lines::{Destination, Tail, drain};
use crate::protocol::{Ask, Ended, Order, Report, Word, length, say, whole};
use crate::redact::Redactor;
use crate::sandbox::Sandbox;
use crate::supervisor::{PATIENCE, SUPERVISE};

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

/// Called with each line as it comes, redacted, without its line end, at most 16 KiB of it. Must not block: what cannot
/// be taken at once is a future, and nothing more is read of the stream until it is done, so that the process waits.
pub type OnLine = Arc<dyn Fn(Stream, &str) -> Option<BoxFuture<'static, ()>> + Send + Sync>;

/// What to run.
#[derive(Clone)]
pub struct ProcessSpec {
    /// The program that becomes the supervisor: one that calls [`crate::stage`] first of all.
    pub harness_exe: PathBuf,
    /// A path, or a name that is looked up in the `PATH` of `env`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// What it reads: as a file, all there from the start; none is an empty input.
    pub stdin: Option<Vec<u8>>,
    /// The files that it may touch; none: all that the user may.
    pub sandbox: Option<Sandbox>,
    /// Its own folders: what they hold is counted, and they are removed when this process dies.
    pub places: Vec<PathBuf>,
    /// What it may use.
    pub limits: Limits,
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
    /// A process with an empty environment, no sandbox, no logs, and bounds that suit scripts.
    pub fn new(
        harness_exe: impl Into<PathBuf>,
        program: impl Into<PathBuf>,
        cwd: impl Into<PathBuf>,
        deadline: Instant,
    ) -> Self {
        Self {
            harness_exe: harness_exe.into(),
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: cwd.into(),
            stdin: None,
            sandbox: None,
            places: Vec::new(),
            limits: Limits::default(),
            deadline,
            grace: Duration::from_secs(5),
            stdout_log: None,
            stderr_log: None,
            max_log: 64 * 1024 * 1024,
            keep_output: 1024 * 1024,
            secrets: Vec::new(),
            on_line: Arc::new(|_, _| None),
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
    /// It used more than it may, and was ended: what it did.
    Capped(String),
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
            Self::Capped(what) => write!(f, "ended: {what}"),
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
    /// No descendant got away, in whatever way it tried.
    pub contained: bool,
    /// The kernel enforced its sandbox.
    pub landlock: bool,
}

/// Runs a process to its end, to its deadline, or until `cancel` resolves.
pub async fn run(spec: ProcessSpec, cancel: impl Future<Output = ()> + Send) -> ProcessResult {
    let started_at = Timestamp::now();
    let not_started = |exit: Exit| ProcessResult {
        exit,
        stdout: String::new(),
        stdout_cut: false,
        stderr: String::new(),
        started_at,
        finished_at: Timestamp::now(),
        strays: 0,
        contained: true,
        landlock: false,
    };
    let mut cancel = pin!(cancel);
    if cancel.as_mut().now_or_never().is_some() {
        return not_started(Exit::Cancelled);
    }
    let (mut child, line) = match supervisor(&spec) {
        Ok(started) => started,
        Err(error) => {
            return not_started(Exit::NotStarted(format!("its supervisor {}: {error}", spec.harness_exe.display())));
        }
    };
    let mut leash = Leash(line.try_clone().ok());
    let redactor = Redactor::new(spec.secrets.iter().cloned());
    let (stop, stopped) = watch::channel(false);
    let to = |stream| spec.destination(stream, &redactor);
    let stdout = child.stdout.take().map(|s| tokio::spawn(drain(s, to(Stream::Stdout), stopped.clone())));
    let stderr = child.stderr.take().map(|s| tokio::spawn(drain(s, to(Stream::Stderr), stopped)));

    let (ending, said) = converse(line, &spec, cancel).await;
    let lost = said.report.is_none();
    if lost {
        give_up(&mut child, said.leader).await;
    }
    leash.0 = None;
    let (stdout, stderr) = tokio::join!(last_words(stdout, &stop), last_words(stderr, &stop));
    let status = child.wait().await;
    let landlock = said.landlock || said.report.as_ref().is_some_and(|report| report.landlock);
    let (exit, strays, contained) = match said.report {
        Some(report) => {
            let exit = match (ending, exit_of(report.ending)) {
                // The supervisor was about to end it for that when its time was up, too.
                (Some(Exit::TimedOut), capped @ Exit::Capped(_)) => capped,
                (ending, exit) => ending.unwrap_or(exit),
            };
            (exit, report.strays, report.all_gone)
        }
        None if said.leader.is_some() => {
            let exit = ending.unwrap_or_else(|| Exit::Capped("its supervisor was killed, and it with it".to_owned()));
            (exit, 0, false)
        }
        None => {
            let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let why = format!("`{} {SUPERVISE}` is no supervisor: {how}", spec.harness_exe.display());
            (ending.unwrap_or(Exit::NotStarted(why)), 0, false)
        }
    };
    ProcessResult {
        exit,
        stdout: stdout.text,
        stdout_cut: stdout.cut,
        stderr: stderr.text,
        started_at,
        finished_at: Timestamp::now(),
        strays,
        contained,
        landlock,
    }
}

/// Starts the supervisor. Its command line and environment say nothing: what it is to do comes over the line.
fn supervisor(spec: &ProcessSpec) -> io::Result<(Child, Line)> {
    let (ours, theirs) = Line::pair()?;
    let child = Command::new(&spec.harness_exe)
        .arg(SUPERVISE)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    ours.set_nonblocking(true)?;
    Ok((child, ours))
}

/// What the supervisor said.
#[derive(Default)]
struct Said {
    /// Bytes of a message that is not whole yet.
    buffer: Vec<u8>,
    /// The process that was to become the program.
    leader: Option<i32>,
    /// It did, and its sandbox was enforced.
    landlock: bool,
    report: Option<Report>,
}

/// Tells the supervisor what to do, and at the deadline or when cancelled to end it; hears what it says until its end.
async fn converse(line: Line, spec: &ProcessSpec, cancel: Pin<&mut impl Future<Output = ()>>) -> (Option<Exit>, Said) {
    let mut said = Said::default();
    let Ok(line) = UnixStream::from_std(line) else { return (None, said) };
    let (mut from, mut to) = tokio::io::split(line);
    let mut ordered = false;
    let ending = tokio::select! {
        biased;
        () = order_and_listen(&mut to, &mut from, spec, &mut ordered, &mut said) => return (None, said),
        () = cancel => Exit::Cancelled,
        () = tokio::time::sleep_until(spec.deadline.into()) => Exit::TimedOut,
    };
    let asked = async {
        // Half an order is none, and nothing may follow it.
        let _ = if ordered { tell(&mut to, &Ask::End(spec.grace)).await } else { to.shutdown().await };
        listen(&mut from, &mut said).await;
    };
    let _ = timeout(spec.grace + PATIENCE * 2, asked).await;
    (Some(ending), said)
}

async fn order_and_listen(
    to: &mut WriteHalf<UnixStream>,
    from: &mut ReadHalf<UnixStream>,
    spec: &ProcessSpec,
    ordered: &mut bool,
    said: &mut Said,
) {
    // A supervisor that ends before it has read everything is told by what it says, or by its silence.
    *ordered = order(to, spec).await.is_ok();
    listen(from, said).await;
}

async fn order(to: &mut WriteHalf<UnixStream>, spec: &ProcessSpec) -> io::Result<()> {
    let order = Order {
        program: spec.program.clone(),
        args: spec.args.clone(),
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
        limits: spec.limits,
        sandbox: spec.sandbox.clone(),
        places: spec.places.clone(),
    };
    tell(to, &order).await?;
    let input = spec.stdin.as_deref().unwrap_or_default();
    to.write_all(&length(input)?).await?;
    to.write_all(input).await
}

async fn tell<T: serde::Serialize>(to: &mut WriteHalf<UnixStream>, message: &T) -> io::Result<()> {
    let mut bytes = Vec::new();
    say(&mut bytes, message)?;
    to.write_all(&bytes).await
}

/// Hears the supervisor until its last word or its end. Nothing is lost when the future is dropped.
async fn listen(from: &mut ReadHalf<UnixStream>, said: &mut Said) {
    while said.report.is_none() {
        match from.read_buf(&mut said.buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while let Ok(Some((word, length))) = whole::<Word>(&said.buffer) {
            said.buffer.drain(..length);
            match word {
                Word::Started { leader } => said.leader = Some(leader),
                Word::Entered { landlock } => said.landlock = landlock,
                Word::Ended(report) => said.report = Some(report),
            }
        }
    }
}

/// Kills a supervisor that does not answer, and of its tree whoever can still be told.
async fn give_up(child: &mut Child, leader: Option<i32>) {
    // It has not been waited for: the number is still its own.
    let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) else { return };
    let _ = child.start_kill();
    let sessions: Vec<i32> = leader.into_iter().chain([id]).collect();
    let _ = tokio::task::spawn_blocking(move || descent::kill_sessions(&sessions, id)).await;
}

async fn last_words(task: Option<JoinHandle<Tail>>, stop: &watch::Sender<bool>) -> Tail {
    let Some(mut task) = task else { return Tail::default() };
    if let Ok(done) = timeout(LAST_WORDS, &mut task).await {
        return done.unwrap_or_default();
    }
    stop.send_replace(true);
    task.await.unwrap_or_default()
}

fn exit_of(ending: Ended) -> Exit {
    match ending {
        Ended::Code(code) => Exit::Code(code),
        Ended::Signal(signal) => Exit::Signal(signal),
        Ended::Capped(what) => Exit::Capped(what),
        Ended::NotStarted(why) => Exit::NotStarted(why),
    }
}

/// Ends the tree when the future is dropped half-way, and waits for that: its folders go away next.
struct Leash(Option<Line>);

impl Drop for Leash {
    fn drop(&mut self) {
        let Some(mut line) = self.0.take() else { return };
        let ended = line
            .set_nonblocking(false)
            .and_then(|()| line.set_write_timeout(Some(PATIENCE)))
            .and_then(|()| line.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| say(&mut line, &Ask::End(Duration::ZERO)))
            .and_then(|()| line.read_to_end(&mut Vec::new()));
        if let Err(error) = ended {
            tracing::debug!(%error, "a supervisor did not answer");
        }
    }
}
