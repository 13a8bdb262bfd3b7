//! Who waits for changes: wakes them, and knows who has not yet taken what is there for them. The changes themselves
//! lie in the store's history, so a slow watcher costs nothing.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::{Duration, Instant};

use simulation::Resource;

/// A watcher that has not asked for its events for so long does not hold up cluster time any more.
const ABANDONED: Duration = Duration::from_secs(2);

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    Resource(&'static str, &'static str),
    Logs,
}

impl From<&Resource> for Topic {
    fn from(resource: &Resource) -> Self {
        Topic::Resource(resource.group, resource.plural)
    }
}

#[derive(Debug)]
struct Watcher {
    waker: Option<Waker>,
    /// Since when there has been something that it has not asked for; none: it has everything.
    behind_since: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct Watchers {
    watchers: BTreeMap<(Topic, u64), Watcher>,
    sequence: u64,
}

impl Watchers {
    /// A new watcher: behind until it is polled.
    pub(crate) fn add(&mut self, topic: Topic) -> (Topic, u64) {
        self.sequence += 1;
        let key = (topic, self.sequence);
        self.watchers.insert(key.clone(), Watcher { waker: None, behind_since: Some(Instant::now()) });
        key
    }

    pub(crate) fn remove(&mut self, key: &(Topic, u64)) {
        self.watchers.remove(key);
    }

    /// It has taken everything and waits.
    pub(crate) fn park(&mut self, key: &(Topic, u64), waker: &Waker) {
        if let Some(watcher) = self.watchers.get_mut(key) {
            watcher.waker = Some(waker.clone());
            watcher.behind_since = None;
        }
    }

    /// It has been given something: until it asks again, it is at work on that.
    pub(crate) fn busy(&mut self, key: &(Topic, u64)) {
        if let Some(watcher) = self.watchers.get_mut(key) {
            watcher.behind_since = Some(Instant::now());
        }
    }

    pub(crate) fn wake(&mut self, topic: impl Into<Topic>) {
        let topic = topic.into();
        let range = (topic.clone(), 0)..=(topic, u64::MAX);
        for (_, watcher) in self.watchers.range_mut(range) {
            watcher.behind_since.get_or_insert_with(Instant::now);
            if let Some(waker) = watcher.waker.take() {
                waker.wake();
            }
        }
    }

    pub(crate) fn wake_all(&mut self) {
        for waker in self.watchers.values_mut().filter_map(|watcher| watcher.waker.take()) {
            waker.wake();
        }
    }

    pub(crate) fn any_behind(&self) -> bool {
        self.watchers.values().any(|w| w.behind_since.is_some_and(|since| since.elapsed() < ABANDONED))
    }
}
