//! Ends everything that a process has started: its group, its descendants, and whoever carries the marker of the case in
//! the environment. A descendant that left the group, lost its parents and cleaned its environment escapes this; only a
//! supervisor process that adopts orphans can hold it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

/// The environment variable that marks the processes of a case.
pub(crate) const MARKER: &str = "HARNESS_CASE";

/// A process that forks faster than it is killed is chased this often.
const ROUNDS: usize = 50;

/// A process that was started as leader of its own group.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    leader: Pid,
    marker: Option<Vec<u8>>,
    /// Everyone who was seen outside the group so far: once its parents are dead, a descendant looks like nobody's.
    seen: Arc<Mutex<HashMap<i32, Stray>>>,
}

impl Tree {
    /// `marker` is the value of [`MARKER`] in the leader's environment, random and used once.
    pub(crate) fn new(leader: u32, marker: Option<&str>) -> Option<Self> {
        let leader = Pid::from_raw(i32::try_from(leader).ok()?)?;
        let marker = marker.map(|m| format!("{MARKER}={m}").into_bytes());
        Some(Self { leader, marker, seen: Arc::default() })
    }

    pub(crate) fn leader(&self) -> Pid {
        self.leader
    }

    /// Sends a signal to everyone once. The leader must not have been reaped, or its number may be another's.
    pub(crate) fn signal(&self, signal: Signal) {
        // Before the group: its members' deaths cut the lines of descent.
        self.look();
        // No such group: all have gone.
        let _ = kill_process_group(self.leader, signal);
        self.send(signal);
    }

    /// Kills until nobody is left. Returns how many besides the leader's group had to be.
    pub(crate) fn kill(&self) -> usize {
        let mut killed = 0;
        for _ in 0..ROUNDS {
            let found = self.look();
            let _ = kill_process_group(self.leader, Signal::KILL);
            killed += self.send(Signal::KILL);
            if found == 0 {
                break;
            }
        }
        killed
    }

    /// Signals those outside the group; those who are gone are forgotten, the killed ones too.
    fn send(&self, signal: Signal) -> usize {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, stray| pidfd_send_signal(&stray.handle, signal).is_ok());
        let reached = seen.len();
        if signal == Signal::KILL {
            seen.clear();
        }
        reached
    }

    /// Remembers the living processes of the tree outside the leader's group; returns how many there are.
    fn look(&self) -> usize {
        let processes = snapshot();
        let group = self.leader.as_raw_nonzero().get();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // The number of one who died may be another's by now.
        seen.retain(|id, stray| processes.get(id).is_some_and(|p| p.started == stray.started));
        let mut ours: HashSet<i32> = seen.keys().copied().chain([group]).collect();
        // Parents may come after their children in the list.
        loop {
            let children = processes.iter().filter(|(_, p)| ours.contains(&p.parent)).map(|(id, _)| *id);
            let children: Vec<i32> = children.filter(|id| !ours.contains(id)).collect();
            if children.is_empty() {
                break;
            }
            ours.extend(children);
        }
        let mut found = 0;
        for (id, process) in processes.iter().filter(|(_, p)| p.group != group && p.alive) {
            if !ours.contains(id) && !self.carries_marker(*id) {
                continue;
            }
            let Some(handle) = Pid::from_raw(*id).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()) else {
                continue;
            };
            // The number may have passed to another process before the handle was open.
            if stat(*id).is_some_and(|now| now.started == process.started) {
                seen.insert(*id, Stray { started: process.started, handle });
                found += 1;
            }
        }
        found
    }

    fn carries_marker(&self, id: i32) -> bool {
        let Some(marker) = &self.marker else { return false };
        fs::read(format!("/proc/{id}/environ"))
            .is_ok_and(|environment| environment.split(|b| *b == 0).any(|variable| variable == marker.as_slice()))
    }
}

#[derive(Debug)]
struct Stray {
    started: u64,
    handle: OwnedFd,
}

struct Process {
    parent: i32,
    group: i32,
    alive: bool,
    /// Clock ticks after boot: with the number it names a process for good.
    started: u64,
}

fn snapshot() -> HashMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let ids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(|id| Some((id, stat(id)?))).collect()
}

/// `/proc/<id>/stat`, proc(5): the name in parentheses may hold anything, so reading starts after the last one.
fn stat(id: i32) -> Option<Process> {
    let text = fs::read(format!("/proc/{id}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<i64>().ok();
    Some(Process {
        alive: !matches!(*fields.first()?, "Z" | "X"),
        parent: i32::try_from(number(1)?).ok()?,
        group: i32::try_from(number(2)?).ok()?,
        started: u64::try_from(number(19)?).ok()?,
    })
}
