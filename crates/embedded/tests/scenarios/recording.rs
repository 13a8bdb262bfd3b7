//! A recorded scenario: its writes, and what was seen.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use crate::timeline::Seen;

/// A write of the scenario.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) at: f64,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
    /// What it was answered with.
    pub(crate) status: u16,
    /// The Status, where it was refused.
    pub(crate) refusal: Option<Value>,
    /// `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) writes: Vec<Write>,
    pub(crate) seen: Seen,
    pub(crate) end: f64,
    /// Images that the recorded node had.
    pub(crate) images: Vec<String>,
    /// When the first write was made, in seconds since the minute began.
    pub(crate) second: i64,
}

/// Images that were there without having been pulled.
fn present_images(seen: &Seen) -> Vec<String> {
    let quoted = |words: &str, start: &str| {
        words.split_once(start).and_then(|(_, rest)| rest.split('"').nth(1)).map(str::to_owned)
    };
    let pulled: Vec<String> = seen.events.keys().filter_map(|words| quoted(words, "Pulling: Pulling image ")).collect();
    seen.events
        .keys()
        .filter_map(|words| quoted(words, "Pulled: Container image "))
        .filter(|image| !pulled.contains(image))
        .collect()
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/scenarios").join(name)
}

fn lines(path: PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

impl Recording {
    /// Whether an object belongs to the scenario: its namespace, what lies in it, and nodes where they were recorded.
    pub(crate) fn is_about(&self, object: &Value) -> bool {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        text("/metadata/namespace") == self.name
            || text("/kind") == "Namespace" && text("/metadata/name") == self.name
            || text("/kind") == "Node" && self.seen.kinds.contains("Node")
    }

    pub(crate) fn read(name: &str) -> Self {
        let folder = folder(name);
        let manifest = std::fs::read_to_string(folder.join("manifest.yaml")).expect("a manifest");
        let documents: Vec<&str> = manifest.split("\n---").filter(|d| d.contains("kind:")).collect();
        let mut documents = documents.into_iter();
        let mut writes = Vec::new();
        for line in lines(folder.join("requests.jsonl")) {
            let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let from_manifest = text("/requestBody").contains("manifest.yaml");
            let (content_type, body) = if from_manifest {
                (
                    "application/yaml".to_owned(),
                    documents.next().expect("a document for each creation").as_bytes().to_vec(),
                )
            } else {
                let body = line.get("requestBody").filter(|b| !b.is_null()).map(Value::to_string).unwrap_or_default();
                let given = text("/contentType");
                (if given.is_empty() { "application/json".to_owned() } else { given }, body.into_bytes())
            };
            let at = line.pointer("/t").and_then(Value::as_f64).unwrap_or(0.0);
            let status = line.pointer("/status").and_then(Value::as_u64).expect("a status") as u16;
            let refusal = line.get("responseBody").filter(|_| status >= 300).cloned();
            let warnings = line.get("warning").and_then(Value::as_array).into_iter().flatten();
            writes.push(Write {
                at,
                method: text("/method"),
                path: text("/path"),
                content_type,
                body,
                status,
                refusal,
                warnings: warnings.filter_map(Value::as_str).map(str::to_owned).collect(),
            });
        }
        let mut seen = Seen::default();
        let mut known: BTreeMap<String, Value> = BTreeMap::new();
        let mut changes = Vec::new();
        for line in lines(folder.join("watch.jsonl")) {
            let at = line.pointer("/t").and_then(Value::as_f64).unwrap_or(0.0);
            let object = whole(&mut known, &line);
            seen.end = seen.end.max(at);
            seen.learn(&object);
            changes.push((at, line.pointer("/event/type") == Some(&Value::from("DELETED")), object));
        }
        for (at, deleted, object) in &changes {
            seen.object(*at, *deleted, object);
        }
        let events: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join("events.json")).expect("events")).expect("JSON");
        let list =
            events.as_array().or_else(|| events.get("items").and_then(Value::as_array)).expect("a list of events");
        // It lasted at least until the last Event was written.
        let time = |object: &Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).and_then(|t| t.parse::<Timestamp>().ok())
        };
        // Nodes are older than the scenario.
        let zero = changes
            .iter()
            .find(|(_, _, object)| object["metadata"]["namespace"] == name || object["metadata"]["name"] == name)
            .and_then(|(at, _, object)| Some((time(object, "/metadata/creationTimestamp")?, *at)));
        seen.answers =
            writes.iter().map(|write| seen.answer(write.status, write.refusal.as_ref(), &write.warnings)).collect();
        for event in list {
            seen.event(event);
            let last = time(event, "/lastTimestamp").or_else(|| time(event, "/series/lastObservedTime"));
            if let (Some(last), Some((zero, at))) = (last, zero) {
                seen.end = seen.end.max(last.duration_since(zero).as_secs_f64() + at);
            }
        }
        let end = seen.end;
        let images = present_images(&seen);
        let second = zero.map_or(0, |(zero, at)| (zero.as_second() - at as i64).rem_euclid(60));
        Self { name: name.to_owned(), writes, seen, end, images, second }
    }
}

/// Lays a delta over the last state of its object.
fn whole(known: &mut BTreeMap<String, Value>, line: &Value) -> Value {
    let change = line.pointer("/event/object").expect("an object");
    let key = format!("{}/{}", change["kind"], change["metadata"]["name"]);
    if line.get("delta").is_none() {
        known.insert(key, change.clone());
        return change.clone();
    }
    let object = known.get_mut(&key).expect("a delta follows a whole object");
    for (name, value) in change.as_object().expect("an object") {
        if matches!(name.as_str(), "metadata" | "status") {
            for (member, value) in value.as_object().expect("an object") {
                object[name][member] = value.clone();
            }
        } else {
            object[name] = value.clone();
        }
    }
    for gone in line.get("gone").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        match gone.split_once('.') {
            Some((part, member)) => {
                if let Some(part) = object.get_mut(part).and_then(Value::as_object_mut) {
                    part.remove(member);
                }
            }
            None => {
                if let Some(object) = object.as_object_mut() {
                    object.remove(gone);
                }
            }
        }
    }
    let object = object.clone();
    if line.pointer("/event/type") == Some(&Value::from("DELETED")) {
        known.remove(&key);
    }
    object
}

type Perturbation = (&'static str, &'static str, fn(&mut Seen));

/// Changes to recordings that the comparison must notice.
pub(crate) const PERTURBATIONS: &[Perturbation] = &[
    ("crash-exit-1", "another status", |seen| seen.pods[0].states[4].status = "Completed".to_owned()),
    ("crash-exit-1", "another restart count", |seen| seen.pods[0].states[5].restarts += 1),
    ("crash-exit-1", "a pause five times as long", |seen| {
        for state in seen.pods[0].states.iter_mut().skip(10) {
            state.at += 100.0;
        }
    }),
    ("crash-exit-1", "another event", |seen| {
        seen.events.insert(
            "Pod Warning BackOff: Back-off restarting container".to_owned(),
            crate::timeline::Told { count: 1 },
        );
    }),
    ("oom-killed", "another reason", |seen| {
        for pod in &mut seen.pods {
            pod.containers =
                pod.containers.iter().map(|(n, words)| (*n, words.replace("OOMKilled", "Error"))).collect();
        }
    }),
    ("rollout-good", "another condition", |seen| {
        seen.conditions.insert("Deployment web: Progressing False ProgressDeadlineExceeded".to_owned());
    }),
    ("rollout-good", "a pod more", |seen| {
        let pod = seen.pods[0].clone();
        seen.pods.push(pod);
    }),
];

type Everywhere = (&'static str, fn(&mut Seen) -> bool);

/// Changes that every recording can have; false where there is nothing to change.
pub(crate) const EVERYWHERE: &[Everywhere] = &[
    ("two states swapped", |seen| {
        let Some(pod) = seen.pods.iter_mut().find(|pod| pod.states.len() > 1) else { return false };
        let last = pod.states.len() - 1;
        let (first, end) = (pod.states[0].status.clone(), pod.states[last].status.clone());
        pod.states[0].status = end.clone();
        pod.states[last].status.clone_from(&first);
        first != end
    }),
    ("another reason", |seen| {
        let Some(pod) = seen.pods.first_mut() else { return false };
        let Some(words) = pod.conditions.pop_first() else { return false };
        pod.conditions.insert(format!("{words} OtherReason"))
    }),
    ("an event missing", |seen| {
        // The load of the recorded machine is left out of the comparison.
        let mut told = seen.events.keys().rev().filter(|words| !words.contains("failed to sync configmap cache"));
        let last = told.find(|words| words.contains("Scheduled") || words.contains("Failed"));
        let Some(words) = last.cloned() else { return false };
        seen.events.remove(&words).is_some()
    }),
    ("another answer", |seen| {
        let Some(answer) = seen.answers.first_mut() else { return false };
        answer.push_str(" and more");
        true
    }),
];
