//! Changes of size that are no rollout: the deployment was scaled, or is paused.

use std::sync::Arc;

use serde_json::{Value, json};
use simulation::World;
use simulation::resources::REPLICA_SETS;

use super::revision::{DESIRED, MOST, annotation};
use super::rollout::others;
use super::{MANAGER, Sync, available, size};
use crate::fields::{name, number, put, text, truth};

impl Sync<'_> {
    /// Whether the wanted number differs from what the active replica sets were made for.
    pub(super) fn is_scaling(&self, sets: &[Arc<Value>]) -> bool {
        sets.iter().filter(|set| size(set) > 0).any(|set| {
            annotation(set, DESIRED)
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|desired| desired != self.replicas())
        })
    }

    pub(super) fn scale(&mut self, world: &mut dyn World, sets: Vec<Arc<Value>>) {
        let new = self.ensure_new(world, &sets, false);
        let sets = self.sets();
        let old = match &new {
            Some(new) => others(&sets, new),
            None => sets.clone(),
        };
        self.distribute(world, &sets, new.as_ref(), &old);
        if truth(&self.deployment, "/spec/paused") {
            self.clean_up(world, &old);
        }
        let sets = self.sets();
        let new = self.find_new(&sets);
        self.write_status(world, &sets, new.as_ref());
    }

    fn distribute(&mut self, world: &mut dyn World, sets: &[Arc<Value>], new: Option<&Arc<Value>>, old: &[Arc<Value>]) {
        let active: Vec<Arc<Value>> = sets.iter().filter(|set| size(set) > 0).cloned().collect();
        let only = match active.as_slice() {
            [] => new.or(sets.last()),
            [one] => Some(one),
            _ => None,
        };
        if let Some(only) = only {
            self.resize(world, only, self.replicas());
            return;
        }
        let saturated = new.is_some_and(|new| {
            let desired = annotation(new, DESIRED).and_then(|text| text.parse::<i64>().ok());
            size(new) == self.replicas() && desired == Some(self.replicas()) && available(new) == self.replicas()
        });
        if saturated {
            for set in old.iter().filter(|set| size(set) > 0) {
                self.resize(world, set, 0);
            }
            return;
        }
        if text(&self.deployment, "/spec/strategy/type") != "Recreate" {
            self.proportional(world, active);
        }
    }

    /// In the middle of a rollout every replica set gets its share of the difference.
    fn proportional(&mut self, world: &mut dyn World, mut active: Vec<Arc<Value>>) {
        let (surge, _) = self.bounds();
        let allowed = if self.replicas() > 0 { self.replicas() + surge } else { 0 };
        let mut rest = allowed - active.iter().map(|set| size(set)).sum::<i64>();
        active.sort_by_key(|set| std::cmp::Reverse(size(set)));
        if rest > 0 {
            // Newer ones first among equals when growing.
            active.sort_by(|a, b| {
                size(b)
                    .cmp(&size(a))
                    .then_with(|| text(b, "/metadata/creationTimestamp").cmp(text(a, "/metadata/creationTimestamp")))
            });
        }
        let mut sizes: Vec<i64> = Vec::new();
        for set in &active {
            let before = annotation(set, MOST)
                .and_then(|text| text.parse::<i64>().ok())
                .unwrap_or_else(|| number(&self.deployment, "/status/replicas").unwrap_or(1))
                .max(1);
            let share = ((size(set) * allowed) as f64 / before as f64).round() as i64 - size(set);
            let share = if rest > 0 { share.clamp(0, rest) } else { share.clamp(rest, 0) };
            rest -= share;
            sizes.push(size(set) + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + rest).max(0);
        }
        for (set, wanted) in active.iter().zip(sizes) {
            self.resize(world, set, wanted);
        }
    }

    /// Sets the size and the annotations about sizes; says so when the size changes.
    pub(super) fn resize(&mut self, world: &mut dyn World, set: &Arc<Value>, wanted: i64) -> Option<Arc<Value>> {
        let before = size(set);
        let mut changed = (**set).clone();
        self.annotate_sizes(&mut changed);
        put(&mut changed, &["spec", "replicas"], json!(wanted));
        if changed == **set {
            return None;
        }
        let stored = world.update(&REPLICA_SETS, changed, MANAGER).ok()?;
        self.controller.sets.put(&stored);
        if before != wanted {
            let direction = if wanted > before { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {} from {before} to {wanted}", name(set));
            self.say(world, false, "ScalingReplicaSet", message);
        }
        Some(stored)
    }
}
