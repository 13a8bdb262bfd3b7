//! Cluster time and timers: when it is, and what is due next. Pure bookkeeping; the driver decides when to move on.

use std::collections::{BTreeMap, HashMap};
use std::task::Waker;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// How far behind the wall a cluster starts, so that what happens before an agent looks lies in its past.
const HEAD_START: SignedDuration = SignedDuration::from_mins(10);

/// The relation of cluster time to the wall.
#[derive(Debug)]
pub(crate) struct Time {
    wall_at_start: Timestamp,
    started: Instant,
    /// Cluster time minus wall time.
    offset: SignedDuration,
    now: Timestamp,
}

impl Time {
    pub(crate) fn new() -> Self {
        let wall = Timestamp::now();
        let offset = -HEAD_START;
        Self { wall_at_start: wall, started: Instant::now(), offset, now: wall.saturating_add(offset).unwrap_or(wall) }
    }

    /// Wall time, monotonic.
    pub(crate) fn wall(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::MAX);
        self.wall_at_start.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// Cluster time as the clock has it; `now` follows when timers have run.
    pub(crate) fn running(&self) -> Timestamp {
        self.wall().checked_add(self.offset).unwrap_or(Timestamp::MAX)
    }

    /// Cluster time that everything sees: it stands still while something is worked on.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn set_now(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
    }

    /// Jumps ahead: the running clock is at `at` from here on.
    pub(crate) fn jump_to(&mut self, at: Timestamp) {
        self.offset = self.wall().duration_until(at);
    }

    /// Cluster time is wall time from here on.
    pub(crate) fn meet_wall(&mut self) {
        self.offset = SignedDuration::ZERO;
    }

    /// How long, on the wall, until cluster time is `at`.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(self.running().duration_until(at)).unwrap_or(Duration::ZERO)
    }

    /// True when cluster time has been brought to the wall, or is ahead of it.
    pub(crate) fn at_wall(&self) -> bool {
        !self.offset.is_negative()
    }
}

/// Something that is due at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    Controller(&'static str, String),
    Sleeper(u64),
}

#[derive(Debug)]
struct Sleeper {
    at: (Timestamp, u64),
    fired: bool,
    waker: Option<Waker>,
    polled: bool,
}

/// What a sleeper's future learns when it is polled.
pub(crate) enum Slept {
    Yes,
    NotYet,
}

/// All timers, in the order in which they are due; those of one moment in the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeMap<(Timestamp, u64), Due>,
    keys: HashMap<(&'static str, String), (Timestamp, u64)>,
    sleepers: HashMap<u64, Sleeper>,
    sequence: u64,
}

impl Timers {
    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn set(&mut self, controller: &'static str, key: String, at: Timestamp) {
        self.cancel(controller, &key);
        let slot = (at, self.next_sequence());
        self.keys.insert((controller, key.clone()), slot);
        self.due.insert(slot, Due::Controller(controller, key));
    }

    pub(crate) fn cancel(&mut self, controller: &'static str, key: &str) {
        if let Some(slot) = self.keys.remove(&(controller, key.to_owned())) {
            self.due.remove(&slot);
        }
    }

    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the first timer that is due at `now`.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Due)> {
        let entry = self.due.first_entry()?;
        let (at, _) = *entry.key();
        if at > now {
            return None;
        }
        let due = entry.remove();
        if let Due::Controller(controller, key) = &due {
            self.keys.remove(&(*controller, key.clone()));
        }
        Some((at, due))
    }

    pub(crate) fn add_sleeper(&mut self, at: Timestamp) -> u64 {
        let id = self.next_sequence();
        self.due.insert((at, id), Due::Sleeper(id));
        self.sleepers.insert(id, Sleeper { at: (at, id), fired: false, waker: None, polled: false });
        id
    }

    pub(crate) fn fire(&mut self, id: u64) {
        if let Some(sleeper) = self.sleepers.get_mut(&id) {
            sleeper.fired = true;
            if let Some(waker) = sleeper.waker.take() {
                waker.wake();
            }
        }
    }

    pub(crate) fn fire_all(&mut self) {
        let ids: Vec<u64> = self.sleepers.keys().copied().collect();
        for id in ids {
            self.fire(id);
        }
    }

    pub(crate) fn poll_sleeper(&mut self, id: u64, waker: &Waker) -> Slept {
        match self.sleepers.get_mut(&id) {
            Some(sleeper) if !sleeper.fired => {
                sleeper.polled = true;
                sleeper.waker = Some(waker.clone());
                Slept::NotYet
            }
            _ => {
                self.remove_sleeper(id);
                Slept::Yes
            }
        }
    }

    pub(crate) fn remove_sleeper(&mut self, id: u64) {
        if let Some(sleeper) = self.sleepers.remove(&id) {
            self.due.remove(&sleeper.at);
        }
    }

    /// Someone who sleeps has not been heard of since it began to sleep or was woken: time must not hurry past it.
    pub(crate) fn sleeper_pending(&self) -> bool {
        self.sleepers.values().any(|sleeper| sleeper.fired || !sleeper.polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_key_moves_and_order_is_kept() {
        let mut timers = Timers::default();
        timers.set("a", "x".into(), at(5));
        timers.set("a", "y".into(), at(3));
        timers.set("a", "x".into(), at(3));
        assert_eq!(timers.pop(at(10)), Some((at(3), Due::Controller("a", "y".into()))));
        assert_eq!(timers.pop(at(10)), Some((at(3), Due::Controller("a", "x".into()))));
        assert_eq!(timers.pop(at(10)), None);
        timers.set("a", "z".into(), at(3));
        timers.cancel("a", "z");
        assert_eq!(timers.next_at(), None);
    }

    #[test]
    fn time_stands_still_and_never_goes_back() {
        let mut time = Time::new();
        let now = time.now();
        assert!(!time.at_wall());
        time.set_now(at(0));
        assert_eq!(time.now(), now);
        time.jump_to(time.wall());
        assert!(!time.at_wall(), "the wall moves on while one jumps");
        time.meet_wall();
        assert!(time.at_wall());
    }
}
