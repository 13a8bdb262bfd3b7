//! Feeds what happens in the cluster to the judge's observer. The streams are polled where the predicate is evaluated,
//! without a queue between: so an embedded cluster's clock cannot run on before an event has been seen.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use catalog::Select;
use clock::{Clock, Elapsed};
use futures::Stream;
use futures::future::{Either, select};
use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use jiff::Timestamp;
use judge::{Observer, Seen};
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::core::DynamicResourceScope;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::objects::{ObjectError, Objects};

/// Kinds of the case's namespace that are watched for owner chains, whatever the failure selects.
const OWNERS: &[(&str, &str)] = &[
    ("v1", "Pod"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
];

/// Between a break of a watch and its being opened again: soon, since a state may be visible for a moment only.
const SOON: Duration = Duration::from_millis(50);
/// The longest such pause, while a cluster stays away.
const LATE: Duration = Duration::from_secs(5);

type Item = (usize, Result<Event<Watched>, watcher::Error>);

/// An object as the cluster sent it. [`DynamicObject`] would read the metadata into its types and write it again, which is most of
/// the work of taking an event.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    object: Value,
    /// The version alone: what a watch goes on from.
    version: ObjectMeta,
}

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let resource_version = object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        Ok(Self { object, version: ObjectMeta { resource_version, ..ObjectMeta::default() } })
    }
}

impl Resource for Watched {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(of)
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(of)
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(of)
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.version
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.version
    }
}

/// A watch that is opened again after each break. The pause is of cluster time, as all that is waited for here: a cluster
/// that hurries would run on meanwhile, past states that nobody could then see.
fn steady(
    api: Api<Watched>,
    config: watcher::Config,
    clock: Arc<dyn Clock>,
) -> impl Stream<Item = watcher::Result<Event<Watched>>> + Send {
    let start = (watcher(api, config).boxed(), None);
    stream::unfold(start, move |(mut events, broken): (BoxStream<'static, _>, Option<Duration>)| {
        let clock = Arc::clone(&clock);
        async move {
            if let Some(pause) = broken {
                clock.sleep_until(clock.now().checked_add(pause).unwrap_or(Timestamp::MAX)).await;
            }
            let event: watcher::Result<_> = events.next().await?;
            let pause = event.is_err().then(|| broken.map_or(SOON, |pause| (pause * 2).min(LATE)));
            Some((event, (events, pause)))
        }
    })
}

/// All watches of a case.
pub(crate) struct Watches {
    streams: SelectAll<BoxStream<'static, Item>>,
    /// The observer that is fed.
    pub(crate) observer: Observer,
    /// By the number of their stream.
    told: Vec<Told>,
    known: HashMap<usize, Known>,
    objects: BTreeMap<String, Value>,
    clock: Arc<dyn Clock>,
    unhealthy_since_reset: bool,
}

/// What one stream tells of.
#[derive(Debug)]
struct Told {
    /// apiVersion and kind: the items of a list do not say it of themselves.
    kind: (String, String),
    /// The selects of the observer that it feeds. The observer leaves out what they do not mean.
    selects: Vec<usize>,
}

/// Namespace and name.
type Key = (String, String);

/// What a select finds, to tell what has gone while no watch was open.
#[derive(Default)]
struct Known {
    now: HashSet<Key>,
    listing: Option<HashSet<Key>>,
}

impl std::fmt::Debug for Watches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watches").field("told", &self.told).field("objects", &self.objects.len()).finish()
    }
}

impl Watches {
    /// Opens every watch. Nothing is received before the first pump.
    pub(crate) async fn open(
        objects: &Objects,
        selects: &[Select],
        observer: Observer,
        namespace: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ObjectError> {
        let mut streams = SelectAll::new();
        let mut told: Vec<Told> = Vec::new();
        for (api_version, kind) in OWNERS {
            let api = objects.api_of(api_version, kind, Some(namespace)).await?;
            let number = told.len();
            let stream = steady(api, watcher::Config::default(), Arc::clone(&clock));
            streams.push(stream.map(move |event| (number, event)).boxed());
            told.push(Told { kind: ((*api_version).to_owned(), (*kind).to_owned()), selects: Vec::new() });
        }
        for (at, select) in selects.iter().enumerate() {
            let there = select.namespace.as_deref().unwrap_or(namespace);
            let kind = (select.api_version.clone(), select.kind.clone());
            // What is watched anyway is not sent and read twice.
            let owners = told.iter_mut().take(OWNERS.len());
            if there == namespace
                && let Some(told) = owners.into_iter().find(|told| told.kind == kind)
            {
                told.selects.push(at);
                continue;
            }
            let number = told.len();
            let api = objects.api_of(&select.api_version, &select.kind, Some(there)).await?;
            let mut config = watcher::Config::default();
            if let Some(name) = &select.name {
                config = config.fields(&format!("metadata.name={name}"));
            }
            if let Some(labels) = select.label_selector_query() {
                config = config.labels(&labels);
            }
            streams.push(steady(api, config, Arc::clone(&clock)).map(move |event| (number, event)).boxed());
            told.push(Told { kind, selects: vec![at] });
        }
        Ok(Self {
            streams,
            observer,
            told,
            known: HashMap::new(),
            objects: BTreeMap::new(),
            clock,
            unhealthy_since_reset: false,
        })
    }

    /// Metadata of every object of the namespace that was ever seen, for owner chains.
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.objects.values().cloned().collect()
    }

    /// Forgets that a health check was seen broken.
    pub(crate) fn reset_health(&mut self) {
        self.unhealthy_since_reset = !self.observer.holds_now();
    }

    /// Whether any health check was seen broken since [`Self::reset_health`].
    pub(crate) fn was_unhealthy(&self) -> bool {
        self.unhealthy_since_reset
    }

    /// Receives until `done`, for at most `max` of cluster time. The cluster may hurry meanwhile.
    pub(crate) async fn pump_until(
        &mut self,
        max: Duration,
        mut done: impl FnMut(&mut Observer, Timestamp) -> bool,
    ) -> Result<(), Elapsed> {
        let clock = Arc::clone(&self.clock);
        let work = async {
            while !done(&mut self.observer, clock.now()) {
                self.receive().await;
            }
        };
        clock::run_until(&clock, max, work).await
    }

    /// Receives while `work` goes on, at the pace of the cluster.
    pub(crate) async fn pump_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let received = std::pin::pin!(self.receive());
            if let Either::Left((value, _)) = select(&mut work, received).await {
                return value;
            }
        }
    }

    /// Waits for the next event, or for the moment when a health window completes. Cancel-safe: an event that was not
    /// taken stays in its stream.
    async fn receive(&mut self) {
        let now = self.clock.now();
        let timer = match self.observer.next_deadline() {
            Some(at) if at > now => self.clock.sleep_until(at),
            _ => Box::pin(std::future::pending()),
        };
        // There is always a stream: those of `OWNERS` never end.
        let item = match select(self.streams.next(), timer).await {
            Either::Left((Some(item), _)) => item,
            Either::Left((None, timer)) => return timer.await,
            Either::Right(_) => return,
        };
        match item {
            (number, Ok(event)) => self.take(number, event),
            (number, Err(error)) => tracing::debug!(%error, number, "a watch broke; it is opened again"),
        }
    }

    fn take(&mut self, number: usize, event: Event<Watched>) {
        if let Event::InitApply(seen) | Event::Apply(seen) | Event::Delete(seen) = &event {
            self.remember(number, &seen.object);
        }
        let Some(told) = self.told.get(number).filter(|told| !told.selects.is_empty()) else { return };
        let known = self.known.entry(number).or_default();
        let mut changes = Vec::new();
        match event {
            Event::Init => known.listing = Some(HashSet::new()),
            Event::InitApply(Watched { object, .. }) | Event::Apply(Watched { object, .. }) => {
                let key = key(&object);
                if let Some(listing) = &mut known.listing {
                    listing.insert(key.clone());
                }
                known.now.insert(key);
                changes.push(Seen::Upsert(object));
            }
            Event::Delete(Watched { object, .. }) => {
                known.now.remove(&key(&object));
                changes.push(Seen::Remove(object));
            }
            Event::InitDone => {
                let listed = known.listing.take().unwrap_or_default();
                let gone = known.now.extract_if(|key| !listed.contains(key));
                let removed = |(namespace, name)| json!({"metadata": {"namespace": namespace, "name": name}});
                changes.extend(gone.map(|key| Seen::Remove(removed(key))));
                changes.push(Seen::Synced);
            }
        }
        let now = self.clock.now();
        for change in changes {
            for select in &told.selects {
                self.observer.observe(now, *select, change.clone());
                self.unhealthy_since_reset |= !self.observer.holds_now();
            }
        }
    }

    fn remember(&mut self, number: usize, object: &Value) {
        let metadata = &object["metadata"];
        let (Some(uid), Some(told)) = (metadata["uid"].as_str(), self.told.get(number)) else { return };
        let (api_version, kind) = &told.kind;
        let owners = &metadata["ownerReferences"];
        if self.objects.get(uid).is_some_and(|known| known["metadata"]["ownerReferences"] == *owners) {
            return;
        }
        let kept = json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": uid,
                "ownerReferences": owners,
            },
        });
        self.objects.insert(uid.to_owned(), kept);
    }
}

fn key(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}
