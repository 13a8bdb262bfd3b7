//! Waiting for one object, in cluster time: a list, then a watch from there, again when the watch ends.

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use expr::{Evaluation, Expression};
use futures::StreamExt as _;
use http_body_util::BodyStream;
use jiff::Timestamp;
use kube::client::Body;
use serde_json::Value;

use crate::bindings::{Error, ObjectRef, Selection};
use crate::context::Context;
use crate::kubernetes::{Answer, Place, answered, list_query, open_watch};

/// What is waited for.
pub(crate) enum Wanted {
    Holds(Expression),
    ChangedSince(String),
    Gone,
}

/// One look at the object: it is as wanted, never will be, or is not yet.
enum Look {
    Done(Option<Value>),
    Never(Error),
    NotYet(String),
}

impl Wanted {
    fn look(&self, object: Option<&Value>) -> Look {
        match (self, object) {
            (Self::Gone, None) => Look::Done(None),
            (Self::Gone, Some(_)) => Look::NotYet("it is still there".to_owned()),
            (Self::Holds(expression), Some(object)) => match expression.evaluate(&[("object", object)]) {
                Evaluation::Holds => Look::Done(Some(object.clone())),
                Evaluation::DoesNotHold(why) => {
                    Look::NotYet(why.map_or_else(|| "the condition does not hold".to_owned(), |why| why.to_string()))
                }
            },
            (Self::Holds(_), None) => Look::NotYet("it does not exist".to_owned()),
            (Self::ChangedSince(version), Some(object)) if object["metadata"]["resourceVersion"] == **version => {
                Look::NotYet("it has not changed".to_owned())
            }
            (Self::ChangedSince(_), Some(object)) => Look::Done(Some(object.clone())),
            (Self::ChangedSince(_), None) => Look::Never(Error::NotFound("it was deleted".to_owned())),
        }
    }
}

/// How long to wait before a watch that ended or was refused is opened again: the cluster has to catch its breath. Cluster
/// time, as everything that waits for a cluster: one that hurries would run past the end of the wait in this time of the wall.
const PAUSE: Duration = Duration::from_millis(200);

impl Context {
    pub(crate) async fn wait(&mut self, target: ObjectRef, wanted: Wanted, time_out: u64) -> Answer<Option<Value>> {
        let place = answered!(self.place_of(&target).await);
        let clock: Arc<dyn Clock> = Arc::clone(&self.call()?.clock);
        let max = Duration::from_millis(time_out);
        let mut last = "nothing was seen of it".to_owned();
        let waited = clock::run_until(&clock, max, self.wait_long(&target, &place, &wanted, &mut last)).await;
        Ok(match waited {
            Ok(answer) => answer?,
            Err(clock::Elapsed) => {
                Err(Error::DeadlineExceeded(format!("waited {max:?} for {} {}: {last}", target.kind, target.name)))
            }
        })
    }

    async fn wait_long(
        &mut self,
        target: &ObjectRef,
        place: &Place,
        wanted: &Wanted,
        last: &mut String,
    ) -> Answer<Option<Value>> {
        let selection = Selection {
            api_version: target.api_version.clone(),
            kind: target.kind.clone(),
            namespace: target.namespace.clone(),
            label_selector: None,
            field_selector: Some(format!("metadata.name={}", target.name)),
        };
        loop {
            let path = format!("{}?{}", place.collection(), list_query(&selection, &[]));
            let list: Value = match self.read(&path).await? {
                Ok(text) => serde_json::from_str(&text).unwrap_or_default(),
                Err(Error::Unavailable(why)) => {
                    *last = why;
                    self.catch_breath().await?;
                    continue;
                }
                Err(error) => return Ok(Err(error)),
            };
            let found = list["items"].as_array().and_then(|items| items.first()).map(|item| complete(item, target));
            match wanted.look(found.as_ref()) {
                Look::Done(object) => return Ok(Ok(object)),
                Look::Never(error) => return Ok(Err(error)),
                Look::NotYet(why) => *last = why,
            }
            let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
            let more = [("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", version)];
            let path = format!("{}?{}", place.collection(), list_query(&selection, &more));
            if let Some(end) = self.follow(&path, wanted, last).await? {
                return Ok(end);
            }
            self.catch_breath().await?;
        }
    }

    async fn catch_breath(&self) -> wasmtime::Result<()> {
        let clock = &self.call()?.clock;
        clock.sleep_until(clock.now().checked_add(PAUSE).unwrap_or(Timestamp::MAX)).await;
        Ok(())
    }

    /// Follows one watch; none when it ended before anything was decided.
    async fn follow(
        &mut self,
        path: &str,
        wanted: &Wanted,
        last: &mut String,
    ) -> wasmtime::Result<Option<Result<Option<Value>, Error>>> {
        let client = self.call()?.client.clone();
        let limit = self.meter.limits().response_bytes;
        let response = match open_watch(&client, path, limit).await {
            Ok(response) => response,
            Err(Error::Unavailable(why)) => {
                *last = why;
                return Ok(None);
            }
            Err(error) => return Ok(Some(Err(error))),
        };
        let mut lines = Lines { body: BodyStream::new(response.into_body()), buffer: Vec::new() };
        while let Some(line) = lines.next().await {
            if let Err(limit) = self.meter.response(line.len() as u64) {
                return Ok(Some(Err(Error::LimitExceeded(limit.to_string()))));
            }
            let Ok(event) = serde_json::from_slice::<Value>(&line) else { return Ok(None) };
            let object = match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => Some(&event["object"]),
                Some("DELETED") => None,
                Some("BOOKMARK") => continue,
                _ => return Ok(None),
            };
            match wanted.look(object) {
                Look::Done(object) => return Ok(Some(Ok(object))),
                Look::Never(error) => return Ok(Some(Err(error))),
                Look::NotYet(why) => *last = why,
            }
            if lines.buffer.len() as u64 > limit {
                return Ok(Some(Err(Error::LimitExceeded(self.meter.response_too_large().to_string()))));
            }
        }
        Ok(None)
    }
}

/// Items of a list come without kind and version; the component is to see the object as `get` shows it.
pub(crate) fn complete(item: &Value, target: &ObjectRef) -> Value {
    let mut object = item.clone();
    if let Value::Object(map) = &mut object {
        map.entry("apiVersion").or_insert_with(|| Value::from(target.api_version.as_str()));
        map.entry("kind").or_insert_with(|| Value::from(target.kind.as_str()));
    }
    object
}

/// The lines of a body. A line is bounded by what one response may have.
struct Lines {
    body: BodyStream<Body>,
    buffer: Vec<u8>,
}

/// A watch event carries one object, and the API server itself takes none larger than this.
const MAX_LINE: usize = 16 << 20;

impl Lines {
    /// The next line; none at the end, when the connection breaks, or when a line has no end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                return Some(std::mem::replace(&mut self.buffer, rest));
            }
            if self.buffer.len() > MAX_LINE {
                return None;
            }
            let frame = self.body.next().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}
