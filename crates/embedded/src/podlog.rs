//! The `log` subresource of pods: what a container has written, from now on too if asked.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulation::{ContainerRun, resources};

use crate::body::Body;
use crate::cluster::Shared;
use crate::error::ApiError;
use crate::logs::Line;
use crate::object;
use crate::registry::Info;
use crate::request::Call;
use crate::respond;
use crate::state::State;
use crate::watchers::Topic;

/// What is asked for.
#[derive(Debug)]
struct Wanted {
    run: ContainerRun,
    timestamps: bool,
    since: Option<Timestamp>,
    tail: Option<usize>,
    limit: Option<usize>,
    /// Only what went to standard error, or only what did not.
    stderr: Option<bool>,
}

impl Wanted {
    fn shows(&self, line: &Line) -> bool {
        self.since.is_none_or(|since| line.at >= since) && self.stderr.is_none_or(|stderr| line.stderr == stderr)
    }
}

pub(crate) fn answer(
    shared: &Arc<Shared>,
    state: &mut State,
    info: &Arc<Info>,
    call: &Call,
    name: &str,
) -> Result<Response<Body>, ApiError> {
    let namespace = call.target.namespace.as_deref().unwrap_or_default();
    let pod =
        state.store.get(&resources::PODS, namespace, name).cloned().ok_or_else(|| ApiError::not_found(info, name))?;
    for key in ["tailLines", "limitBytes", "sinceSeconds"] {
        check_number(call, key, name)?;
    }
    let container = container_of(&pod, name, call.query.text("container"))?;
    let status = status_of(&pod, &container);
    let previous = call.query.flag("previous");
    let restarts = u32::try_from(status["restartCount"].as_i64().unwrap_or(0)).unwrap_or(0);
    let run = |restart| ContainerRun { pod_uid: object::uid(&pod).to_owned(), container: container.clone(), restart };
    let started = ["running", "terminated"].iter().any(|key| !status["state"][key].is_null());
    let (run, id) = if previous {
        let last = &status["lastState"]["terminated"];
        if last.is_null() {
            let why = format!("previous terminated container {container:?} in pod {name:?} not found");
            return Err(ApiError::bad_request(why));
        }
        (run(restarts.saturating_sub(1)), last["containerID"].clone())
    } else if started {
        (run(restarts), status["containerID"].clone())
    } else if !status["lastState"]["terminated"].is_null() {
        // While a container waits to be started again, its last run is shown.
        (run(restarts), status["lastState"]["terminated"]["containerID"].clone())
    } else {
        return Err(not_started(name, &container, &status));
    };
    let number = |key| call.query.number(key).and_then(|n| usize::try_from(n).ok());
    let since = match call.query.number("sinceSeconds") {
        Some(seconds) => Some(state.now().saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(state.now())),
        None => call.query.get("sinceTime").and_then(|time| time.parse().ok()),
    };
    let wanted = Wanted {
        run,
        timestamps: call.query.flag("timestamps"),
        since,
        tail: number("tailLines"),
        limit: number("limitBytes"),
        stderr: match call.query.text("stream") {
            "Stdout" => Some(false),
            "Stderr" => Some(true),
            _ => None,
        },
    };
    if state.logs.get(&wanted.run).is_none() && (previous || !status["state"]["running"].is_object()) {
        // A container that wrote nothing has no log here either; one that is gone is named by its id.
        if previous || status["state"]["waiting"].is_object() {
            let text = format!("unable to retrieve container logs for {}", id.as_str().unwrap_or_default());
            return Ok(respond::plain_text(200, text));
        }
    }
    let (text, next) = read(state, &wanted);
    if !call.query.flag("follow") || previous {
        return Ok(respond::plain_text(200, text));
    }
    let follow = Follow {
        key: state.watchers.add(Topic::Logs),
        shared: Arc::clone(shared),
        namespace: namespace.to_owned(),
        pod: name.to_owned(),
        next,
        first: (!text.is_empty()).then(|| text.into()),
        left: wanted.limit,
        wanted,
    };
    Ok(respond::stream("text/plain", Body::stream(follow)))
}

fn check_number(call: &Call, key: &'static str, name: &str) -> Result<(), ApiError> {
    let Some(number) = call.query.number(key) else { return Ok(()) };
    let least = i64::from(key != "tailLines");
    if number >= least {
        return Ok(());
    }
    let why = if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
    let message = format!("Invalid value: {number}: {why}");
    Err(ApiError::new(422, "Invalid", format!("PodLogOptions {name:?} is invalid: {key}: {message}"))
        .with_details(json!({"name": name, "kind": "PodLogOptions",
               "causes": [{"reason": "FieldValueInvalid", "message": message, "field": key}]})))
}

fn names<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
    object::list(pod, &["spec", list]).iter().filter_map(|container| container["name"].as_str())
}

pub(crate) fn container_of(pod: &Value, name: &str, asked: &str) -> Result<String, ApiError> {
    let all: Vec<&str> =
        ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|list| names(pod, list)).collect();
    if !asked.is_empty() {
        return if all.contains(&asked) {
            Ok(asked.to_owned())
        } else {
            Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}")))
        };
    }
    let mut main = names(pod, "containers");
    match (main.next(), main.next()) {
        // Those that run before it are not in question.
        (Some(only), None) => Ok(only.to_owned()),
        _ => {
            let default = object::at(pod, &["metadata", "annotations", "kubectl.kubernetes.io/default-container"]);
            match default.as_str().filter(|name| all.contains(name)) {
                Some(default) => Ok(default.to_owned()),
                None => Err(ApiError::bad_request(format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    all.join(" ")
                ))),
            }
        }
    }
}

fn status_of(pod: &Value, container: &str) -> Value {
    ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]
        .into_iter()
        .flat_map(|list| object::list(pod, &["status", list]))
        .find(|status| status["name"] == container)
        .cloned()
        .unwrap_or(Value::Null)
}

fn not_started(pod: &str, container: &str, status: &Value) -> ApiError {
    let why = match status["state"]["waiting"]["reason"].as_str() {
        Some("ErrImagePull") => "image can't be pulled",
        Some("ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
        None => "ContainerCreating",
    };
    ApiError::bad_request(format!("container {container:?} in pod {pod:?} is waiting to start: {why}"))
}

fn write(line: &Line, timestamps: bool, out: &mut String) {
    if timestamps {
        out.push_str(&format!("{:.9} ", line.at));
    }
    out.push_str(&line.text);
    out.push('\n');
}

fn read(state: &State, wanted: &Wanted) -> (String, usize) {
    let mut out = String::new();
    let Some(log) = state.logs.get(&wanted.run) else { return (out, 0) };
    let (lines, next) = log.from(0);
    let lines: Vec<&Line> = lines.filter(|line| wanted.shows(line)).collect();
    let skip = wanted.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    for line in &lines[skip..] {
        write(line, wanted.timestamps, &mut out);
        if wanted.limit.is_some_and(|limit| out.len() >= limit) {
            break;
        }
    }
    cut(&mut out, wanted.limit);
    (out, next)
}

fn cut(text: &mut String, limit: Option<usize>) {
    if let Some(limit) = limit.filter(|limit| *limit < text.len()) {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

/// A log that is followed until its run has ended.
struct Follow {
    shared: Arc<Shared>,
    key: (Topic, u64),
    namespace: String,
    pod: String,
    wanted: Wanted,
    next: usize,
    first: Option<Bytes>,
    /// Bytes that may still be given.
    left: Option<usize>,
}

impl Follow {
    /// The run has ended: nothing more will be written.
    fn is_over(&self, state: &State) -> bool {
        let Some(pod) = state.store.get(&resources::PODS, &self.namespace, &self.pod) else { return true };
        let run = &self.wanted.run;
        if object::uid(pod) != run.pod_uid {
            return true;
        }
        let status = status_of(pod, &run.container);
        let restarts = status["restartCount"].as_i64().unwrap_or(0);
        restarts > i64::from(run.restart) || status["state"]["running"].is_null()
    }
}

impl Stream for Follow {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let follow = self.get_mut();
        let shared = Arc::clone(&follow.shared);
        let mut state = shared.lock();
        if state.ended {
            return Poll::Ready(None);
        }
        if let Some(first) = follow.first.take() {
            follow.left = follow.left.map(|left| left.saturating_sub(first.len()));
            state.watchers.busy(&follow.key);
            return Poll::Ready(Some(first));
        }
        let mut out = String::new();
        if let Some(log) = state.logs.get(&follow.wanted.run) {
            let (lines, next) = log.from(follow.next);
            for line in lines.filter(|line| follow.wanted.shows(line)) {
                write(line, follow.wanted.timestamps, &mut out);
            }
            follow.next = next;
        }
        cut(&mut out, follow.left);
        if !out.is_empty() {
            follow.left = follow.left.map(|left| left.saturating_sub(out.len()));
            state.watchers.busy(&follow.key);
            return Poll::Ready(Some(out.into()));
        }
        if follow.left == Some(0) || follow.is_over(&state) {
            return Poll::Ready(None);
        }
        state.watchers.park(&follow.key, cx.waker());
        drop(state);
        shared.notify.notify_one();
        Poll::Pending
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.shared.lock().watchers.remove(&self.key);
        self.shared.notify.notify_one();
    }
}
