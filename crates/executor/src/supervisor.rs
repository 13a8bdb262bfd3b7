//! The supervisor: a process that adopts every orphan below it, so that nobody gets away, and that ends with all of them
//! when the harness says so or dies. It runs outside the sandbox of what it watches.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, set_child_subreaper, setsid, wait,
};

use crate::limits::{Limits, in_mebibytes};
use crate::protocol::{Ask, Ended, Order, Report, Stage, Word, hear, hear_bytes, say, say_bytes};
use crate::{descent, disk};

/// Argument that makes the program a supervisor.
pub(crate) const SUPERVISE: &str = "supervise";
/// Argument that makes the program an entry stage.
pub(crate) const ENTER: &str = "enter";
/// Between two looks at how many threads the machine has: who multiplies fills its table of processes within a second.
const LOOK: Duration = Duration::from_millis(25);
/// Between two counts of the processes when the machine shows no reason for one.
const COUNT: Duration = Duration::from_millis(500);
/// Between two looks at the disk, at least.
const MEASURE: Duration = Duration::from_secs(1);
/// How long a kill may take: a process in the middle of a device's work ends late.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How soon the end of the last process is known when nobody but the leader was there.
const AT_ONCE: Duration = Duration::from_millis(3);
/// A file beyond the limit, signal(7); the same number on every architecture that this runs on.
const SIGXFSZ: i32 = 25;

/// Watches over one process and all that it starts: who asks, and for what, comes over standard input. Returns the exit
/// code.
pub(crate) fn supervise() -> u8 {
    let harness = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let Ok(mut harness) = harness else { return 2 };
    let asked = hear::<Order>(&mut harness).and_then(|order| Ok(order.zip(hear_bytes(&mut harness)?)));
    let Ok(Some((order, input))) = asked else { return 2 };
    let places = order.places.clone();
    let report = match start(order, &input, &harness) {
        Ok(mut watch) => {
            let report = watch.over(&mut harness);
            if watch.abandoned {
                // Nobody else is left to do it, and copies of the caller's files may lie there.
                places.iter().for_each(|place| drop(fs::remove_dir_all(place)));
            }
            report
        }
        Err(error) => {
            let ending = Ended::NotStarted(format!("its supervisor: {error}"));
            Report { ending, strays: 0, all_gone: true, landlock: false }
        }
    };
    u8::from(say(&mut harness, &Word::Ended(report)).is_err())
}

enum Event {
    /// The last that the entry stage said before it became the program or ended.
    Stage(Option<Stage>),
    Asked(Ask),
    HarnessGone,
    Reaped(i32, WaitStatus),
    /// No child is left, and so nobody.
    Alone,
    Exceeded(String),
}

struct Watch {
    own: i32,
    leader: i32,
    limits: Limits,
    events: Receiver<Event>,
    leader_status: Option<WaitStatus>,
    alone: bool,
    /// The harness died, or forgot to say that all is to end.
    abandoned: bool,
    /// None until the stage has become the program or ended.
    stage: Option<Option<Stage>>,
}

fn start(order: Order, input: &[u8], harness: &UnixStream) -> io::Result<Watch> {
    set_child_subreaper(Some(getpid()))?;
    // Away from the caller's terminal: its interrupts are not for us. Fails only for who leads a group already.
    let _ = setsid();
    let (to_stage, stage_end) = UnixStream::pair()?;
    let leader = Command::new("/proc/self/exe")
        .arg0(std::env::args_os().next().unwrap_or_default())
        .arg(ENTER)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(stage_end)))
        .spawn()?;
    let leader = i32::try_from(leader.id()).map_err(io::Error::other)?;
    // Before the program can do anything, to this process for one.
    say(&mut harness.try_clone()?, &Word::Started { leader })?;
    let (sender, events) = channel();
    let (limits, places) = (order.limits, order.places.clone());
    listen_to_harness(harness.try_clone()?, sender.clone());
    reap(sender.clone());
    let own = getpid().as_raw_nonzero().get();
    measure(own, places, limits, sender.clone());
    brief_stage(to_stage, order, input.to_vec(), sender);
    Ok(Watch { own, leader, limits, events, leader_status: None, alone: false, abandoned: false, stage: None })
}

/// Tells the stage what to become, and hears how that went.
fn brief_stage(mut stage: UnixStream, order: Order, input: Vec<u8>, sender: Sender<Event>) {
    thread::spawn(move || {
        let told = say(&mut stage, &order).and_then(|()| say_bytes(&mut stage, &input));
        let mut last = None;
        if told.is_ok() {
            // The stage's end is closed when it becomes the program, and when it dies.
            while let Ok(Some(word)) = hear::<Stage>(&mut stage) {
                last = Some(word);
            }
        }
        let _ = sender.send(Event::Stage(last));
    });
}

fn listen_to_harness(mut harness: UnixStream, sender: Sender<Event>) {
    thread::spawn(move || {
        while let Ok(Some(ask)) = hear::<Ask>(&mut harness) {
            let _ = sender.send(Event::Asked(ask));
        }
        let _ = sender.send(Event::HarnessGone);
    });
}

/// Waits for every child, adopted ones included, until there is none.
fn reap(sender: Sender<Event>) {
    thread::spawn(move || {
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((id, status))) => drop(sender.send(Event::Reaped(id.as_raw_nonzero().get(), status))),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let _ = sender.send(Event::Alone);
    });
}

fn measure(own: i32, places: Vec<PathBuf>, limits: Limits, sender: Sender<Event>) {
    thread::spawn(move || {
        let mut pause = MEASURE;
        loop {
            thread::sleep(pause);
            let start = Instant::now();
            if let Some(why) = disk::excess(&places, &descent::below(own), &limits) {
                let _ = sender.send(Event::Exceeded(why));
                return;
            }
            // A tenth of one processor at most.
            pause = MEASURE.max(start.elapsed() * 10);
        }
    });
}

/// When it is time to count. Every process of the machine has to be looked at for that, so it is done when their number
/// has grown by enough for a limit to be exceeded, and now and then.
struct Census {
    last: Instant,
    threads: usize,
}

impl Census {
    fn new() -> Self {
        Self { last: Instant::now(), threads: descent::threads_of_machine().unwrap_or_default() }
    }

    fn is_due(&mut self, limits: &Limits) -> Option<Due> {
        let threads = descent::threads_of_machine().unwrap_or(usize::MAX);
        let more = threads.saturating_sub(self.threads);
        let due = if more > limits.processes {
            Due::Stopped
        } else if more > limits.processes / 8 || self.last.elapsed() > COUNT {
            Due::Running
        } else {
            return None;
        };
        *self = Self { last: Instant::now(), threads };
        Some(due)
    }
}

/// How processes are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Running,
    /// There are suddenly so many more that a count, which takes long then, might not end before the machine is full.
    Stopped,
}

impl Watch {
    /// Until the end.
    fn over(&mut self, harness: &mut UnixStream) -> Report {
        let mut capped = None;
        let mut census = Census::new();
        while self.leader_status.is_none() && !self.abandoned && capped.is_none() {
            match self.events.recv_timeout(LOOK) {
                Ok(Event::Asked(Ask::End(grace))) => {
                    self.ask_to_end(grace);
                    break;
                }
                Ok(Event::Exceeded(why)) => capped = Some(why),
                Ok(other) => {
                    self.note(other);
                    if let Some(Some(Stage::Ready { landlock })) = self.stage {
                        // A harness that is gone is noticed by itself.
                        let _ = say(harness, &Word::Entered { landlock });
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if capped.is_none()
                && let Some(due) = census.is_due(&self.limits)
            {
                capped = self.too_many(due);
            }
        }
        let (strays, all_gone) = self.kill_all();
        // Its end of the line is closed by now.
        self.until(PATIENCE, |watch| watch.stage.is_some());
        let landlock = matches!(self.stage, Some(Some(Stage::Ready { landlock: true })));
        Report { ending: self.ending(capped), strays, all_gone, landlock }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Reaped(id, status) if id == self.leader => self.leader_status = Some(status),
            Event::Alone => self.alone = true,
            Event::Stage(stage) => self.stage = Some(stage),
            Event::HarnessGone => self.abandoned = true,
            Event::Reaped(..) | Event::Asked(_) | Event::Exceeded(_) => {}
        }
    }

    /// Takes in events for this long, or until one of them makes it true.
    fn until(&mut self, max: Duration, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + max;
        while !holds(self) {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => self.note(event),
                Err(_) => return,
            }
        }
    }

    fn too_many(&self, due: Due) -> Option<String> {
        if due == Due::Stopped {
            self.signal_leaders_group(Signal::STOP);
        }
        let why = self.count();
        if due == Due::Stopped && why.is_none() {
            // Others of this machine were it.
            self.signal_leaders_group(Signal::CONT);
        }
        why
    }

    /// Tells the leader and whoever stayed in its group, in one step that no fork outruns. Most who multiply stay there.
    fn signal_leaders_group(&self, signal: Signal) {
        let group = Pid::from_raw(self.leader).filter(|_| self.leader_status.is_none());
        if let Some(group) = group.filter(|group| !group.is_init()) {
            // A stage that leads no group yet is no danger.
            let _ = kill_process_group(group, signal);
        }
    }

    fn count(&self) -> Option<String> {
        let all = descent::below(self.own);
        let threads: usize = all.iter().map(|process| process.threads).sum();
        if all.len() > self.limits.processes {
            return Some(format!("it had more than {} processes", self.limits.processes));
        }
        (threads > self.limits.threads).then(|| format!("it had more than {} threads", self.limits.threads))
    }

    fn ask_to_end(&mut self, grace: Duration) {
        for process in descent::below(self.own) {
            process.signal(Signal::TERM);
        }
        let (end, mut census) = (Instant::now() + grace, Census::new());
        while self.leader_status.is_none() && !self.abandoned && Instant::now() < end {
            self.until(LOOK.min(grace), |watch| watch.leader_status.is_some() || watch.abandoned);
            // Who multiplies now has had its time.
            if census.is_due(&self.limits).is_some_and(|due| self.too_many(due).is_some()) {
                return;
            }
        }
    }

    /// Kills until nobody is left: how many outside the leader's group had to be, and whether that worked in time.
    fn kill_all(&mut self) -> (usize, bool) {
        if self.leader_status.is_some() {
            self.until(AT_ONCE, |watch| watch.alone);
        }
        self.signal_leaders_group(Signal::KILL);
        let give_up = Instant::now() + PATIENCE;
        let mut strays = HashSet::new();
        while !self.alone && Instant::now() < give_up {
            // Who is stopped starts nobody: each round leaves fewer who could, so a fork bomb comes to its end.
            let mut stopped = HashSet::new();
            loop {
                let mut fresh = descent::below(self.own);
                fresh.retain(|process| stopped.insert((process.id, process.started)));
                if fresh.is_empty() || Instant::now() > give_up {
                    break;
                }
                descent::signal_all(&fresh, Signal::STOP, self.own);
            }
            let all = descent::below(self.own);
            strays.extend(
                all.iter().filter(|p| p.group != self.leader && p.id != self.leader).map(|p| (p.id, p.started)),
            );
            descent::signal_all(&all, Signal::KILL, self.own);
            self.until(Duration::from_millis(20), |watch| watch.alone);
        }
        (strays.len(), self.alone)
    }

    fn ending(&mut self, capped: Option<String>) -> Ended {
        if let Some(why) = capped {
            return Ended::Capped(why);
        }
        match self.stage.take() {
            Some(Some(Stage::Failed(why))) => return Ended::NotStarted(why),
            Some(None) => return Ended::NotStarted("it was ended before it began".to_owned()),
            _ => {}
        }
        let Some(status) = self.leader_status else { return Ended::Signal(Signal::KILL.as_raw()) };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::Code(code),
            (None, Some(SIGXFSZ)) => {
                Ended::Capped(format!("it wrote a file of more than {}", in_mebibytes(self.limits.file_bytes)))
            }
            (None, signal) => Ended::Signal(signal.unwrap_or_default()),
        }
    }
}
