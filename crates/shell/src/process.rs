//! A process of a container as a resumable state machine: started, stepped at simulated times, signalled, ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::executable;
use crate::files::Files;
use crate::image::Image;
use crate::network::Network;
use crate::server::Listener;
use crate::task::{Descriptors, Frame, Input, OnTerm, Output, State, Task};

/// Micro-steps in one call; a script that wants more goes on at the next wake.
const BUDGET: u32 = 20_000;
/// Micro-steps of one task before the others get their turn.
const SLICE: u32 = 500;
/// Tasks (subshells, pipes, background jobs) that a process may have at a time.
const TASKS: usize = 64;
/// Bytes that a pipe holds.
pub(crate) const PIPE: usize = 64 * 1024;
/// Bytes of output in one call.
const OUTPUT: usize = 256 * 1024;
/// Memory that runc's init needs before the program runs; below, the container cannot be made.
const INIT_MEMORY: u64 = 4 << 20;

/// What a container is started with.
#[derive(Debug)]
pub struct Start<'a> {
    /// Its image.
    pub image: &'a Image,
    /// `command` of the container; empty: the image's entrypoint.
    pub command: &'a [String],
    /// `args` of the container; empty: the image's.
    pub args: &'a [String],
    /// Environment of the pod spec.
    pub env: Vec<(String, String)>,
    /// `workingDir`.
    pub working_dir: Option<&'a str>,
    /// The pod's name.
    pub hostname: &'a str,
    /// The pod's address.
    pub ip: &'a str,
    /// Files of mounted volumes: path, content, read-only.
    pub files: Vec<(String, Vec<u8>, bool)>,
    /// Directories of mounted volumes.
    pub directories: Vec<String>,
    /// Memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// User and group that it runs as.
    pub user: (u32, u32),
}

/// Why a container could not be started, as the runtime words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: {0}: unknown"
)]
pub struct StartError(pub String);

/// A signal that the node sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Asks to end.
    Term,
    /// Ends.
    Kill,
}

/// Something that a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A line of output without its end.
    Line {
        /// False: standard output.
        stderr: bool,
        /// The text.
        text: String,
    },
    /// It listens on something new.
    Listening,
    /// An attached command has written something.
    Output {
        /// As returned by [`Process::attach`].
        id: u32,
        /// False: standard output.
        stderr: bool,
        /// What it wrote.
        data: Vec<u8>,
    },
    /// An exec has ended.
    Executed(ExecResult),
    /// The process is over.
    Ended(Ended),
}

/// What an exec came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecResult {
    /// As returned by [`Process::exec`] or [`Process::attach`].
    pub id: u32,
    /// Exit code.
    pub code: i32,
    /// Standard output and error, as the probe sees them; those of an attached command have come as effects.
    pub output: String,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; 128 + signal number for signals.
    pub code: i32,
    /// By the kernel, for memory.
    pub out_of_memory: bool,
    /// When, since the epoch.
    pub at: Duration,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) data: Vec<u8>,
    pub(crate) writer: u32,
    pub(crate) reader: u32,
}

/// What all tasks of a process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) files: Arc<Mutex<Files>>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) partial: [Vec<u8>; 2],
    pub(crate) written: usize,
    pub(crate) pipes: BTreeMap<usize, Pipe>,
    pub(crate) next_pipe: usize,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) memory: u64,
    pub(crate) limit: Option<u64>,
    pub(crate) out_of_memory: bool,
    pub(crate) hostname: String,
    pub(crate) ip: String,
    pub(crate) image: Image,
    pub(crate) signals: Vec<(u32, String)>,
    pub(crate) user: (u32, u32),
    pub(crate) started: Duration,
    pub(crate) noise: u64,
}

impl Shared {
    pub(crate) fn emit(&mut self, stderr: bool, bytes: &[u8]) {
        self.written += bytes.len();
        if self.written > OUTPUT {
            return;
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let partial = &mut self.partial[usize::from(stderr)];
            partial.extend_from_slice(&rest[..end]);
            let text = String::from_utf8_lossy(&std::mem::take(partial)).into_owned();
            self.effects.push(Effect::Line { stderr, text });
            rest = &rest[end + 1..];
        }
        self.partial[usize::from(stderr)].extend_from_slice(rest);
    }

    /// Memory that is in use now, on top of the program's own.
    pub(crate) fn allocate(&mut self, bytes: u64) {
        self.memory = self.memory.max(self.image.memory.saturating_add(bytes));
        self.out_of_memory |= self.limit.is_some_and(|limit| self.memory > limit);
    }
}

/// A running process and everything below it.
#[derive(Debug)]
pub struct Process {
    pub(crate) shared: Shared,
    pub(crate) tasks: BTreeMap<u32, Task>,
    /// With the pipe that gathers the output; none: attached.
    execs: BTreeMap<u32, Option<usize>>,
    next: u32,
    ended: Option<Ended>,
    hungry: Option<Duration>,
    wake: Option<Duration>,
}

/// Process 1 of the container.
pub(crate) const MAIN: u32 = 1;

impl Process {
    /// Starts it. `now` is since the epoch.
    ///
    /// # Errors
    /// What runc says when the program is not there.
    pub fn start(start: Start<'_>, now: Duration) -> Result<Self, StartError> {
        let image = start.image.clone();
        let mut argv: Vec<String> =
            if start.command.is_empty() { image.entrypoint.clone() } else { start.command.to_vec() };
        if !start.args.is_empty() {
            argv.extend_from_slice(start.args);
        } else if start.command.is_empty() {
            argv.extend(image.cmd.iter().cloned());
        }
        let mut files = image.files();
        files.place("/etc/hostname", format!("{}\n", start.hostname).as_bytes(), false);
        let hosts = format!("127.0.0.1\tlocalhost\n{}\t{}\n", start.ip, start.hostname);
        files.place("/etc/hosts", hosts.as_bytes(), false);
        for directory in &start.directories {
            files.place_directory(directory);
        }
        for (path, data, read_only) in &start.files {
            files.place(path, data, *read_only);
        }
        let cwd = start.working_dir.unwrap_or(&image.working_dir).to_owned();
        files.place_directory(&cwd);
        let mut variables: BTreeMap<String, String> = image.env.iter().cloned().collect();
        variables
            .entry("PATH".to_owned())
            .or_insert_with(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        variables.insert("HOSTNAME".to_owned(), start.hostname.to_owned());
        variables.entry("HOME".to_owned()).or_insert_with(|| "/root".to_owned());
        variables.extend(start.env);
        if start.memory_limit.is_some_and(|limit| limit < INIT_MEMORY) {
            return Err(StartError("container init was OOM-killed (memory limit too low?)".to_owned()));
        }
        executable::check(&argv, &image, &files)?;
        let mut shared = Shared {
            files: Arc::new(Mutex::new(files)),
            effects: Vec::new(),
            partial: [Vec::new(), Vec::new()],
            written: 0,
            pipes: BTreeMap::new(),
            next_pipe: 0,
            listeners: Vec::new(),
            memory: 0,
            limit: start.memory_limit,
            out_of_memory: false,
            hostname: start.hostname.to_owned(),
            ip: start.ip.to_owned(),
            image,
            signals: Vec::new(),
            user: start.user,
            started: now,
            noise: now.as_nanos() as u64 | 1,
        };
        shared.allocate(0);
        let descriptors = Descriptors { input: Input::Null, out: Output::Stdout, err: Output::Stderr };
        let mut main = Task::new("sh", variables, cwd, descriptors);
        main.is_shell = false;
        main.frames.push(Frame::Run(argv));
        Ok(Self {
            shared,
            tasks: BTreeMap::from([(MAIN, main)]),
            execs: BTreeMap::new(),
            next: 7,
            ended: None,
            hungry: None,
            wake: Some(now),
        })
    }

    /// Goes on until everything waits. The effects are in order.
    pub fn step(&mut self, now: Duration, network: &dyn Network) -> Vec<Effect> {
        self.shared.written = 0;
        let mut budget = BUDGET;
        while self.ended.is_none() && budget > 0 {
            let ids: Vec<u32> = self.tasks.keys().copied().collect();
            let mut progressed = false;
            for id in ids {
                let mut slice = SLICE;
                while slice > 0 && budget > 0 && self.unblock(id, now) {
                    self.advance(id, now, network);
                    progressed = true;
                    slice -= 1;
                    budget -= 1;
                    self.deliver(now);
                    if self.check_end(now) {
                        break;
                    }
                }
                if self.ended.is_some() {
                    break;
                }
            }
            self.reap();
            if !progressed {
                break;
            }
        }
        self.hungry = if budget == 0 {
            // A busy loop: let it have its share, ever more seldom, so that it does not stop the clock.
            Some(self.hungry.map_or(Duration::from_millis(20), |last| (last * 2).min(Duration::from_secs(1))))
        } else {
            None
        };
        self.wake = self.next_wake(now);
        std::mem::take(&mut self.shared.effects)
    }

    /// When it wants to be stepped next; none: only a signal or an exec moves it.
    pub fn wake_at(&self) -> Option<Duration> {
        if self.ended.is_some() { None } else { self.wake }
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Open ports.
    pub fn listeners(&self) -> &[Listener] {
        &self.shared.listeners
    }

    /// The most memory that was in use, in bytes.
    pub fn memory(&self) -> u64 {
        self.shared.memory
    }

    /// Whether a command can be run beside it, and what the runtime says if not.
    ///
    /// # Errors
    /// The runtime's words.
    pub fn can_exec(&self, command: &[String]) -> Result<(), String> {
        let files = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
        executable::check(command, &self.shared.image, &files).map_err(|error| {
            format!("failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: unable to start container process: {}: unknown", error.0)
        })
    }

    /// Runs a command beside the main one; its result comes as an effect. Step afterwards.
    pub fn exec(&mut self, command: &[String], now: Duration) -> u32 {
        let id = self.next_id();
        let pipe = self.shared.next_pipe;
        self.shared.next_pipe += 1;
        self.shared.pipes.insert(pipe, Pipe { data: Vec::new(), writer: id, reader: 0 });
        let descriptors = Descriptors { input: Input::Null, out: Output::Pipe(pipe), err: Output::Pipe(pipe) };
        self.beside(id, command, descriptors, now);
        self.execs.insert(id, Some(pipe));
        id
    }

    /// Runs a command beside the main one, whose output comes as effects while it runs and whose input is all there; none
    /// when there is no room for one more. Step afterwards.
    pub fn attach(&mut self, command: &[String], input: Vec<u8>, now: Duration) -> Option<u32> {
        if self.ended.is_some() || !self.room() {
            return None;
        }
        let id = self.next_id();
        let descriptors = Descriptors {
            input: Input::Data(Arc::new(input), 0),
            out: Output::Attached(id, false),
            err: Output::Attached(id, true),
        };
        self.beside(id, command, descriptors, now);
        self.execs.insert(id, None);
        Some(id)
    }

    fn beside(&mut self, id: u32, command: &[String], descriptors: Descriptors, now: Duration) {
        let (variables, cwd) = match self.tasks.get(&MAIN) {
            Some(main) => (main.environment(), self.shared.image.working_dir.clone()),
            None => (BTreeMap::new(), "/".to_owned()),
        };
        let mut task = Task::new("sh", variables, cwd, descriptors);
        task.frames.push(Frame::Run(command.to_vec()));
        self.tasks.insert(id, task);
        self.wake = Some(now);
    }

    /// Ends a running exec, as the runtime does at its time-out.
    pub fn cancel_exec(&mut self, id: u32) {
        self.execs.remove(&id);
        if let Some(task) = self.tasks.get_mut(&id) {
            task.finish(137);
        }
        self.reap();
    }

    /// Sends a signal to process 1. Step afterwards.
    pub fn signal(&mut self, signal: Signal, now: Duration) {
        match signal {
            Signal::Kill => self.end(137, now),
            Signal::Term => {
                let Some(main) = self.tasks.get_mut(&MAIN) else { return };
                if let OnTerm::Exits(code, after) = main.on_term {
                    main.frames.clear();
                    main.frames.push(Frame::TrapDone(code));
                    main.frames.push(Frame::Run(vec!["exit".to_owned(), code.to_string()]));
                    main.is_shell = true;
                    main.state = State::Until(now + after);
                } else if main.is_shell && main.traps.get("TERM").is_some_and(|handler| !handler.is_empty()) {
                    main.term_pending = true;
                    // `wait` is interrupted by a trapped signal; a foreground program is not.
                    if matches!(main.state, State::WaitTasks(_)) && main.program.as_deref() == Some("wait") {
                        main.state = State::Ready;
                        main.status = 143;
                    }
                }
                self.wake = Some(now);
            }
        }
    }

    pub(crate) fn next_id(&mut self) -> u32 {
        let id = self.next;
        self.next += 1;
        id
    }

    pub(crate) fn room(&self) -> bool {
        self.tasks.len() < TASKS
    }

    fn end(&mut self, code: i32, now: Duration) {
        for stderr in [false, true] {
            let rest = std::mem::take(&mut self.shared.partial[usize::from(stderr)]);
            if !rest.is_empty() {
                let text = String::from_utf8_lossy(&rest).into_owned();
                self.shared.effects.push(Effect::Line { stderr, text });
            }
        }
        let ended = Ended { code, out_of_memory: self.shared.out_of_memory, at: now };
        self.shared.listeners.clear();
        self.shared.effects.push(Effect::Ended(ended));
        self.ended = Some(ended);
        self.tasks.clear();
    }

    fn check_end(&mut self, now: Duration) -> bool {
        if self.shared.out_of_memory {
            // The node sets memory.oom.group, so the kernel kills all of the container at once.
            self.end(137, now);
        } else if let Some(main) = self.tasks.get(&MAIN)
            && main.state == State::Done
        {
            let code = main.status;
            self.end(code, now);
        }
        self.ended.is_some()
    }

    /// Whether the task can run now; timers and waits that are over make it ready.
    fn unblock(&mut self, id: u32, now: Duration) -> bool {
        let Some(task) = self.tasks.get(&id) else { return false };
        let ready = match &task.state {
            State::Ready => true,
            State::Until(at) => *at <= now,
            State::Forever | State::Done => false,
            State::WaitTasks(ids) => ids.iter().all(|id| self.is_done(*id)),
            State::WaitPipe(pipe) => self.readable(*pipe),
        };
        if ready && let Some(task) = self.tasks.get_mut(&id) {
            task.state = State::Ready;
        }
        ready
    }

    pub(crate) fn is_done(&self, id: u32) -> bool {
        self.tasks.get(&id).is_none_or(|task| task.state == State::Done)
    }

    fn readable(&self, pipe: usize) -> bool {
        self.shared.pipes.get(&pipe).is_none_or(|p| p.data.len() >= PIPE || self.is_done(p.writer))
    }

    /// Signals that commands sent to other tasks.
    fn deliver(&mut self, now: Duration) {
        for (id, signal) in std::mem::take(&mut self.shared.signals) {
            if id == MAIN {
                // The kernel protects process 1 from SIGKILL of its own container.
                if signal == "TERM" {
                    self.signal(Signal::Term, now);
                }
                continue;
            }
            if let Some(task) = self.tasks.get_mut(&id)
                && task.state != State::Done
            {
                let trapped = signal != "KILL" && task.traps.contains_key(&signal);
                if trapped {
                    task.term_pending = true;
                } else if signal != "0" {
                    task.finish(if signal == "KILL" { 137 } else { 143 });
                }
            }
        }
    }

    /// Removes what is over and read.
    fn reap(&mut self) {
        let finished: Vec<u32> = self.execs.keys().copied().filter(|id| self.is_done(*id)).collect();
        for id in finished {
            let Some(pipe) = self.execs.remove(&id) else { continue };
            let output = pipe.and_then(|pipe| self.shared.pipes.remove(&pipe)).map(|p| p.data).unwrap_or_default();
            let code = self.tasks.remove(&id).map_or(137, |task| task.status);
            let output = String::from_utf8_lossy(&output).into_owned();
            self.shared.effects.push(Effect::Executed(ExecResult { id, code, output }));
        }
        // Statuses of children are asked for by `wait`; beyond a bound the oldest are forgotten.
        if self.tasks.len() > TASKS / 2 {
            let waited: Vec<u32> = self
                .tasks
                .values()
                .flat_map(|task| match &task.state {
                    State::WaitTasks(ids) => ids.clone(),
                    _ => Vec::new(),
                })
                .collect();
            self.tasks.retain(|id, task| *id == MAIN || task.state != State::Done || waited.contains(id));
        }
        let tasks = &self.tasks;
        self.shared.pipes.retain(|_, pipe| {
            tasks.contains_key(&pipe.reader) && tasks.get(&pipe.reader).is_some_and(|t| t.state != State::Done)
                || pipe.reader == 0 && tasks.contains_key(&pipe.writer)
        });
    }

    fn next_wake(&self, now: Duration) -> Option<Duration> {
        if let Some(pause) = self.hungry {
            return Some(now + pause);
        }
        self.tasks
            .values()
            .filter_map(|task| match task.state {
                State::Until(at) => Some(at),
                State::Ready => Some(now),
                _ => None,
            })
            .min()
    }
}
