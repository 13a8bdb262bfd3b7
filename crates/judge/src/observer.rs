//! The observer: a state machine over watch events that says when symptoms were seen and whether health holds.
//! Pure: times and objects come from the caller only, so that it can be tested without a cluster or a clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::Quantifier;
use jiff::Timestamp;
use model::SymptomSeen;
use serde_json::Value;

use crate::checks::{Check, Checks};

/// One change of what a select finds, as a watch tells it.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The object is there, or is now like this.
    Upsert(Value),
    /// The object is gone, or no longer selected.
    Remove(Value),
    /// Every object that was there when the watch began has been told. Before it, nothing is known about all objects,
    /// so `all` and `none` do not hold.
    Synced,
}

/// How a health check stands.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthState {
    /// Its name in the metadata.
    pub name: String,
    /// It holds now.
    pub holds: bool,
    /// Since when it has held without a break.
    pub since: Option<Timestamp>,
    /// It has held over its whole window.
    pub complete: bool,
    /// Why it does not hold, where that is known.
    pub because: Option<String>,
}

/// Namespace and name: what makes two observations one object, also when it was deleted and made again.
type Key = (String, String);

/// What one select finds.
#[derive(Clone, Debug, Default)]
struct Found {
    synced: bool,
    objects: BTreeMap<Key, Arc<Value>>,
    baseline: BTreeMap<Key, Arc<Value>>,
}

/// What one check makes of the objects of its select: for each none when the expression holds, else why not.
#[derive(Clone, Debug, Default)]
struct State {
    results: BTreeMap<Key, Result<(), Option<String>>>,
    since: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Sight {
    at: Timestamp,
    object: Option<String>,
}

/// See the module. One per case.
#[derive(Clone, Debug)]
pub struct Observer {
    checks: Arc<Checks>,
    found: Vec<Found>,
    symptoms: Vec<State>,
    health: Vec<State>,
    /// The latest time that the caller has told. Time never runs back here.
    latest: Timestamp,
    armed: bool,
    /// First sight of each symptom since it was armed.
    sights: Vec<Option<Sight>>,
    /// Health checks that did not hold when a symptom was first seen.
    broken_with_symptoms: Vec<bool>,
    /// Some health check did not hold at some time since it was armed.
    broken_since_armed: bool,
}

impl Observer {
    /// Nothing seen yet; not armed; no baseline.
    pub fn new(checks: Arc<Checks>) -> Self {
        Self {
            found: vec![Found::default(); checks.selects.len()],
            symptoms: vec![State::default(); checks.symptoms.len()],
            health: vec![State::default(); checks.health.len()],
            latest: Timestamp::MIN,
            armed: false,
            sights: vec![None; checks.symptoms.len()],
            broken_with_symptoms: vec![false; checks.health.len()],
            broken_since_armed: false,
            checks,
        }
    }

    /// Takes in one change of what the select number `select` of [`Checks::selects`] finds.
    pub fn observe(&mut self, at: Timestamp, select: usize, change: Seen) {
        self.latest = self.latest.max(at);
        if select >= self.found.len() {
            return;
        }
        match change {
            Seen::Upsert(object) if self.checks.selectors[select].selects(&object) => self.upsert(select, object),
            // It was selected once and is no longer: as if it were gone.
            Seen::Upsert(object) | Seen::Remove(object) => self.remove(select, &key(&object)),
            Seen::Synced => {
                self.found[select].synced = true;
                self.settle(select);
            }
        }
    }

    fn upsert(&mut self, select: usize, object: Value) {
        let key = key(&object);
        let replaced = self.found[select].objects.get(&key).is_some_and(|old| uid(old) != uid(&object));
        if replaced {
            // Deleted and made again, and the watch did not tell: in between it was not there, and no window goes on.
            self.remove(select, &key);
        }
        self.found[select].objects.insert(key.clone(), Arc::new(object));
        self.evaluate(select, &key);
        self.settle(select);
    }

    fn remove(&mut self, select: usize, key: &Key) {
        if self.found[select].objects.remove(key).is_none() {
            return;
        }
        for (check, state) in self.checks.symptoms.iter().zip(&mut self.symptoms) {
            if check.select == select {
                state.results.remove(key);
            }
        }
        for (check, state) in self.checks.health.iter().zip(&mut self.health) {
            if check.select == select {
                state.results.remove(key);
            }
        }
        self.settle(select);
    }

    /// Remembers every object as it is now as `baseline`. Health is judged against it from now on.
    pub fn set_baseline(&mut self) {
        for select in 0..self.found.len() {
            self.found[select].baseline = self.found[select].objects.clone();
            let keys: Vec<Key> = self.found[select].objects.keys().cloned().collect();
            for key in &keys {
                self.evaluate(select, key);
            }
            self.settle(select);
        }
    }

    /// From now on symptoms are latched: one that is visible for a single event counts as seen. A symptom that holds
    /// already counts too. What was latched before is forgotten.
    pub fn arm(&mut self) {
        self.armed = true;
        self.sights.fill(None);
        self.broken_with_symptoms.fill(false);
        self.broken_since_armed = false;
        self.latch();
    }

    /// Every symptom with its first sight since [`Self::arm`].
    pub fn symptoms(&self) -> Vec<SymptomSeen> {
        self.checks
            .symptoms
            .iter()
            .zip(&self.sights)
            .map(|(check, sight)| SymptomSeen {
                name: check.name.clone(),
                at: sight.as_ref().map(|s| s.at),
                object: sight.as_ref().and_then(|s| s.object.clone()),
            })
            .collect()
    }

    /// Whether every symptom was seen since [`Self::arm`]; true where none is declared.
    pub fn all_seen(&self) -> bool {
        self.armed && self.sights.iter().all(Option::is_some)
    }

    /// A symptom that holds at this moment, armed or not.
    pub fn symptom_holding_now(&self) -> Option<&str> {
        let held = self.checks.symptoms.iter().zip(&self.symptoms).find(|(_, state)| state.since.is_some());
        held.map(|(check, _)| check.name.as_str())
    }

    /// Names of the health checks that do not hold, now or at the first sight of a symptom.
    pub fn health_broken(&self) -> Vec<String> {
        let checks = self.checks.health.iter().zip(&self.health).zip(&self.broken_with_symptoms);
        checks.filter(|((_, state), then)| state.since.is_none() || **then).map(|((c, _), _)| c.name.clone()).collect()
    }

    /// The witness: the failure has taken hold. Every symptom was seen since [`Self::arm`], and some health check does
    /// not hold now or did not when a symptom was seen; where no health is declared the symptoms suffice. Where nothing
    /// is wrong by declaration, that health has held ever since instead.
    pub fn witnessed(&self) -> bool {
        if !self.all_seen() {
            return false;
        }
        if self.checks.fault_free {
            return self.holds_now() && !self.broken_since_armed;
        }
        self.checks.health.is_empty() || !self.health_broken().is_empty()
    }

    /// How each health check stands at `at`.
    pub fn health(&self, at: Timestamp) -> Vec<HealthState> {
        let checks = self.checks.health.iter().zip(&self.health);
        checks
            .map(|(check, state)| HealthState {
                name: check.name.clone(),
                holds: state.since.is_some(),
                since: state.since,
                complete: complete(check, state, at),
                because: if state.since.is_some() { None } else { Some(self.reason(check, state)) },
            })
            .collect()
    }

    /// Whether each health check has held over its whole window until `at`. True where none is declared.
    pub fn healthy(&self, at: Timestamp) -> bool {
        self.checks.health.iter().zip(&self.health).all(|(check, state)| complete(check, state, at))
    }

    /// Whether some health check can no longer hold over its whole window by then, whatever happens from `at` on.
    pub fn too_late(&self, at: Timestamp, by: Timestamp) -> bool {
        let checks = self.checks.health.iter().zip(&self.health);
        checks.into_iter().any(|(check, state)| end(check, state.since.unwrap_or(at)) > by)
    }

    /// Whether each health check holds at this moment, whatever its window.
    pub fn holds_now(&self) -> bool {
        self.health.iter().all(|state| state.since.is_some())
    }

    /// When the last window completes if nothing happens until then, that is the first time at which
    /// [`Self::healthy`] can be true. None while some check does not hold: then only an event can help.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let ends = self.checks.health.iter().zip(&self.health).map(|(check, state)| state.since.map(|s| end(check, s)));
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Evaluates one object under every check of its select.
    fn evaluate(&mut self, select: usize, key: &Key) {
        let found = &self.found[select];
        let Some(object) = found.objects.get(key).map(Arc::as_ref) else { return };
        let params = &self.checks.params;
        for (check, state) in self.checks.symptoms.iter().zip(&mut self.symptoms) {
            if check.select == select {
                state.results.insert(key.clone(), check.evaluate(&[("object", object), ("params", params)]));
            }
        }
        let baseline = found.baseline.get(key).map_or(&Value::Null, Arc::as_ref);
        for (check, state) in self.checks.health.iter().zip(&mut self.health) {
            if check.select == select {
                let variables = [("object", object), ("params", params), ("baseline", baseline)];
                state.results.insert(key.clone(), check.evaluate(&variables));
            }
        }
    }

    /// Draws the conclusions of what was evaluated: windows begin and end, symptoms are latched.
    fn settle(&mut self, select: usize) {
        let (found, latest) = (&self.found[select], self.latest);
        for (check, state) in self.checks.symptoms.iter().zip(&mut self.symptoms) {
            if check.select == select {
                let holds = quantify(check, state, found);
                state.since = if holds { state.since.or(Some(latest)) } else { None };
            }
        }
        for (check, state) in self.checks.health.iter().zip(&mut self.health) {
            if check.select == select {
                let holds = quantify(check, state, found) && !deleted(check, found);
                state.since = if holds { state.since.or(Some(latest)) } else { None };
            }
        }
        self.latch();
    }

    fn latch(&mut self) {
        if !self.armed {
            return;
        }
        self.broken_since_armed |= !self.holds_now();
        let mut seen_one = false;
        for (number, check) in self.checks.symptoms.iter().enumerate() {
            if self.sights[number].is_none() && self.symptoms[number].since.is_some() {
                let object = self.showing(check, &self.symptoms[number]);
                self.sights[number] = Some(Sight { at: self.latest, object });
                seen_one = true;
            }
        }
        if seen_one {
            for (broken, state) in self.broken_with_symptoms.iter_mut().zip(&self.health) {
                *broken |= state.since.is_none();
            }
        }
    }

    /// `Kind/name` of the first object that shows the symptom.
    fn showing(&self, check: &Check, state: &State) -> Option<String> {
        let key = state.results.iter().find(|(_, result)| result.is_ok()).map(|(key, _)| key)?;
        let kind = &self.checks.selects[check.select].kind;
        Some(format!("{kind}/{}", key.1))
    }

    fn reason(&self, check: &Check, state: &State) -> String {
        let found = &self.found[check.select];
        let kind = &self.checks.selects[check.select].kind;
        if found.objects.is_empty() {
            return format!("no {kind} is selected");
        }
        if !found.synced {
            return format!("not every {kind} has been listed yet");
        }
        let wanted_not = check.quantifier == Quantifier::None;
        let culprit = state.results.iter().find(|(_, result)| result.is_ok() == wanted_not);
        match culprit {
            Some((key, Err(Some(reason)))) => format!("{kind}/{}: {reason}", key.1),
            Some((key, Ok(()))) => format!("{kind}/{}: the expression is true", key.1),
            Some((key, Err(None))) => format!("{kind}/{}: the expression is false", key.1),
            None => format!("an object of kind {kind} was deleted"),
        }
    }
}

fn quantify(check: &Check, state: &State, found: &Found) -> bool {
    let mut results = state.results.values();
    match check.quantifier {
        Quantifier::Any => results.any(Result::is_ok),
        // All of nothing is false: what was deleted or scaled away is not healthy.
        Quantifier::All => found.synced && !state.results.is_empty() && results.all(Result::is_ok),
        Quantifier::None => found.synced && !results.any(Result::is_ok),
    }
}

/// Whether a check that names its object lost it since the baseline: a deletion repairs nothing.
fn deleted(check: &Check, found: &Found) -> bool {
    check.named && found.objects.is_empty() && !found.baseline.is_empty()
}

fn complete(check: &Check, state: &State, at: Timestamp) -> bool {
    state.since.is_some_and(|since| end(check, since) <= at)
}

fn end(check: &Check, since: Timestamp) -> Timestamp {
    saturating_add(since, check.window)
}

fn saturating_add(at: Timestamp, time: Duration) -> Timestamp {
    at.checked_add(time).unwrap_or(Timestamp::MAX)
}

fn key(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

fn uid(object: &Value) -> Option<&str> {
    object["metadata"]["uid"].as_str()
}
