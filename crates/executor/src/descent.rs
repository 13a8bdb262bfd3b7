//! The living processes below one process, from `/proc`, and signals to them.

use std::collections::{HashMap, HashSet};
use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

/// A process as `/proc/<id>/stat` shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) id: i32,
    parent: i32,
    pub(crate) group: i32,
    session: i32,
    pub(crate) threads: usize,
    alive: bool,
    /// Clock ticks after boot: with the number it names a process for good.
    pub(crate) started: u64,
}

impl Process {
    /// Sends a signal; false when it is gone. A number that has passed to another process in the meantime is not hit.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let Some(handle) = Pid::from_raw(self.id).and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok()) else {
            return false;
        };
        self.is_there() && pidfd_send_signal(&handle, signal).is_ok()
    }

    /// Sends a signal to its whole group. The number of a group is its own as long as it has a member.
    fn signal_group(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.group).filter(|group| !group.is_init() && self.is_there()) {
            // Whoever is not reached so is signalled by itself.
            let _ = kill_process_group(group, signal);
        }
    }

    fn is_there(&self) -> bool {
        stat(self.id).is_some_and(|now| now.started == self.started && now.group == self.group)
    }
}

/// The living descendants of a process. Orphans count for the subreaper that adopts them.
pub(crate) fn below(ancestor: i32) -> Vec<Process> {
    let all = snapshot();
    let mut children: HashMap<i32, Vec<&Process>> = HashMap::new();
    for process in &all {
        children.entry(process.parent).or_default().push(process);
    }
    let (mut found, mut seen, mut ahead) = (Vec::new(), HashSet::from([ancestor]), vec![ancestor]);
    while let Some(parent) = ahead.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            // The reading is not atomic: two numbers may change hands while it goes on.
            if seen.insert(child.id) {
                ahead.push(child.id);
                found.push(**child);
            }
        }
    }
    found.retain(|process| process.alive);
    found
}

/// Kills whoever is in one of these sessions, besides `spared`: all that can be told of a tree whose supervisor is gone.
pub(crate) fn kill_sessions(sessions: &[i32], spared: i32) {
    /// A process that forks faster than it is killed is chased this often.
    const ROUNDS: usize = 50;
    for _ in 0..ROUNDS {
        let mut members = snapshot();
        members.retain(|p| sessions.contains(&p.session) && p.id != spared && p.alive);
        if members.is_empty() {
            return;
        }
        signal_all(&members, Signal::KILL, spared);
    }
}

/// Signals processes with everybody of their groups: a group takes a signal in one step, and no child that is being made
/// escapes it, so that whoever multiplies cannot be faster. A group of whom `spared` is the leader is never hit whole.
pub(crate) fn signal_all(processes: &[Process], signal: Signal, spared: i32) {
    let mut groups = HashSet::new();
    for process in processes {
        if process.group != spared && groups.insert(process.group) {
            process.signal_group(signal);
        }
    }
    for process in processes {
        process.signal(signal);
    }
}

/// How many threads there are on this machine: a number that is had at once, where counting processes takes a while.
pub(crate) fn threads_of_machine() -> Option<usize> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

fn snapshot() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()).filter_map(stat).collect()
}

/// `/proc/<id>/stat`, proc(5): the name in parentheses may hold anything, so reading starts after the last one.
fn stat(id: i32) -> Option<Process> {
    let text = fs::read(format!("/proc/{id}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<i64>().ok();
    let small = |at: usize| i32::try_from(number(at)?).ok();
    let threads = usize::try_from(number(17)?).ok()?;
    Some(Process {
        id,
        // The first thread of a process may end before the others: that looks like a zombie and is none.
        alive: !matches!(*fields.first()?, "Z" | "X") || threads > 1,
        parent: small(1)?,
        group: small(2)?,
        session: small(3)?,
        threads,
        started: u64::try_from(number(19)?).ok()?,
    })
}
