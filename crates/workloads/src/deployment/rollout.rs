//! Rolling and recreating updates.

use std::sync::Arc;

use serde_json::Value;
use simulation::World;

use super::{Sync, available, size};
use crate::fields::{name, number};

impl Sync<'_> {
    pub(super) fn roll(&mut self, world: &mut dyn World, sets: Vec<Arc<Value>>) {
        let Some(new) = self.ensure_new(world, &sets, true) else { return };
        let sets = self.sets();
        let old = others(&sets, &new);
        if self.grow_new(world, &sets, &new) || self.shrink_old(world, &sets, &old, &new) {
            let sets = self.sets();
            let new = self.find_new(&sets);
            return self.rollout_status(world, &sets, new.as_ref());
        }
        self.rollout_status(world, &sets, Some(&new));
        if self.is_complete() {
            self.clean_up(world, &old);
        }
    }

    pub(super) fn recreate(&mut self, world: &mut dyn World, sets: Vec<Arc<Value>>) {
        let new = self.ensure_new(world, &sets, false);
        let sets = self.sets();
        let old: Vec<Arc<Value>> = match &new {
            Some(new) => others(&sets, new),
            None => sets.clone(),
        };
        let mut scaled = false;
        for set in old.iter().filter(|set| size(set) > 0) {
            scaled |= self.resize(world, set, 0).is_some();
        }
        let running = old.iter().any(|set| {
            number(set, "/status/replicas").unwrap_or(0) > 0
                || number(set, "/status/terminatingReplicas").unwrap_or(0) > 0
        });
        if scaled || running {
            let sets = self.sets();
            return self.rollout_status(world, &sets, new.as_ref());
        }
        let Some(new) = new.or_else(|| self.ensure_new(world, &sets, true)) else { return };
        if size(&new) != self.replicas() {
            self.resize(world, &new, self.replicas());
        }
        let sets = self.sets();
        let new = self.find_new(&sets);
        self.rollout_status(world, &sets, new.as_ref());
        if self.is_complete() {
            self.clean_up(world, &old);
        }
    }

    fn grow_new(&mut self, world: &mut dyn World, sets: &[Arc<Value>], new: &Arc<Value>) -> bool {
        let current = size(new);
        let wanted = if current > self.replicas() { self.replicas() } else { self.size_of_new(sets, current) };
        current != wanted && self.resize(world, new, wanted).is_some()
    }

    /// First what is not healthy, then as much as availability allows.
    fn shrink_old(&mut self, world: &mut dyn World, sets: &[Arc<Value>], old: &[Arc<Value>], new: &Arc<Value>) -> bool {
        if old.iter().map(|set| size(set)).sum::<i64>() == 0 {
            return false;
        }
        let all: i64 = sets.iter().map(|set| size(set)).sum();
        let (_, unavailable) = self.bounds();
        let least = self.replicas() - unavailable;
        let room = all - least - (size(new) - available(new));
        if room <= 0 {
            return false;
        }
        let mut scaled = 0;
        let mut current: Vec<Arc<Value>> = Vec::new();
        for set in old {
            let healthy = available(set);
            let excess = (size(set) - healthy).min(room - scaled);
            if size(set) > 0
                && excess > 0
                && let Some(set) = self.resize(world, set, size(set) - excess)
            {
                scaled += excess;
                current.push(set);
                continue;
            }
            current.push(Arc::clone(set));
        }
        let spare = sets.iter().map(|set| available(set)).sum::<i64>() - least;
        let mut done = 0;
        for set in &current {
            let excess = size(set).min(spare - done);
            if excess > 0 && self.resize(world, set, size(set) - excess).is_some() {
                done += excess;
            }
        }
        scaled + done.max(0) > 0
    }
}

pub(super) fn others(sets: &[Arc<Value>], new: &Arc<Value>) -> Vec<Arc<Value>> {
    sets.iter().filter(|set| name(set) != name(new)).cloned().collect()
}
