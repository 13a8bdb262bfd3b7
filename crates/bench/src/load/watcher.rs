//! A watcher, which keeps what it was told until it is told what that should have been. Every fifth one goes away again and
//! again and comes back to where it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use tokio::sync::watch;

use crate::fill::{Name, SHARDS, STEP, collection, namespace};
use crate::ledger::{Event, Expected, Ledger, What};
use crate::requests::Requests;

/// Events after which those go that come back.
const STAY: usize = 50;
/// Until all that was written must have come.
const PATIENCE: Duration = Duration::from_secs(120);
/// Who has everything listens on for so long: more would be a repetition.
const QUIET: Duration = Duration::from_millis(100);

/// What is watched.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    All,
    Namespace(String),
    Shard(usize),
}

impl Scope {
    /// Of the watcher with this number.
    pub(crate) fn of(index: usize, namespaces: usize) -> Self {
        match index % 5 {
            1 => Self::Namespace(namespace(index * 7 % namespaces)),
            2 | 3 => Self::Shard(index % SHARDS),
            _ => Self::All,
        }
    }

    pub(crate) fn selects(&self, name: &Name, shard: usize) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => name.0 == *namespace,
            Self::Shard(wanted) => *wanted == shard,
        }
    }

    fn path(&self, revision: u64) -> String {
        let rest = format!("watch=true&allowWatchBookmarks=true&resourceVersion={revision}");
        match self {
            Self::All => format!("/api/v1/pods?{rest}"),
            Self::Namespace(namespace) => format!("{}?{rest}", collection(namespace)),
            Self::Shard(shard) => format!("/api/v1/pods?labelSelector=shard%3D{shard}&{rest}"),
        }
    }
}

#[derive(Deserialize)]
struct Line {
    r#type: String,
    object: Object,
}

/// As much of an object as is looked at; of an error, its message.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    namespace: String,
    name: String,
    resource_version: String,
    annotations: std::collections::BTreeMap<String, String>,
}

/// What is expected, once it is known.
pub(crate) type Told = watch::Receiver<Option<Arc<Expected>>>;

pub(crate) struct Watcher {
    requests: Requests,
    index: usize,
    scope: Scope,
    body: Body,
    rest: Vec<u8>,
    revision: u64,
    seen: Vec<Event>,
    deliveries: Vec<Duration>,
    ledger: Arc<Ledger>,
    told: Told,
}

impl Watcher {
    /// Begins to watch from a revision.
    pub(crate) async fn open(
        requests: &Requests,
        index: usize,
        scope: Scope,
        revision: u64,
        ledger: Arc<Ledger>,
        told: Told,
    ) -> Result<Self, String> {
        let body = requests.stream(&scope.path(revision)).await?;
        let requests = requests.clone();
        let (rest, seen, deliveries) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { requests, index, scope, body, rest, revision, seen, deliveries, ledger, told })
    }

    /// Watches until it has seen what it must; how long each event took.
    pub(crate) async fn watch(mut self) -> Result<Vec<Duration>, String> {
        let mut told = self.told.clone();
        let expected = loop {
            tokio::select! {
                changed = told.wait_for(Option::is_some) => {
                    let expected = changed.map_err(|_| "the writer came to no end")?.clone();
                    break expected.map(|expected| expected.of(&self.scope)).unwrap_or_default();
                }
                more = self.more() => more?,
            }
        };
        let until = tokio::time::Instant::now() + PATIENCE;
        while self.seen.len() < expected.len() {
            match tokio::time::timeout_at(until, self.more()).await {
                Ok(more) => more?,
                Err(_) => return Err(self.difference(&expected)),
            }
        }
        while let Ok(more) = tokio::time::timeout(QUIET, self.more()).await {
            more?;
            if self.seen.len() > expected.len() {
                break;
            }
        }
        if self.seen == expected { Ok(self.deliveries) } else { Err(self.difference(&expected)) }
    }

    /// Takes what comes next. Dropping the future loses nothing.
    async fn more(&mut self) -> Result<(), String> {
        let frame = self.body.frame().await;
        let Some(frame) = frame else { return Err(format!("{}: the watch has ended", self.who())) };
        let frame = frame.map_err(|error| format!("{}: {error}", self.who()))?;
        self.rest.extend_from_slice(frame.data_ref().map(|data| &data[..]).unwrap_or_default());
        let now = Instant::now();
        let mut taken = 0;
        while let Some(end) = self.rest[taken..].iter().position(|byte| *byte == b'\n') {
            let line: Line = serde_json::from_slice(&self.rest[taken..taken + end])
                .map_err(|error| format!("{}: {error}", self.who()))?;
            taken += end + 1;
            self.take(line, now)?;
        }
        self.rest.drain(..taken);
        let goes = self.index % 5 == 4 && !self.seen.is_empty() && self.seen.len().is_multiple_of(STAY);
        if goes && self.rest.is_empty() {
            self.body = self.requests.stream(&self.scope.path(self.revision)).await?;
        }
        Ok(())
    }

    fn take(&mut self, line: Line, now: Instant) -> Result<(), String> {
        let what = match line.r#type.as_str() {
            "ADDED" => What::Added,
            "MODIFIED" => What::Modified,
            "DELETED" => What::Deleted,
            "BOOKMARK" => return Ok(()),
            other => return Err(format!("{}: {other}: {}", self.who(), line.object.message.unwrap_or_default())),
        };
        let Metadata { namespace, name, resource_version, annotations } = line.object.metadata;
        let revision: u64 = resource_version.parse().map_err(|_| format!("{}: no revision", self.who()))?;
        if revision <= self.revision {
            let before = self.revision;
            return Err(format!("{}: revision {revision} of {namespace}/{name} after {before}", self.who()));
        }
        self.revision = revision;
        let step = annotations.get(STEP).and_then(|step| step.parse().ok()).filter(|_| what != What::Deleted);
        self.deliveries.extend(step.and_then(|step| Some(now.saturating_duration_since(self.ledger.begun(step)?))));
        self.seen.push(Event { what, name: (namespace, name), step });
        Ok(())
    }

    fn who(&self) -> String {
        format!("watcher {} of {:?}", self.index, self.scope)
    }

    fn difference(&self, expected: &[Event]) -> String {
        let same = self.seen.iter().zip(expected).take_while(|(seen, expected)| seen == expected).count();
        format!(
            "{}: {} events came and {} should have; the first that differs is number {same}: {:?} instead of {:?}",
            self.who(),
            self.seen.len(),
            expected.len(),
            self.seen.get(same),
            expected.get(same)
        )
    }
}
