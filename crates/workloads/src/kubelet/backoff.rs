//! Exponential back-off as `flowcontrol.Backoff` of client-go does it.

use std::time::Duration;

use jiff::Timestamp;

use crate::fields::{after, between};

const FIRST: Duration = Duration::from_secs(10);
const MOST: Duration = Duration::from_secs(300);

/// The back-off of one container or image.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    entry: Option<(Duration, Timestamp)>,
}

impl Backoff {
    /// Whether what happened at `event` is still being waited for.
    pub(super) fn holds_since(&self, event: Timestamp, now: Timestamp) -> bool {
        self.entry.is_some_and(|(pause, updated)| !expired(event, updated) && between(event, now) < pause)
    }

    /// As above, counted from when the back-off last grew.
    pub(super) fn holds(&self, now: Timestamp) -> bool {
        self.entry.is_some_and(|(pause, updated)| !expired(now, updated) && between(updated, now) < pause)
    }

    /// The current pause.
    pub(super) fn pause(&self) -> Duration {
        self.entry.map_or(Duration::ZERO, |(pause, _)| pause)
    }

    /// When waiting for what happened at `event` ends.
    pub(super) fn until(&self, event: Timestamp) -> Timestamp {
        after(event, self.pause())
    }

    /// Grows: 10 s at first and after ten quiet minutes, then double, at most five minutes.
    pub(super) fn grow(&mut self, event: Timestamp, now: Timestamp) {
        let pause = match self.entry {
            Some((pause, updated)) if !expired(event, updated) => (pause * 2).min(MOST),
            _ => FIRST,
        };
        self.entry = Some((pause, now));
    }
}

fn expired(event: Timestamp, updated: Timestamp) -> bool {
    between(updated, event) > MOST * 2
}
