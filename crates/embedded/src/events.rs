//! Kubernetes Events: what components tell, counted up when it repeats. Kubelet and controllers write the old form
//! (count, lastTimestamp; the client library's correlator), the scheduler the new one (eventTime, series).

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulation::{Occurrence, resources};

use crate::object;
use crate::state::State;
use crate::store::Event;
use crate::write::Write;

/// More different messages of one reason than this within the time below are combined into one Event.
const SIMILAR: usize = 10;
const SIMILAR_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// An object may cause so many Events at once, then one in five minutes.
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Equal Events of the new form within this time are one series.
const SERIES_WITHIN: SignedDuration = SignedDuration::from_mins(6);

#[derive(Debug)]
struct Known {
    name: String,
    count: i64,
    last: Timestamp,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    last: Timestamp,
}

#[derive(Debug)]
struct Similar {
    messages: Vec<String>,
    last: Timestamp,
}

/// What was told before.
#[derive(Debug, Default)]
pub(crate) struct Correlator {
    known: HashMap<String, Known>,
    similar: HashMap<String, Similar>,
    buckets: HashMap<String, Bucket>,
}

impl Correlator {
    /// False when this object has caused too many.
    fn admits(&mut self, source: &str, now: Timestamp) -> bool {
        let bucket = self.buckets.entry(source.to_owned()).or_insert(Bucket { tokens: BURST, last: now });
        let passed = bucket.last.duration_until(now).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + passed / REFILL_SECONDS).min(BURST);
        bucket.last = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    /// The message to write, and whether it stands for many.
    fn combine(&mut self, key: &str, message: &str, now: Timestamp) -> (String, bool) {
        let similar = self.similar.entry(key.to_owned()).or_insert(Similar { messages: Vec::new(), last: now });
        if similar.last.duration_until(now) > SIMILAR_WITHIN {
            similar.messages.clear();
        }
        similar.last = now;
        if !similar.messages.iter().any(|known| known == message) {
            similar.messages.push(message.to_owned());
        }
        if similar.messages.len() < SIMILAR {
            return (message.to_owned(), false);
        }
        similar.messages.remove(0);
        (format!("(combined from similar events): {message}"), true)
    }

    /// Forgets what is older than an hour, as the Events themselves are.
    pub(crate) fn forget_before(&mut self, at: Timestamp) {
        self.known.retain(|_, known| known.last >= at);
        self.similar.retain(|_, similar| similar.last >= at);
        self.buckets.retain(|_, bucket| bucket.last >= at);
    }
}

fn reference(regarding: &Value, field_path: Option<&str>) -> Value {
    let metadata = &regarding["metadata"];
    let mut reference = json!({"kind": regarding["kind"], "apiVersion": regarding["apiVersion"]});
    for key in ["namespace", "name", "uid", "resourceVersion"] {
        if let Some(value) = metadata[key].as_str().filter(|value| !value.is_empty()) {
            reference[key] = json!(value);
        }
    }
    if let Some(path) = field_path {
        reference["fieldPath"] = json!(path);
    }
    reference
}

impl State {
    /// Writes or counts up an Event.
    pub(crate) fn record_event(&mut self, occurrence: &Occurrence<'_>) {
        let now = self.now();
        let regarding = occurrence.regarding;
        let namespace = match object::namespace(regarding) {
            "" => "default".to_owned(),
            namespace => namespace.to_owned(),
        };
        if occurrence.component == "default-scheduler" {
            return self.record_series(occurrence, &namespace, now);
        }
        let host = occurrence.host.unwrap_or_default();
        let subject = format!(
            "{}/{}/{}/{}/{}/{}",
            occurrence.component,
            host,
            object::text(regarding, &["kind"]),
            namespace,
            object::name(regarding),
            object::uid(regarding),
        );
        let kind = if occurrence.warning { "Warning" } else { "Normal" };
        let field = occurrence.field_path.as_deref().unwrap_or_default();
        let similar_key = format!("{subject}/{field}/{kind}/{}", occurrence.reason);
        let (message, combined) = self.events.combine(&similar_key, &occurrence.message, now);
        if !self.events.admits(&subject, now) {
            return;
        }
        let key = if combined { similar_key } else { format!("{similar_key}/{message}") };
        if let Some(known) = self.events.known.get_mut(&key) {
            known.count += 1;
            known.last = now;
            let (name, count) = (known.name.clone(), known.count);
            if self.count_up(&namespace, &name, count, &message, now) {
                return;
            }
        }
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": self.event_name(&namespace, regarding, now), "namespace": namespace},
            "involvedObject": reference(regarding, occurrence.field_path.as_deref()),
            "reason": occurrence.reason, "message": message, "type": kind,
            "source": if host.is_empty() {
                json!({"component": occurrence.component})
            } else {
                json!({"component": occurrence.component, "host": host})
            },
            "firstTimestamp": format!("{now:.0}"), "lastTimestamp": format!("{now:.0}"), "count": 1,
            "eventTime": null, "reportingComponent": occurrence.component, "reportingInstance": host,
        });
        if let Some(name) = self.write_event(&namespace, event, occurrence.component) {
            self.events.known.insert(key, Known { name, count: 1, last: now });
        }
    }

    fn count_up(&mut self, namespace: &str, name: &str, count: i64, message: &str, now: Timestamp) -> bool {
        let Some(old) = self.store.get(&resources::EVENTS, namespace, name).cloned() else { return false };
        let Some(info) = self.info(&resources::EVENTS) else { return false };
        let mut event = (*old).clone();
        event["count"] = json!(count);
        event["message"] = json!(message);
        event["lastTimestamp"] = json!(format!("{now:.0}"));
        self.commit(&info, Event::Modified, event);
        true
    }

    fn record_series(&mut self, occurrence: &Occurrence<'_>, namespace: &str, now: Timestamp) {
        let regarding = occurrence.regarding;
        let action = match occurrence.reason {
            "Scheduled" => "Binding",
            "Preempted" => "Preempting",
            _ => "Scheduling",
        };
        let version = object::text(regarding, &["metadata", "resourceVersion"]);
        let key = format!("series/{}/{}/{}/{version}", occurrence.component, occurrence.reason, object::uid(regarding));
        let known = self.events.known.get_mut(&key).filter(|known| known.last.duration_until(now) <= SERIES_WITHIN);
        if let Some(known) = known {
            known.count += 1;
            known.last = now;
            let (name, count) = (known.name.clone(), known.count);
            let old = self.store.get(&resources::EVENTS, namespace, &name).cloned();
            if let (Some(old), Some(info)) = (old, self.info(&resources::EVENTS)) {
                let mut event = (*old).clone();
                event["series"] = json!({"count": count, "lastObservedTime": format!("{now:.6}")});
                self.commit(&info, Event::Modified, event);
                return;
            }
        }
        let host = occurrence.host.unwrap_or("node-1");
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": self.event_name(namespace, regarding, now), "namespace": namespace},
            "involvedObject": reference(regarding, occurrence.field_path.as_deref()),
            "reason": occurrence.reason, "message": occurrence.message, "source": {},
            "type": if occurrence.warning { "Warning" } else { "Normal" },
            "firstTimestamp": null, "lastTimestamp": null, "eventTime": format!("{now:.6}"), "action": action,
            "reportingComponent": occurrence.component,
            "reportingInstance": format!("{}-{host}", occurrence.component),
        });
        if let Some(name) = self.write_event(namespace, event, occurrence.component) {
            self.events.known.insert(key, Known { name, count: 1, last: now });
        }
    }

    /// `crash.18e9f49c3e364051`: the time in nanoseconds, in hexadecimal. Here several Events about one object may come
    /// in one instant; the next free nanosecond keeps their names apart.
    fn event_name(&self, namespace: &str, regarding: &Value, now: Timestamp) -> String {
        let mut nanosecond = now.as_nanosecond();
        loop {
            let name = format!("{}.{nanosecond:x}", object::name(regarding));
            if self.store.get(&resources::EVENTS, namespace, &name).is_none() {
                return name;
            }
            nanosecond += 1;
        }
    }

    fn write_event(&mut self, namespace: &str, event: Value, component: &str) -> Option<String> {
        let info = self.info(&resources::EVENTS)?;
        let event = crate::typed::of_controller(&info, event).ok()?;
        let written = self.create_object(&info, namespace, event, &Write::by(component));
        match written {
            Ok(event) => Some(object::name(&event).to_owned()),
            Err(error) => {
                // As in a real cluster, an Event that cannot be written is dropped.
                tracing::debug!(%namespace, error = %error.message, "event dropped");
                None
            }
        }
    }
}

impl State {
    /// Events are kept for an hour after they were last seen.
    pub(crate) fn expire_events(&mut self) {
        let Some(info) = self.info(&resources::EVENTS) else { return };
        let now = self.now();
        let oldest = now.saturating_sub(KEPT).unwrap_or(now);
        let last_seen = |event: &Value| {
            [
                &event["series"]["lastObservedTime"],
                &event["lastTimestamp"],
                &event["eventTime"],
                &event["metadata"]["creationTimestamp"],
            ]
            .into_iter()
            .find_map(|at| at.as_str()?.parse::<Timestamp>().ok())
        };
        for event in self.store.list(&resources::EVENTS, None) {
            if last_seen(&event).is_some_and(|at| at < oldest) {
                self.commit(&info, Event::Deleted, (*event).clone());
            }
        }
        self.events.forget_before(oldest);
    }
}
