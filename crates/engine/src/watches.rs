//! Feeds what happens in the cluster to the judge's observer. The streams are polled where the predicate is evaluated,
//! without a queue between: so an embedded cluster's clock cannot run on before an event has been seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use catalog::Select;
use clock::{Clock, Elapsed};
use futures::Stream;
use futures::future::{Either, select};
use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use jiff::Timestamp;
use judge::{Observer, Seen};
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
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

type Item = (usize, Result<Event<DynamicObject>, watcher::Error>);

/// A watch that is opened again after each break. The pause is of cluster time, as all that is waited for here: a cluster
/// that hurries would run on meanwhile, past states that nobody could then see.
fn steady(
    api: Api<DynamicObject>,
    config: watcher::Config,
    clock: Arc<dyn Clock>,
) -> impl Stream<Item = watcher::Result<Event<DynamicObject>>> + Send {
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
    /// Streams below this number belong to a select of the observer.
    selects: usize,
    known: HashMap<usize, Known>,
    objects: BTreeMap<String, Value>,
    clock: Arc<dyn Clock>,
    unhealthy_since_reset: bool,
}

#[derive(Default)]
struct Known {
    now: HashMap<String, Value>,
    listing: Option<HashMap<String, Value>>,
}

impl std::fmt::Debug for Watches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watches").field("selects", &self.selects).field("objects", &self.objects.len()).finish()
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
        for (number, select) in selects.iter().enumerate() {
            let namespace = select.namespace.as_deref().unwrap_or(namespace);
            let api = objects.api(&select.api_version, &select.kind, Some(namespace)).await?;
            let mut config = watcher::Config::default();
            if let Some(name) = &select.name {
                config = config.fields(&format!("metadata.name={name}"));
            }
            if let Some(labels) = select.label_selector_query() {
                config = config.labels(&labels);
            }
            streams.push(steady(api, config, Arc::clone(&clock)).map(move |event| (number, event)).boxed());
        }
        for (offset, (api_version, kind)) in OWNERS.iter().enumerate() {
            let api = objects.api(api_version, kind, Some(namespace)).await?;
            let number = selects.len() + offset;
            let stream = steady(api, watcher::Config::default(), Arc::clone(&clock));
            streams.push(stream.map(move |event| (number, event)).boxed());
        }
        Ok(Self {
            streams,
            observer,
            selects: selects.len(),
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

    fn take(&mut self, number: usize, event: Event<DynamicObject>) {
        let known = self.known.entry(number).or_default();
        let mut changes = Vec::new();
        match event {
            Event::Init => known.listing = Some(HashMap::new()),
            Event::InitApply(object) | Event::Apply(object) => {
                let value = to_value(object);
                let key = key(&value);
                if let Some(listing) = &mut known.listing {
                    listing.insert(key.clone(), value.clone());
                }
                known.now.insert(key, value.clone());
                changes.push(Seen::Upsert(value));
            }
            Event::Delete(object) => {
                let value = to_value(object);
                known.now.remove(&key(&value));
                changes.push(Seen::Remove(value));
            }
            Event::InitDone => {
                let listed = known.listing.take().unwrap_or_default();
                let gone = known.now.extract_if(|key, _| !listed.contains_key(key));
                changes.extend(gone.map(|(_, value)| Seen::Remove(value)));
                changes.push(Seen::Synced);
            }
        }
        let now = self.clock.now();
        for change in changes {
            if let Seen::Upsert(value) | Seen::Remove(value) = &change {
                remember(&mut self.objects, value);
            }
            if number < self.selects {
                self.observer.observe(now, number, change);
                self.unhealthy_since_reset |= !self.observer.holds_now();
            }
        }
    }
}

fn to_value(object: DynamicObject) -> Value {
    // A DynamicObject is JSON already; it cannot fail to become it again.
    serde_json::to_value(object).unwrap_or_default()
}

fn key(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!("{}/{}", metadata["namespace"].as_str().unwrap_or_default(), metadata["name"].as_str().unwrap_or_default())
}

fn remember(objects: &mut BTreeMap<String, Value>, object: &Value) {
    let metadata = &object["metadata"];
    let Some(uid) = metadata["uid"].as_str() else { return };
    let kept = json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": uid,
            "ownerReferences": metadata["ownerReferences"],
        },
    });
    objects.insert(uid.to_owned(), kept);
}
