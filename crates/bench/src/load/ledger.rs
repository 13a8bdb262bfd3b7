//! What the writer did, and what of it each watcher must have seen.

use std::sync::OnceLock;
use std::time::Instant;

use crate::fill::Name;
use crate::watcher::Scope;

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Added,
    Modified,
    Deleted,
}

/// One write, with the label before it and after it; none: there was no pod.
#[derive(Clone, Debug)]
pub(crate) struct Wrote {
    pub(crate) name: Name,
    pub(crate) was: Option<usize>,
    pub(crate) is: Option<usize>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) what: What,
    pub(crate) name: Name,
    /// Which write; none for a deletion, whose object is that of the write before.
    pub(crate) step: Option<usize>,
}

/// When each write was begun.
#[derive(Debug)]
pub(crate) struct Ledger(Vec<OnceLock<Instant>>);

impl Ledger {
    pub(crate) fn new(writes: usize) -> Self {
        Self((0..writes).map(|_| OnceLock::new()).collect())
    }

    /// Steps count from 1; what was there before has 0.
    pub(crate) fn begin(&self, step: usize) -> Instant {
        let now = Instant::now();
        step.checked_sub(1).and_then(|index| self.0.get(index)).map_or(now, |begun| *begun.get_or_init(|| now))
    }

    pub(crate) fn begun(&self, step: usize) -> Option<Instant> {
        self.0.get(step.checked_sub(1)?)?.get().copied()
    }
}

/// All writes, in order.
#[derive(Debug)]
pub(crate) struct Expected(Vec<Wrote>);

impl Expected {
    pub(crate) fn new(log: Vec<Wrote>) -> Self {
        Self(log)
    }

    /// The events of a watcher: what comes into its selection is added for it, what leaves it is deleted.
    pub(crate) fn of(&self, scope: &Scope) -> Vec<Event> {
        let event = |(index, wrote): (usize, &Wrote)| {
            let selects = |shard: Option<usize>| shard.is_some_and(|shard| scope.selects(&wrote.name, shard));
            let what = match (selects(wrote.was), selects(wrote.is)) {
                (false, true) => What::Added,
                (true, true) => What::Modified,
                (true, false) => What::Deleted,
                (false, false) => return None,
            };
            let step = (what != What::Deleted).then_some(index + 1);
            Some(Event { what, name: wrote.name.clone(), step })
        };
        self.0.iter().enumerate().filter_map(event).collect()
    }
}
