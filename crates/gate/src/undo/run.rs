//! Does what the plan says, reads again, and plans again, until nothing is left to do or nothing more can be done.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::fields::{is_going, text, uid};
use super::history::{self, History, Last, histories, settled};
use super::order::Stage;
use super::plan::{Deed, Plan, Seen, World, plan};
use super::requests::{Leaving, Requests, Trouble, held_by};
use super::{Difference, UndoError, UndoReport, body, finalizers};
use crate::journal::{Entry, State};
use crate::stamp::nonce_of;
use crate::{Gate, LABEL, ObjectKey, crash_point};

/// Rounds of reading and doing. Each but the last has done something; conflicts with controllers take a few.
const ROUNDS: usize = 12;
/// Rounds in which nothing could be done, one after the other: what others have to do first may take a moment.
const IDLE_ROUNDS: usize = 3;
/// Cluster time between such rounds.
const PAUSE: Duration = Duration::from_secs(2);

/// One undo.
pub(crate) struct Undo<'a> {
    gate: &'a Gate,
    clock: &'a Arc<dyn Clock>,
    max: Duration,
    requests: Requests,
    histories: BTreeMap<ObjectKey, History>,
    world: World,
    restored: BTreeSet<ObjectKey>,
    failed: BTreeMap<ObjectKey, Difference>,
    /// Objects whose end was waited for in vain: once is enough.
    stuck: HashSet<ObjectKey>,
    /// Whether this round has changed anything.
    moved: bool,
}

impl<'a> Undo<'a> {
    pub(crate) fn new(gate: &'a Gate, clock: &'a Arc<dyn Clock>, max: Duration) -> Self {
        Self {
            gate,
            clock,
            max,
            requests: Requests::new(gate.keeper()),
            histories: BTreeMap::new(),
            world: World::default(),
            restored: BTreeSet::new(),
            failed: BTreeMap::new(),
            stuck: HashSet::new(),
            moved: false,
        }
    }

    pub(crate) async fn run(mut self) -> Result<UndoReport, UndoError> {
        let entries = self.settle().await?;
        self.histories = histories(&entries);
        crash_point("undo.planned");
        let mut idle = 0;
        let mut drifted = Vec::new();
        for _ in 0..ROUNDS {
            self.failed.retain(|key, _| self.stuck.contains(key));
            self.read().await?;
            let plan = plan(&self.histories, &self.world);
            drifted = drifts(&plan);
            self.moved = false;
            let open = self.round(plan).await?;
            idle = if self.moved { 0 } else { idle + 1 };
            if !open || idle > IDLE_ROUNDS {
                break;
            }
            if idle > 0 {
                let _ = clock::run_until(self.clock, PAUSE, std::future::pending::<()>()).await;
            }
        }
        let gone_wrong: BTreeSet<&ObjectKey> = drifted.iter().map(|d| &d.key).chain(self.failed.keys()).collect();
        let restored = self.restored.iter().filter(|key| !gone_wrong.contains(key)).cloned().collect();
        Ok(UndoReport {
            restored,
            drifted,
            failed: self.failed.into_values().collect(),
            irreversible: history::irreversible(&entries, &self.histories),
        })
    }

    /// Finds out what became of entries of which that is not known, and writes it down.
    async fn settle(&self) -> Result<Vec<Entry>, UndoError> {
        let journal = &self.gate.config.journal;
        let mut entries = journal.entries().await?;
        for index in 0..entries.len() {
            let entry = &entries[index];
            if !matches!(entry.state, State::Intended | State::Unknown) || !history::may_change(entry) {
                continue;
            }
            let key = &entry.intent.key;
            let next = entries[index + 1..].iter().find(|e| e.intent.key == *key && e.state != State::Refused);
            let seen = match next {
                Some(next) if !key.name.is_empty() => next.intent.before.clone(),
                _ => self.look_for(entry).await.map_err(unreachable)?,
            };
            let state = settled(entry, seen.as_ref(), &self.gate.config.label);
            if state != entry.state {
                journal.settle(entry.id, state.clone()).await?;
                entries[index].state = state;
            }
        }
        Ok(entries)
    }

    /// The object of an entry, also where the server was to make its name up.
    async fn look_for(&self, entry: &Entry) -> Result<Option<Value>, Trouble> {
        let key = &entry.intent.key;
        if !key.name.is_empty() {
            return self.requests.get(key).await;
        }
        let Some(nonce) = &entry.intent.nonce else { return Ok(None) };
        let made = self.requests.list(key, Some((LABEL, &self.gate.config.label))).await?;
        Ok(made.into_iter().find(|object| nonce_of(object) == Some(nonce)))
    }

    /// Reads every object of the journal.
    async fn read(&mut self) -> Result<(), UndoError> {
        self.world.seen.clear();
        let keys = self.histories.keys().cloned().collect();
        let mut objects = self.requests.get_all(keys);
        while let Some((key, object)) = objects.next().await {
            match object {
                Ok(object) => {
                    self.world.seen.insert(key, Seen { object, as_last: None });
                }
                Err(trouble) => self.fail(&key, "it could not be read", trouble)?,
            }
        }
        // An object that was touched in two versions is compared in both.
        let others = self.histories.values().filter_map(|history| match &history.last {
            Last::Image(Some(_), version) if *version != history.key.version => {
                Some(ObjectKey { version: version.clone(), ..history.key.clone() })
            }
            _ => None,
        });
        let mut objects = self.requests.get_all(others.collect());
        while let Some((key, object)) = objects.next().await {
            if let (Ok(object), Some(seen)) = (object, self.world.seen.get_mut(&key)) {
                seen.as_last = object;
            }
        }
        Ok(())
    }

    /// Does a plan, stage by stage. Whether anything was to be done.
    async fn round(&mut self, plan: Plan) -> Result<bool, UndoError> {
        let mut plan = plan;
        let unread = |world: &World, key: &ObjectKey| !world.seen.contains_key(key);
        let mut deeds = std::mem::take(&mut plan.deeds);
        deeds.retain(|(_, key, deed)| {
            !matches!(deed, Deed::Drifted { .. }) && !self.stuck.contains(key) && !unread(&self.world, key)
        });
        let open = !deeds.is_empty() || self.histories.keys().any(|key| unread(&self.world, key));
        // Namespaces are the last, when nothing else is left to be done.
        let others = deeds.iter().any(|(stage, _, _)| *stage != Stage::Namespaces);
        let mut at = 0;
        while at < deeds.len() {
            let stage = deeds[at].0;
            let end = deeds[at..].iter().position(|(s, _, _)| *s != stage).map_or(deeds.len(), |length| at + length);
            if stage == Stage::Namespaces && others && self.moved {
                break;
            }
            self.stage(stage, &deeds[at..end], &mut plan).await?;
            at = end;
        }
        Ok(open)
    }

    async fn stage(
        &mut self,
        stage: Stage,
        deeds: &[(Stage, ObjectKey, Deed)],
        plan: &mut Plan,
    ) -> Result<(), UndoError> {
        let mut leaving = Vec::new();
        for (_, key, deed) in deeds {
            match deed {
                Deed::Nothing | Deed::Drifted { .. } => {}
                Deed::Await(uid) => leaving.push(Leaving { key: key.clone(), uid: uid.clone() }),
                Deed::Remove(uid) => {
                    let one = Leaving { key: key.clone(), uid: uid.clone() };
                    let done = self.requests.delete(&one, propagation(key)).await;
                    if self.note(key, "it could not be deleted", done)?.is_some() {
                        crash_point(if stage == Stage::Namespaces { "undo.namespace" } else { "undo.removed" });
                        leaving.push(one);
                    }
                }
                Deed::Release(object) => {
                    let done = self.requests.replace(key, "", object).await;
                    self.note(key, "its finalizers could not be taken off", done)?;
                    crash_point("undo.released");
                }
                Deed::PutBack { object, status } => {
                    self.put_back(key, object, *status, plan).await?;
                    crash_point("undo.restored");
                }
                Deed::Recreate(object) => {
                    self.recreate(key, object, plan).await?;
                    crash_point("undo.recreated");
                }
            }
        }
        if leaving.is_empty() {
            return Ok(());
        }
        self.release_what_templates_made(&leaving).await?;
        self.await_end(leaving).await
    }

    async fn put_back(&mut self, key: &ObjectKey, object: &Value, status: bool, plan: &Plan) -> Result<(), UndoError> {
        let mut object = object.clone();
        body::map_owners(&mut object, &plan.moved);
        let done = self.requests.replace(key, "", &object).await;
        if let Err(Trouble::Refused { code: 422, .. }) = &done {
            // It takes another way: delete it and make it again.
            if self.world.immutable.insert(key.clone()) {
                self.moved = true;
                return Ok(());
            }
        }
        let Some(written) = self.note(key, "it could not be put back", done)? else { return Ok(()) };
        if status {
            object["metadata"]["resourceVersion"] = written["metadata"]["resourceVersion"].clone();
            match self.requests.replace(key, "status", &object).await {
                // Its status is no subresource, and is back already.
                Err(trouble) if trouble.is(404) || trouble.is(405) => {}
                done => {
                    self.note(key, "its status could not be put back", done)?;
                }
            }
        }
        Ok(())
    }

    async fn recreate(&mut self, key: &ObjectKey, object: &Value, plan: &mut Plan) -> Result<(), UndoError> {
        if let Some(owner) = body::missing_owner(object, &plan.absent) {
            let why = format!("its owner `{owner}` is not there");
            self.failed.insert(key.clone(), Difference { key: key.clone(), why, evidence: Vec::new() });
            return Ok(());
        }
        let mut object = object.clone();
        body::map_owners(&mut object, &plan.moved);
        let mut done = self.requests.create(key, &object).await;
        if let (Err(Trouble::Refused { code: 422, .. }), Some(free)) = (&done, body::without_addresses(key, &object)) {
            done = self.requests.create(key, &free).await;
        }
        let Some(made) = self.note(key, "it could not be made again", done)? else { return Ok(()) };
        if let Some(original) = self.histories.get(key).and_then(|history| history.original.as_ref()) {
            plan.absent.remove(uid(original));
            plan.moved.insert(uid(original).to_owned(), uid(&made).to_owned());
        }
        if key.resource == "customresourcedefinitions" {
            self.requests.until_established(self.clock, self.max, key).await;
        }
        self.rebind(key, &made).await
    }

    /// A volume that is still there waits for the claim of the old uid.
    async fn rebind(&mut self, claim: &ObjectKey, made: &Value) -> Result<(), UndoError> {
        let name = text(made, "/spec/volumeName");
        if claim.resource != "persistentvolumeclaims" || name.is_empty() {
            return Ok(());
        }
        let key = ObjectKey {
            group: String::new(),
            version: "v1".into(),
            resource: "persistentvolumes".into(),
            namespace: String::new(),
            name: name.to_owned(),
        };
        let Ok(Some(mut volume)) = self.requests.get(&key).await else { return Ok(()) };
        let theirs = (text(&volume, "/spec/claimRef/namespace"), text(&volume, "/spec/claimRef/name"));
        if theirs != (claim.namespace.as_str(), claim.name.as_str()) {
            return Ok(());
        }
        volume["spec"]["claimRef"]["uid"] = json!(uid(made));
        super::fields::set(&mut volume, "/spec/claimRef/resourceVersion", None);
        let done = self.requests.replace(&key, "", &volume).await;
        self.note(claim, "its volume could not be bound to it again", done)?;
        Ok(())
    }

    /// Finalizers that templates of the case brought hold up the pods that controllers made from them.
    async fn release_what_templates_made(&mut self, leaving: &[Leaving]) -> Result<(), UndoError> {
        let off: Vec<String> = self.histories.values().flat_map(|history| history.templated.clone()).collect();
        if off.is_empty() {
            return Ok(());
        }
        let namespace = |one: &Leaving| match one.key.resource.as_str() {
            "namespaces" => one.key.name.clone(),
            _ => one.key.namespace.clone(),
        };
        let namespaces: BTreeSet<String> = leaving.iter().map(namespace).filter(|name| !name.is_empty()).collect();
        for namespace in namespaces {
            for resource in ["pods", "persistentvolumeclaims"] {
                let all = ObjectKey {
                    group: String::new(),
                    version: "v1".into(),
                    resource: resource.into(),
                    namespace: namespace.clone(),
                    name: String::new(),
                };
                let Ok(objects) = self.requests.list(&all, None).await else { continue };
                for object in objects {
                    let held = finalizers::to_take_off(&object, &off.iter().cloned().collect(), None);
                    if held.is_empty() {
                        continue;
                    }
                    let key = ObjectKey { name: text(&object, "/metadata/name").to_owned(), ..all.clone() };
                    // One that changes meanwhile is found again in the next round, if it still holds anything up.
                    let _ = self.requests.replace(&key, "", &finalizers::without(&object, &held)).await;
                }
            }
        }
        Ok(())
    }

    async fn await_end(&mut self, leaving: Vec<Leaving>) -> Result<(), UndoError> {
        let waited: Vec<ObjectKey> = leaving.iter().map(|one| one.key.clone()).collect();
        let left = self.requests.until_gone(self.clock, self.max, leaving).await;
        let stuck: BTreeSet<ObjectKey> = left.into_iter().map(|one| one.key).collect();
        self.moved |= waited.iter().any(|key| !stuck.contains(key));
        for key in stuck {
            let now = self.requests.get(&key).await.map_err(unreachable)?;
            let why = format!("it is still there after {} s of cluster time", self.max.as_secs());
            let evidence = now.iter().filter(|now| is_going(now)).flat_map(held_by).collect();
            self.failed.insert(key.clone(), Difference { key: key.clone(), why, evidence });
            self.stuck.insert(key);
        }
        Ok(())
    }

    /// What a write has come to: done, to be tried again, or failed for now.
    fn note<T>(&mut self, key: &ObjectKey, what: &str, done: Result<T, Trouble>) -> Result<Option<T>, UndoError> {
        match done {
            Ok(value) => {
                self.moved = true;
                self.restored.insert(key.clone());
                Ok(Some(value))
            }
            Err(trouble) => {
                self.fail(key, what, trouble)?;
                Ok(None)
            }
        }
    }

    fn fail(&mut self, key: &ObjectKey, what: &str, trouble: Trouble) -> Result<(), UndoError> {
        match trouble {
            Trouble::Unreachable(why) => Err(UndoError::Unreachable(why)),
            Trouble::Refused { code, message } => {
                // A message of the API server may quote what it does not like.
                let message = if key.resource == "secrets" { String::new() } else { format!(": {message}") };
                let why = format!("{what}: the API server answered {code}{message}");
                // Another write came first: reading again settles it.
                self.moved |= code == 409;
                self.failed.insert(key.clone(), Difference { key: key.clone(), why, evidence: Vec::new() });
                Ok(())
            }
        }
    }
}

/// How what an object owns goes with it. Where controllers make much of it, the owner stays until that is gone, so that an
/// undo that is begun again waits for it too.
fn propagation(key: &ObjectKey) -> &'static str {
    let custom = key.group.contains('.') && !key.group.ends_with(".k8s.io");
    let owner = custom || matches!(key.group.as_str(), "apps" | "batch") || key.resource == "replicationcontrollers";
    if owner { "Foreground" } else { "Background" }
}

fn drifts(plan: &Plan) -> Vec<Difference> {
    let drifted = plan.deeds.iter().filter_map(|(_, key, deed)| match deed {
        Deed::Drifted { why, paths } => {
            let evidence = paths.iter().map(|path| json!(path)).collect();
            Some(Difference { key: key.clone(), why: (*why).to_owned(), evidence })
        }
        _ => None,
    });
    drifted.collect()
}

fn unreachable(trouble: Trouble) -> UndoError {
    match trouble {
        Trouble::Unreachable(why) => UndoError::Unreachable(why),
        Trouble::Refused { code, message } => UndoError::Unreachable(format!("it answered {code}: {message}")),
    }
}
