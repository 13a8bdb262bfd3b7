//! Requests that are made again while the API server cannot answer them, and waits for the end of objects. Undo's own way
//! to the cluster: through the gate, as the host, not journaled.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::Clock;
use futures::{Stream, StreamExt, stream};
use http::{Method, Request};
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::discovery::ApiResource;
use kube::runtime::wait::{Condition, await_condition, conditions};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fields::{is_going, text, uid};
use crate::ObjectKey;

/// How often a request is made when the API server does not answer it.
const TRIES: u32 = 7;
/// Between the first two tries; doubled from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, also where the server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Until one try counts as not answered. What it may have written all the same is found by the next.
const ANSWER: Duration = Duration::from_secs(20);
/// No further try of a request is begun after this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests and watches that are open at once.
const AT_ONCE: usize = 16;

/// Why a request did not do what it was to do.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// The API server said no.
    Refused { code: u16, message: String },
    /// It did not answer, however often it was asked.
    Unreachable(String),
}

impl Trouble {
    pub(crate) fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }
}

/// An object that is to go.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
}

/// The cluster.
#[derive(Clone)]
pub(crate) struct Requests {
    client: Client,
}

impl Requests {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The object; none when it is not there, or its resource is not.
    pub(crate) async fn get(&self, key: &ObjectKey) -> Result<Option<Value>, Trouble> {
        match self.send(Method::GET, &key.path(), None).await {
            Ok(object) => Ok(Some(object)),
            Err(trouble) if trouble.is(404) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Many objects, in no order. The caller stops at the first trouble that tells of all.
    pub(crate) fn get_all(
        &self,
        keys: Vec<ObjectKey>,
    ) -> impl Stream<Item = (ObjectKey, Result<Option<Value>, Trouble>)> + Send + use<> {
        let requests = self.clone();
        let read = move |key: ObjectKey| {
            let requests = requests.clone();
            async move {
                let object = requests.get(&key).await;
                (key, object)
            }
        };
        stream::iter(keys).map(read).buffer_unordered(AT_ONCE)
    }

    /// What a collection holds, by a label where one is given.
    pub(crate) async fn list(&self, key: &ObjectKey, label: Option<(&str, &str)>) -> Result<Vec<Value>, Trouble> {
        let mut path = key.collection();
        if let Some((name, value)) = label {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("labelSelector", &format!("{name}={value}"))
                .finish();
            path = format!("{path}?{query}");
        }
        match self.send(Method::GET, &path, None).await {
            Ok(mut list) => Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()),
            Err(trouble) if trouble.is(404) => Ok(Vec::new()),
            Err(trouble) => Err(trouble),
        }
    }

    pub(crate) async fn create(&self, key: &ObjectKey, object: &Value) -> Result<Value, Trouble> {
        self.send(Method::POST, &key.collection(), Some(object)).await
    }

    /// Replaces the object, or the part of it that `subresource` names.
    pub(crate) async fn replace(&self, key: &ObjectKey, subresource: &str, object: &Value) -> Result<Value, Trouble> {
        let path = if subresource.is_empty() { key.path() } else { format!("{}/{subresource}", key.path()) };
        self.send(Method::PUT, &path, Some(object)).await
    }

    /// Deletes the object if it has this uid. Done already is fine.
    pub(crate) async fn delete(&self, leaving: &Leaving, propagation: &str) -> Result<(), Trouble> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation,
            "preconditions": {"uid": leaving.uid},
        });
        match self.send(Method::DELETE, &leaving.key.path(), Some(&options)).await {
            Ok(_) => Ok(()),
            Err(trouble) if trouble.is(404) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Waits until objects are gone, for at most `max` of cluster time; those that are not.
    pub(crate) async fn until_gone(
        &self,
        clock: &Arc<dyn Clock>,
        max: Duration,
        leaving: Vec<Leaving>,
    ) -> Vec<Leaving> {
        let left: Mutex<Vec<Leaving>> = Mutex::new(leaving.clone());
        let end = async |one: Leaving| {
            self.end_of(&one).await;
            left.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| other.key != one.key);
        };
        let ends = stream::iter(leaving).for_each_concurrent(AT_ONCE, end);
        // What is left tells it all.
        let _ = clock::run_until(clock, max, ends).await;
        left.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the object is gone. A watch, not a poll: while a poll is on its way, a cluster that hurries would run
    /// on.
    async fn end_of(&self, leaving: &Leaving) {
        let mut pause = FIRST_PAUSE;
        loop {
            let gone = await_condition(self.api(&leaving.key), &leaving.key.name, conditions::is_deleted(&leaving.uid));
            if gone.await.is_ok() {
                return;
            }
            // A watch that cannot be had: its resource may be gone with its definition.
            match self.get(&leaving.key).await {
                Ok(None) => return,
                Ok(Some(object)) if uid(&object) != leaving.uid => return,
                _ => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits until a custom resource can be used, for at most `max` of cluster time.
    pub(crate) async fn until_established(&self, clock: &Arc<dyn Clock>, max: Duration, definition: &ObjectKey) {
        let established = |object: Option<&DynamicObject>| {
            let conditions = object.and_then(|o| o.data.pointer("/status/conditions")).and_then(Value::as_array);
            conditions.into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True")
        };
        let wait = await_condition(self.api(definition), &definition.name, Established(established));
        // What needs it finds out.
        let _ = clock::run_until(clock, max, wait).await;
    }

    fn api(&self, key: &ObjectKey) -> Api<DynamicObject> {
        let api_version =
            if key.group.is_empty() { key.version.clone() } else { format!("{}/{}", key.group, key.version) };
        let resource = ApiResource {
            group: key.group.clone(),
            version: key.version.clone(),
            api_version,
            // No request names it.
            kind: String::new(),
            plural: key.resource.clone(),
        };
        if key.namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource)
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Trouble> {
        let mut pause = FIRST_PAUSE;
        let mut last = String::new();
        let end = Instant::now() + PATIENCE;
        for attempt in 1..=TRIES {
            let asked = match tokio::time::timeout(ANSWER, self.try_send(&method, path, body)).await {
                Ok(Ok(value)) => return Ok(value),
                Err(_) => {
                    last = format!("no answer in {} s", ANSWER.as_secs());
                    0
                }
                Ok(Err(kube::Error::Api(status))) => {
                    let passing = matches!(status.code, 429 | 500 | 502 | 503 | 504);
                    if !passing {
                        return Err(Trouble::Refused { code: status.code, message: status.message });
                    }
                    last = status.message;
                    u64::from(status.details.map_or(0, |details| details.retry_after_seconds))
                }
                Ok(Err(other)) => {
                    last = other.to_string();
                    0
                }
            };
            let wait = pause.max(Duration::from_secs(asked)).min(LONGEST_PAUSE);
            if attempt == TRIES || Instant::now() + wait > end {
                break;
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        // One that answers others refuses this one, a webhook perhaps.
        let version = self.try_send(&Method::GET, "/version", None);
        if tokio::time::timeout(ANSWER, version).await.is_ok_and(|answer| answer.is_ok()) {
            return Err(Trouble::Refused { code: 503, message: last });
        }
        Err(Trouble::Unreachable(last))
    }

    async fn try_send(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value, kube::Error> {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path);
        let request = if body.is_some() { request.header("content-type", "application/json") } else { request };
        self.client.request(request.body(bytes).map_err(kube::Error::HttpError)?).await
    }
}

/// A condition made of a closure.
struct Established<F>(F);

impl<F: Fn(Option<&DynamicObject>) -> bool> Condition<DynamicObject> for Established<F> {
    fn matches_object(&self, object: Option<&DynamicObject>) -> bool {
        (self.0)(object)
    }
}

/// What holds an object up that does not go, in its own words.
pub(crate) fn held_by(object: &Value) -> Vec<Value> {
    if !is_going(object) {
        return Vec::new();
    }
    let list = |pointer: &str| object.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut why: Vec<Value> = list("/metadata/finalizers").iter().map(|f| json!({"finalizer": f})).collect();
    for condition in list("/status/conditions").iter().filter(|c| c["status"] == "True") {
        why.push(json!({"condition": text(condition, "/type"), "message": text(condition, "/message")}));
    }
    why
}
