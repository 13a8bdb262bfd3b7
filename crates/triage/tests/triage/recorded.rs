//! What the rules make of a real cluster: recorded watches are laid over each other up to a moment, and the findings
//! compared with what is known to be wrong there. The table lies beside the recordings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use triage::{Finding, Snapshot, analyse};

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One recorded scenario.
struct Recording {
    namespace: String,
    start: Timestamp,
    /// Seconds since the start, whether it is a delta, the event.
    lines: Vec<Value>,
    events: Vec<Value>,
}

impl Recording {
    fn open(name: &str) -> Self {
        let folder = recordings().join("scenarios").join(name);
        let lines: Vec<Value> = read(&folder.join("watch.jsonl"))
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect();
        let events: Value = serde_json::from_str(&read(&folder.join("events.json"))).expect("events");
        let events = events["items"].as_array().cloned().unwrap_or_default();
        let first = lines.iter().filter_map(|line| line["event"]["object"]["metadata"]["creationTimestamp"].as_str());
        let in_namespace = lines.iter().find(|line| line["event"]["object"]["metadata"]["namespace"] == *name);
        let first = in_namespace
            .and_then(|line| line["event"]["object"]["metadata"]["creationTimestamp"].as_str())
            .or(first.min());
        let start = first.expect("a creation").parse().expect("a time");
        Self { namespace: name.to_owned(), start, lines, events }
    }

    fn end(&self) -> f64 {
        self.lines.iter().filter_map(|line| line["t"].as_f64()).fold(0.0, f64::max)
    }

    /// Everything as it was `at` seconds after the first write.
    fn snapshot(&self, at: f64) -> Snapshot {
        let now = self.start + SignedDuration::from_millis((at * 1000.0) as i64);
        let mut objects: BTreeMap<(String, String), Value> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| line["t"].as_f64().is_some_and(|t| t <= at)) {
            let object = &line["event"]["object"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let key = (text(&object["kind"]), text(&object["metadata"]["name"]));
            if line["event"]["type"] == "DELETED" {
                objects.remove(&key);
            } else if line["delta"] == true {
                lay_over(objects.get_mut(&key).expect("an object to lay over"), line);
            } else {
                objects.insert(key, object.clone());
            }
        }
        let mut snapshot = Snapshot::new(&self.namespace, now);
        objects.into_values().for_each(|object| snapshot.insert(object));
        for event in &self.events {
            let made: Timestamp =
                event["metadata"]["creationTimestamp"].as_str().expect("a time").parse().expect("a time");
            if made <= now {
                let mut event = event.clone();
                event["kind"] = Value::from("Event");
                snapshot.insert(event);
            }
        }
        snapshot
    }
}

fn lay_over(object: &mut Value, line: &Value) {
    for path in line["gone"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (parent, field) = path.rsplit_once('.').unwrap_or(("", path));
        let parent = if parent.is_empty() { Some(&mut *object) } else { object.get_mut(parent) };
        if let Some(map) = parent.and_then(Value::as_object_mut) {
            map.remove(field);
        }
    }
    for (field, value) in line["event"]["object"].as_object().expect("an object") {
        match value.as_object().filter(|_| matches!(field.as_str(), "metadata" | "status")) {
            Some(changed) => {
                for (inner, value) in changed {
                    object[field.as_str()][inner.as_str()] = value.clone();
                }
            }
            None => object[field.as_str()] = value.clone(),
        }
    }
}

/// The roots that would be blamed: those that the strongest rule found.
fn blamed(findings: &[Finding]) -> BTreeSet<String> {
    let Some(top) = findings.first() else { return BTreeSet::new() };
    let alike = findings.iter().filter(|finding| (finding.rule, finding.weight) == (top.rule, top.weight));
    alike.map(|finding| finding.root.to_string()).collect()
}

/// Compares one row of the table at one moment; says what differs.
fn compare(recording: &Recording, row: &Value, at: f64) -> Result<(), String> {
    let findings = analyse(&recording.snapshot(at));
    let expected: BTreeSet<String> =
        row["roots"].as_array().expect("roots").iter().map(|root| root.as_str().expect("text").to_owned()).collect();
    let fault_type = findings.first().map(|top| top.fault_type);
    let related: BTreeSet<String> =
        findings.iter().flat_map(|finding| finding.related.iter().map(ToString::to_string)).collect();
    let missing =
        row["related"].as_array().into_iter().flatten().filter(|name| !related.contains(name.as_str().unwrap_or("")));
    let missing: Vec<&Value> = missing.collect();
    if blamed(&findings) == expected && fault_type == row["fault_type"].as_str() && missing.is_empty() {
        return Ok(());
    }
    let mut told = format!("{} at {at} s: expected {row}; found", row["scenario"]);
    for finding in &findings {
        told.push_str(&format!(
            "\n    {:?} {} {} {} on {} {:?}: {}",
            finding.weight,
            finding.rule,
            finding.root,
            finding.fault_type,
            finding.seen_on,
            finding.related,
            finding.message
        ));
    }
    Err(told)
}

#[test]
fn every_recorded_fault_is_found_and_nothing_else() {
    let table: Value = serde_json::from_str(&read(&recordings().join("triage.json"))).expect("the table");
    let mut wrong = Vec::new();
    for row in table.as_array().expect("rows") {
        let recording = Recording::open(row["scenario"].as_str().expect("a scenario"));
        let (from, to) = match (row["from"].as_f64(), row["to"].as_f64()) {
            (Some(from), to) => (from, to.unwrap_or(from)),
            _ => (recording.end(), recording.end()),
        };
        let mut at = from;
        while at <= to {
            if let Err(told) = compare(&recording, row, at) {
                wrong.push(told);
                break;
            }
            at += 0.5;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
