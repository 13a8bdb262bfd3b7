//! The task as it is read and the answer as it is written: the two files that an agent shares with whoever tests it.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::TriageError;
use crate::finding::Finding;
use crate::snapshot::{ObjectName, text};

/// More entries than this would be guessing.
const NAMED: usize = 2;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) namespace: String,
    pub(crate) may_repair: bool,
    pub(crate) deadline: Option<Timestamp>,
    fault_types: BTreeMap<String, Value>,
}

impl Task {
    pub(crate) fn read(path: &Path) -> Result<Self, TriageError> {
        let unreadable = |why: String| TriageError::Task { path: path.to_owned(), why };
        let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let task: Value = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let namespace = text(&task, "/namespace").to_owned();
        if namespace.is_empty() {
            return Err(unreadable("it names no namespace".into()));
        }
        let fault_types = task["fault_types"].as_object();
        Ok(Self {
            namespace,
            may_repair: matches!(text(&task, "/objective"), "mitigate" | "both"),
            deadline: text(&task, "/deadline").parse().ok(),
            fault_types: fault_types
                .into_iter()
                .flatten()
                .map(|(word, meaning)| (word.clone(), meaning.clone()))
                .collect(),
        })
    }

    /// Seconds of wall time until the agent is ended.
    pub(crate) fn seconds_left(&self) -> i64 {
        self.deadline.map_or(i64::MAX, |deadline| deadline.as_second() - Timestamp::now().as_second())
    }
}

/// The answer to what was found: the strongest finding, and what is part of it.
pub(crate) fn answer(task: &Task, findings: &[Finding], log: Option<&str>, fixed: bool) -> Value {
    let Some(top) = findings.first() else {
        return json!({
            "fault_present": false,
            "root_causes": [],
            "fault_type": task.fault_types.contains_key("none").then_some("none"),
            "explanation": "Every workload has what it wants; no pod, event or condition points at a fault.",
            "fixed": false,
        });
    };
    let mut explanation = format!("{}: {}.", top.seen_on, top.message.trim_end_matches('.'));
    if let Some(last) = log.and_then(|log| log.trim().lines().last()) {
        explanation.push_str(&format!(" Its log ends with: {last}"));
    }
    json!({
        "fault_present": true,
        "root_causes": root_causes(findings).iter().map(entry).collect::<Vec<_>>(),
        "fault_type": task.fault_types.contains_key(top.fault_type).then_some(top.fault_type),
        "explanation": explanation,
        "fixed": fixed,
    })
}

/// The root of the strongest finding and what belongs to it, else another root that the same rule found as strongly.
fn root_causes(findings: &[Finding]) -> Vec<ObjectName> {
    let Some(top) = findings.first() else { return Vec::new() };
    let twins = findings.iter().filter(|other| (other.weight, other.rule) == (top.weight, top.rule));
    let mut named = vec![top.root.clone()];
    for name in top.related.iter().chain(twins.map(|twin| &twin.root)) {
        if named.len() < NAMED && !named.contains(name) {
            named.push(name.clone());
        }
    }
    named
}

fn entry(name: &ObjectName) -> Value {
    let mut entry = json!({"kind": name.kind, "name": name.name});
    if !name.namespace.is_empty() {
        entry["namespace"] = Value::from(name.namespace.as_str());
    }
    entry
}

/// Writes the answer whole: a reader never sees half of it.
pub(crate) fn write(path: &Path, answer: &Value) -> Result<(), TriageError> {
    let failed = |error: std::io::Error| TriageError::Answer { path: path.to_owned(), source: error };
    let draft = path.with_extension("draft");
    std::fs::write(&draft, format!("{answer:#}\n")).map_err(failed)?;
    std::fs::rename(&draft, path).map_err(failed)
}
