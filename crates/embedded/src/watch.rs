//! Watches: a cursor in the store's history. Nothing is queued for a watcher; one that is too slow finds its history
//! gone and is told so.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::Response;
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, Sleep};

use crate::body::Body;
use crate::cluster::Shared;
use crate::error::{ApiError, Cause};
use crate::listing::{Selection, watch_version};
use crate::registry::{Info, Storage};
use crate::request::{Accept, Call, Shape, options_invalid};
use crate::respond;
use crate::state::State;
use crate::store::{Event, event_line};
use crate::watchers::Topic;

/// How long a watch lives that names no time-out.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(45);
const BOOKMARKS: Duration = Duration::from_secs(60);
/// A long watch gets a last bookmark so long before its end.
const LAST_BOOKMARK: Duration = Duration::from_millis(1_500);
/// As many lines are handed over in one chunk.
const CHUNK: usize = 64 * 1024;

struct Watch {
    shared: Arc<Shared>,
    info: Arc<Info>,
    stored: Arc<Info>,
    selection: Selection,
    accept: Accept,
    include: String,
    key: (Topic, u64),
    /// Everything up to this revision has been seen.
    cursor: u64,
    ready: VecDeque<Bytes>,
    /// The next table row brings the column definitions.
    first_row: bool,
    bookmarks: Option<Interval>,
    last_bookmark: Option<Pin<Box<Sleep>>>,
    end: Pin<Box<Sleep>>,
    ended: bool,
}

/// GET with `watch=true`.
pub(crate) fn start(
    shared: &Arc<Shared>,
    state: &mut State,
    info: &Arc<Info>,
    call: &Call,
) -> Result<Response<Body>, ApiError> {
    let selection = Selection::of(info, call)?;
    let send_initial = call.query.get("sendInitialEvents").map(|_| call.query.flag("sendInitialEvents"));
    check_options(call, send_initial)?;
    let version = watch_version(call)?;
    let stored = state.registry.stored(info);
    let revision = state.store.revision();
    let timeout =
        call.query.number("timeoutSeconds").and_then(|seconds| u64::try_from(seconds).ok()).filter(|s| *s > 0);
    let timeout = timeout.map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let wants_bookmarks = call.query.flag("allowWatchBookmarks");
    let now = Instant::now();
    let mut watch = Watch {
        shared: Arc::clone(shared),
        key: state.watchers.add(Topic::from(&stored.resource)),
        selection,
        accept: call.accept.clone(),
        include: call.query.text("includeObject").to_owned(),
        cursor: revision,
        ready: VecDeque::new(),
        first_row: true,
        bookmarks: wants_bookmarks.then(|| tokio::time::interval_at(now + BOOKMARKS, BOOKMARKS)),
        last_bookmark: (wants_bookmarks && timeout > Duration::from_secs(60))
            .then(|| Box::pin(tokio::time::sleep_until(now + timeout - LAST_BOOKMARK))),
        end: Box::pin(tokio::time::sleep_until(now + timeout)),
        ended: false,
        info: Arc::clone(info),
        stored,
    };
    let initial = match (send_initial, version) {
        (Some(wanted), _) => wanted,
        (None, None | Some(0)) => true,
        (None, Some(_)) => false,
    };
    if initial {
        watch.initial(state);
        if send_initial == Some(true) && wants_bookmarks {
            let bookmark = watch.bookmark(revision, true);
            watch.ready.push_back(bookmark);
        }
    } else if let Some(from) = version.filter(|from| *from > 0) {
        watch.resume(state, from);
    }
    let content_type = if call.accept.yaml { "application/yaml" } else { "application/json" };
    Ok(respond::stream(content_type, Body::stream(watch)))
}

fn check_options(call: &Call, send_initial: Option<bool>) -> Result<(), ApiError> {
    let matching = call.query.text("resourceVersionMatch");
    let refuse = |why: &str| Err(options_invalid("ListOptions", Cause::forbidden("resourceVersionMatch", why)));
    if send_initial.is_some() && matching != "NotOlderThan" {
        return refuse("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    if send_initial.is_none() && !matching.is_empty() {
        return refuse("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    }
    Ok(())
}

impl Watch {
    fn initial(&mut self, state: &State) {
        let Some(table) = state.store.table_if_any(&self.stored.resource) else { return };
        let objects: Vec<Arc<Value>> =
            table.iter(self.selection.namespace.as_deref()).filter(|o| self.selection.matches(o)).cloned().collect();
        for object in objects {
            let line = self.line(state, Event::Added, &object);
            self.ready.push_back(line);
        }
    }

    fn resume(&mut self, state: &State, from: u64) {
        let oldest = state.store.table_if_any(&self.stored.resource).map_or(0, crate::store::Table::compacted);
        if from < oldest {
            self.expire(from, oldest);
        } else {
            self.cursor = from;
        }
    }

    fn expire(&mut self, from: u64, oldest: u64) {
        let error = ApiError::new(410, "Expired", format!("too old resource version: {from} ({oldest})"));
        self.ready.push_back(event_line("ERROR", &error.to_json()));
        self.ended = true;
    }

    /// One event as this watcher gets it.
    fn line(&mut self, state: &State, event: Event, object: &Value) -> Bytes {
        let shown;
        let object = if matches!(self.info.storage, Storage::AliasOf(_)) {
            shown = respond::shown(&self.info, object);
            &shown
        } else {
            object
        };
        match self.accept.shape {
            Shape::Plain => event_line(event.name(), object),
            Shape::Metadata => event_line(event.name(), &respond::metadata_only(object, &self.accept.shape_version)),
            Shape::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let first = std::mem::take(&mut self.first_row);
                let version = &self.accept.shape_version;
                let table = crate::table::of(state, &self.info, &[object], metadata, version, &self.include, first);
                event_line(event.name(), &table)
            }
        }
    }

    fn bookmark(&self, revision: u64, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.accept.shape {
            Shape::Metadata => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}),
            _ => json!({
                "kind": self.info.resource.kind, "apiVersion": self.info.resource.api_version(),
                "metadata": metadata}),
        };
        event_line("BOOKMARK", &object)
    }

    /// Takes what is new in the history.
    fn take_changes(&mut self, state: &State) {
        let Some(table) = state.store.table_if_any(&self.stored.resource) else { return };
        if self.cursor < table.compacted() {
            return self.expire(self.cursor, table.compacted());
        }
        let plain = self.accept.shape == Shape::Plain && !matches!(self.info.storage, Storage::AliasOf(_));
        let entries: Vec<_> = table.since(self.cursor).cloned().collect();
        for entry in entries {
            self.cursor = entry.revision;
            let is = self.selection.matches(&entry.object);
            let was = entry.old.as_ref().is_some_and(|old| self.selection.matches(old));
            let event = match (entry.event, was, is) {
                (Event::Added, _, true) | (Event::Modified, false, true) => Event::Added,
                (Event::Modified, true, true) => Event::Modified,
                (Event::Modified, true, false) | (Event::Deleted, true, _) | (Event::Deleted, _, true) => {
                    Event::Deleted
                }
                _ => continue,
            };
            let line = match &entry.old {
                _ if event == entry.event && plain => entry.line(),
                // What has left the selection is shown as it was last in it, with the version of the change.
                Some(old) if event == Event::Deleted && entry.event == Event::Modified => {
                    let mut last = (**old).clone();
                    last["metadata"]["resourceVersion"] = json!(entry.revision.to_string());
                    self.line(state, event, &last)
                }
                _ => self.line(state, event, &entry.object),
            };
            self.ready.push_back(line);
        }
    }

    fn chunk(&mut self) -> Option<Bytes> {
        let first = self.ready.pop_front()?;
        if self.ready.is_empty() || first.len() > CHUNK {
            return Some(first);
        }
        let mut chunk = Vec::from(first);
        while self.ready.front().is_some_and(|next| chunk.len() + next.len() <= CHUNK) {
            if let Some(next) = self.ready.pop_front() {
                chunk.extend_from_slice(&next);
            }
        }
        Some(chunk.into())
    }
}

impl Stream for Watch {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let watch = self.get_mut();
        let shared = Arc::clone(&watch.shared);
        let mut state = shared.lock();
        if state.ended {
            return Poll::Ready(None);
        }
        if !watch.ended && watch.ready.is_empty() {
            watch.take_changes(&state);
            if watch.bookmarks.as_mut().is_some_and(|bookmarks| bookmarks.poll_tick(cx).is_ready()) {
                let bookmark = watch.bookmark(state.store.revision(), false);
                watch.ready.push_back(bookmark);
            }
            let last = watch.last_bookmark.as_mut().is_some_and(|at| at.as_mut().poll(cx).is_ready());
            if last {
                watch.last_bookmark = None;
                let bookmark = watch.bookmark(state.store.revision(), false);
                watch.ready.push_back(bookmark);
            }
        }
        if let Some(chunk) = watch.chunk() {
            state.watchers.busy(&watch.key);
            return Poll::Ready(Some(chunk));
        }
        if watch.ended || watch.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        state.watchers.park(&watch.key, cx.waker());
        drop(state);
        shared.notify.notify_one();
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.lock().watchers.remove(&self.key);
        self.shared.notify.notify_one();
    }
}
