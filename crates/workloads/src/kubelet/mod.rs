//! The node: makes pods run as their specs say, as the kubelet does it, one worker per pod.
//!
//! What looks odd about a real pod's status comes from the kubelet's shape, so that shape is kept: a sync writes the
//! status of *before* its own work, learns of ended containers once a second, and comes back after a jittered pause.

mod backoff;
mod environment;
mod exec;
mod image;
mod network;
mod node;
mod probe;
mod start;
mod status;
mod stop;
mod sync;
mod volumes;
mod worker;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use simulation::resources::{NODES, PODS};
use simulation::{Change, Controller, Exec, World};

use crate::NodeConfig;
use crate::fields::{after, millis, name, text, uid};
use worker::Worker;

pub(crate) const NAME: &str = "kubelet";

/// What the workers of all pods share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    nodes: BTreeMap<String, Node>,
    /// Open ports by pod address.
    listeners: HashMap<String, (String, Vec<shell::Listener>)>,
    next_address: u32,
    /// Lines that servers write to their logs when they are asked: address, line.
    access: Vec<(String, String)>,
}

/// One node.
#[derive(Debug, Default)]
struct Node {
    address: String,
    images: BTreeSet<String>,
    /// Where in a second its syncs and relists fall.
    phase: Duration,
    /// Times in which its kubelet does not run.
    outages: Vec<(Timestamp, Timestamp)>,
}

impl Node {
    /// When the kubelet runs again, if it does not now.
    fn back_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.outages.iter().find(|(from, until)| (*from..*until).contains(&now)).map(|(_, until)| *until)
    }
}

/// A worker's surroundings.
pub(crate) struct Context<'a> {
    world: &'a mut dyn World,
    shared: &'a mut Shared,
}

impl Context<'_> {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    /// Between the two, in milliseconds.
    fn between(&mut self, least: u64, most: u64) -> Duration {
        millis(least + self.world.random() % (most - least + 1))
    }

    /// 1 to 1.5 times as long.
    fn jittered(&mut self, pause: Duration) -> Duration {
        let part = (self.world.random() % 500) as u32;
        pause + pause * part / 1000
    }

    /// The next whole second of the node's loop.
    fn tick(&self, node: &str, at: Timestamp) -> Timestamp {
        let phase = self.shared.nodes.get(node).map_or(Duration::ZERO, |n| n.phase);
        let nanos = at.as_nanosecond() - phase.as_nanos() as i128;
        let rest = nanos.rem_euclid(1_000_000_000);
        after(at, Duration::from_nanos((1_000_000_000 - rest) as u64))
    }
}

/// All nodes of the cluster.
#[derive(Debug)]
pub(crate) struct Kubelet {
    config: NodeConfig,
    shared: Shared,
    workers: HashMap<String, Worker>,
}

impl Kubelet {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        Self {
            config: config.clone(),
            shared: Shared { next_address: 1, ..Shared::default() },
            workers: HashMap::new(),
        }
    }

    fn turn(&mut self, world: &mut dyn World, uid: &str) {
        let Some(mut worker) = self.workers.remove(uid) else { return };
        let node = self.shared.nodes.get(worker.node());
        if let Some(back) = node.and_then(|node| node.back_at(world.now())) {
            // A kubelet that starts again looks at its pods after a second.
            world.wake_at(NAME, uid.to_owned(), after(back, millis(1000)));
            worker.away = true;
            self.workers.insert(uid.to_owned(), worker);
            return;
        }
        let mut context = Context { world, shared: &mut self.shared };
        if std::mem::take(&mut worker.away) {
            worker.found_again(&mut context);
        }
        worker.turn(&mut context);
        if worker.is_over() {
            self.shared.listeners.retain(|_, (owner, _)| owner != uid);
            world.cancel_wake(NAME, uid);
        } else {
            if let Some(at) = worker.next_due() {
                world.wake_at(NAME, uid.to_owned(), at);
            }
            self.workers.insert(uid.to_owned(), worker);
        }
        self.log_access(world);
    }

    /// Lines about requests go to the log of whoever answered.
    fn log_access(&mut self, world: &mut dyn World) {
        for (address, line) in std::mem::take(&mut self.shared.access) {
            if let Some((owner, _)) = self.shared.listeners.get(&address)
                && let Some(run) = self.workers.get(owner).and_then(Worker::serving_run)
            {
                world.log(&run, false, &line);
            }
        }
    }

    fn pod(&mut self, world: &mut dyn World, pod: &Arc<Value>) {
        let node = text(pod, "/spec/nodeName");
        if !self.shared.nodes.contains_key(node) {
            return;
        }
        let id = uid(pod).to_owned();
        match self.workers.get_mut(&id) {
            Some(worker) => {
                if !worker.update(world, pod) {
                    return;
                }
            }
            None => {
                if crate::fields::is_terminal(pod) && !crate::fields::is_deleting(pod) {
                    return;
                }
                self.workers.insert(id.clone(), Worker::new(world, pod));
            }
        }
        let at = self.workers.get(&id).and_then(Worker::next_due);
        if let Some(at) = at {
            world.wake_at(NAME, id, at);
        }
    }
}

impl Controller for Kubelet {
    fn name(&self) -> &'static str {
        NAME
    }

    fn start(&mut self, world: &mut dyn World) {
        for index in 0..self.config.nodes {
            let node = node::object(&self.config, index, world.now());
            let phase = millis(world.random() % 1000);
            let images = self.config.images.iter().filter_map(|i| shell::resolve(i).ok()).map(|i| i.name).collect();
            let address = text(&node, "/status/addresses/0/address").to_owned();
            let now = world.now();
            let own = self.config.outages.iter().filter(|outage| outage.node == name(&node));
            let outages = own.map(|outage| (after(now, outage.from), after(now, outage.until))).collect();
            self.shared.nodes.insert(name(&node).to_owned(), Node { address, images, phase, outages });
            node::register(world, node);
        }
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, pod) | Change::Modified(r, _, pod) if *r == PODS => self.pod(world, pod),
            Change::Deleted(r, pod) if *r == PODS => {
                if let Some(mut worker) = self.workers.remove(uid(pod)) {
                    worker.removed(world);
                    self.shared.listeners.retain(|_, (owner, _)| owner != uid(pod));
                    world.cancel_wake(NAME, uid(pod));
                }
            }
            Change::Deleted(r, node) if *r == NODES => node::registered_again(world, &self.config, name(node)),
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        match key.strip_prefix("node/") {
            Some(node) => node::heartbeat(world, &self.shared, node),
            None => self.turn(world, key),
        }
    }

    fn exec(&mut self, world: &mut dyn World, exec: &Exec) -> Option<Result<(), String>> {
        self.begin_exec(world, exec)
    }

    fn cancel_exec(&mut self, world: &mut dyn World, exec: &Exec) {
        self.end_exec(world, exec);
    }
}
