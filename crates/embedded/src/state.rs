//! Everything that a cluster is, behind one lock: objects, time, controllers, logs. What is done to it is done in one
//! order; controllers see each change before the request that made it is answered.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use simulation::{Change, Controller, Resource};

use crate::events::Correlator;
use crate::execs::Execs;
use crate::logs::Logs;
use crate::object;
use crate::random::Random;
use crate::registry::{Info, Registry};
use crate::store::{Event, Store};
use crate::time::{Due, Time, Timers};
use crate::watchers::Watchers;
use crate::webhooks::Webhooks;

/// Changes that are worked on in one go: more than that means controllers that never come to rest, and the rest is left
/// to the next turn, so that a request still gets its answer.
const TURN: usize = 50_000;

/// How often old Events are looked for.
const SWEEP: SignedDuration = SignedDuration::from_mins(10);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    pub(crate) time: Time,
    pub(crate) timers: Timers,
    pub(crate) logs: Logs,
    pub(crate) execs: Execs,
    pub(crate) events: Correlator,
    pub(crate) random: Random,
    pub(crate) watchers: Watchers,
    pub(crate) addresses: u32,
    /// What the client whose request is worked on is to be warned of.
    warnings: Vec<String>,
    pub(crate) webhooks: Webhooks,
    /// With which tokens are signed.
    pub(crate) token_key: [u8; 32],
    /// The cluster is gone; only streams of it are left.
    pub(crate) ended: bool,
    /// When old Events were last looked for.
    swept: Timestamp,
    controllers: Vec<Box<dyn Controller>>,
    queue: VecDeque<Change>,
}

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        let time = Time::new();
        Self {
            ended: false,
            swept: time.now(),
            time,
            registry: Registry::default(),
            store: Store::default(),
            timers: Timers::default(),
            logs: Logs::default(),
            execs: Execs::default(),
            events: Correlator::default(),
            random: Random::new(seed),
            watchers: Watchers::default(),
            addresses: 9,
            warnings: Vec::new(),
            webhooks: Webhooks::default(),
            token_key: rand::random(),
            controllers: Vec::new(),
            queue: VecDeque::new(),
        }
    }

    /// Starts the controllers, in order.
    pub(crate) fn start(&mut self, mut controllers: Vec<Box<dyn Controller>>) {
        for controller in &mut controllers {
            controller.start(self);
        }
        self.controllers = controllers;
        self.settle();
    }

    /// From now on only the API machinery works: no controller, scheduler or node makes objects behave.
    pub(crate) fn freeze(&mut self) {
        self.settle();
        let machinery: Vec<&str> = crate::machinery::controllers().iter().map(|one| one.name()).collect();
        self.controllers.retain(|controller| machinery.contains(&controller.name()));
    }

    /// Nothing happens any more: whoever still waits is let go.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.watchers.wake_all();
        self.timers.fire_all();
        self.execs.end_all();
    }

    /// Warns the client whose request is worked on, once of each thing.
    pub(crate) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The warnings since they were last taken.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// True while changes wait to be seen by controllers.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// Lets controllers see what has changed until nothing changes any more.
    pub(crate) fn settle(&mut self) {
        let mut controllers = std::mem::take(&mut self.controllers);
        for _ in 0..TURN {
            let Some(change) = self.queue.pop_front() else { break };
            for controller in &mut controllers {
                controller.observe(self, &change);
            }
        }
        if !self.queue.is_empty() {
            tracing::warn!(left = self.queue.len(), "controllers do not come to rest");
        }
        self.controllers = controllers;
    }

    /// Asks one controller after the other until one has an answer.
    pub(crate) fn ask_controllers<T>(
        &mut self,
        mut ask: impl FnMut(&mut dyn Controller, &mut Self) -> Option<T>,
    ) -> Option<T> {
        let mut controllers = std::mem::take(&mut self.controllers);
        let answer = controllers.iter_mut().find_map(|controller| ask(&mut **controller, self));
        self.controllers = controllers;
        answer
    }

    /// Brings cluster time to `at`: runs what is due until then, each at its own time.
    pub(crate) fn advance(&mut self, at: Timestamp) {
        self.settle();
        while let Some((due_at, due)) = self.timers.pop(at) {
            self.time.set_now(due_at);
            match due {
                Due::Sleeper(id) => self.timers.fire(id),
                Due::Controller(name, key) => {
                    let mut controllers = std::mem::take(&mut self.controllers);
                    if let Some(controller) = controllers.iter_mut().find(|c| c.name() == name) {
                        controller.wake(self, &key);
                    }
                    self.controllers = controllers;
                    self.settle();
                }
            }
        }
        self.time.set_now(at);
        if self.swept.duration_until(self.now()) > SWEEP {
            self.swept = self.now();
            self.expire_events();
            self.settle();
        }
    }

    /// Brings cluster time to where the clock is.
    pub(crate) fn catch_up(&mut self) {
        let running = self.time.running();
        self.advance(running);
    }

    /// Writes an object that is complete but for its resourceVersion.
    pub(crate) fn commit(&mut self, info: &Info, event: Event, mut value: Value) -> Arc<Value> {
        let revision = self.store.next_revision();
        object::metadata(&mut value).insert("resourceVersion".into(), revision.to_string().into());
        let value = Arc::new(value);
        let (namespace, name) = (object::namespace(&value).to_owned(), object::name(&value).to_owned());
        let resource = info.resource;
        let old = self.store.commit(&resource, &namespace, &name, event, Arc::clone(&value));
        let before = old.clone();
        self.watchers.wake(&resource);
        if resource == simulation::resources::PODS {
            // A followed log ends with its container; the logs themselves with the pod.
            self.watchers.wake(crate::watchers::Topic::Logs);
            if event == Event::Deleted {
                self.logs.drop_pod(object::uid(&value));
            }
        }
        self.queue.push_back(match (event, old) {
            (Event::Deleted, _) => Change::Deleted(resource, Arc::clone(&value)),
            (_, None) => Change::Added(resource, Arc::clone(&value)),
            (_, Some(old)) => Change::Modified(resource, old, Arc::clone(&value)),
        });
        if resource == crate::custom::DEFINITIONS {
            crate::custom::changed(self, event, before.as_deref(), &value);
        }
        value
    }

    /// The resource's row, for controllers that speak of a [`Resource`].
    pub(crate) fn info(&self, resource: &Resource) -> Option<Arc<Info>> {
        self.registry.find(resource.group, resource.version, resource.plural).cloned()
    }
}
