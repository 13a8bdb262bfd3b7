//! The report of a `run-live-test.sh`, found in a standard output that also carries whatever else the script printed: the
//! last top-level JSON object that has a status of a test or its id, else the last with any status, else the line
//! `Status: <STATUS>` of the human form, else none.

use serde_json::{Map, Value, json};

use crate::answer::last_object_where;

/// Bytes of a report that are kept as evidence.
const MAX_KEPT: usize = 16 * 1024;
/// Bytes of a word that are shown.
const MAX_WORD: usize = 64;

/// What the script says of the test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveStatus {
    /// The agent passed.
    Pass,
    /// The test did not come to its end.
    Incomplete,
    /// The agent failed.
    AgentFailed,
    /// The agent detected nothing.
    NoDetection,
    /// The test's surroundings failed.
    Failed,
    /// The script could not tell, or says something that it should not; what it says.
    Unknown(String),
}

impl LiveStatus {
    fn of(word: &str) -> Self {
        match word.trim().to_ascii_uppercase().as_str() {
            "PASS" => Self::Pass,
            "INCOMPLETE" => Self::Incomplete,
            "AGENT_FAILED" => Self::AgentFailed,
            "NO_DETECTION" => Self::NoDetection,
            "FAILED" => Self::Failed,
            _ => Self::Unknown(word.chars().filter(|c| !c.is_control()).take(MAX_WORD).collect()),
        }
    }

    /// The word of the script.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pass => "PASS",
            Self::Incomplete => "INCOMPLETE",
            Self::AgentFailed => "AGENT_FAILED",
            Self::NoDetection => "NO_DETECTION",
            Self::Failed => "FAILED",
            Self::Unknown(word) => word,
        }
    }
}

/// What a script reports. Nothing of it is checked: it is what the script says.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveReport {
    /// Of the test.
    pub status: LiveStatus,
    /// It says that the failure was induced; none where it does not speak of it.
    pub failure_induced: Option<bool>,
    /// It says that the agent detected it.
    pub incident_detected: Option<bool>,
    /// The report, capped, without its logs.
    pub evidence: Value,
}

impl LiveReport {
    /// Finds the report in what the script printed.
    pub fn find(output: &str) -> Option<Self> {
        let read = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
        let status = |text: &str| {
            let object = read(text)?;
            let status = LiveStatus::of(object.get("status")?.as_str()?);
            Some((status, object.contains_key("test_id")))
        };
        // What is printed after the report may have a status, too: the objects of Kubernetes do.
        let of_a_test = |text: &str| {
            status(text).is_some_and(|(status, has_id)| has_id || !matches!(status, LiveStatus::Unknown(_)))
        };
        let found =
            last_object_where(output, of_a_test).or_else(|| last_object_where(output, |text| status(text).is_some()));
        match found.and_then(read) {
            Some(object) => Some(Self::of_object(object)),
            None => Self::of_text(output),
        }
    }

    fn of_object(mut object: Map<String, Value>) -> Self {
        let status = LiveStatus::of(object.get("status").and_then(Value::as_str).unwrap_or_default());
        let happened = |name: &str| object.get("events")?.as_object()?.get(name).map(happened);
        let (failure_induced, incident_detected) = (happened("failure_induced"), happened("incident_detected"));
        object.remove("logs");
        let evidence = Value::Object(object);
        let kept = if evidence.to_string().len() > MAX_KEPT { json!({"status": status.as_str()}) } else { evidence };
        Self { status, failure_induced, incident_detected, evidence: kept }
    }

    fn of_text(output: &str) -> Option<Self> {
        let status = output.lines().rev().find_map(|line| {
            let line = without_escapes(line);
            let (before, after) = line.split_once("Status:")?;
            let frame = before.chars().all(|c| !c.is_alphanumeric());
            let word: String = after.trim_start().chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            (frame && !word.is_empty()).then(|| LiveStatus::of(&word))
        })?;
        let evidence = json!({"status": status.as_str(), "form": "human"});
        Some(Self { status, failure_induced: None, incident_detected: None, evidence })
    }
}

/// A truth, a time or a count, as scripts write it.
fn happened(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.to_ascii_lowercase().as_str(), "" | "false" | "no" | "null" | "0"),
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// Colours and the like of a terminal, left out: ECMA-48 control sequences.
fn without_escapes(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            for c in chars.by_ref() {
                if ('@'..='~').contains(&c) {
                    break;
                }
            }
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(output: &str) -> Option<String> {
        LiveReport::find(output).map(|report| report.status.as_str().to_owned())
    }

    #[test]
    fn the_report_is_found_among_the_prints_of_other_steps() {
        let report = r#"{"test_id": "t", "agent": "a", "status": "PASS",
            "events": {"failure_induced": true, "incident_detected": "2026-11-21T10:00:00Z", "agent_started": false},
            "logs": {"agent": "{\"status\": \"FAILED\"}"}}"#;
        let output = format!(
            "pod/x created\n{{\"kind\": \"Pod\", \"status\": {{\"phase\": \"Running\"}}}}\nStatus: FAILED\n{report}\n\
             namespace \"x\" deleted\n{{\"kind\": \"Status\"}}\n"
        );
        let found = LiveReport::find(&output).expect("a report");
        assert_eq!(found.status, LiveStatus::Pass);
        assert_eq!((found.failure_induced, found.incident_detected), (Some(true), Some(true)));
        assert_eq!(found.evidence["agent"], "a");
        assert!(found.evidence.get("logs").is_none());
        let kubectl = r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}"#;
        assert_eq!(status(&format!("{report}\n{kubectl}")).as_deref(), Some("PASS"), "a status of something else");
        let twice = format!("{}\n{report}", report.replace("PASS", "NO_DETECTION"));
        assert_eq!(status(&twice).as_deref(), Some("PASS"), "the last one counts");
    }

    #[test]
    fn without_json_the_human_form_is_read() {
        for (output, expected) in [
            ("Test: x\n  Status: PASS\nstopping\n", Some("PASS")),
            ("\u{1b}[1mStatus:\u{1b}[0m \u{1b}[31mAGENT_FAILED\u{1b}[0m (exit 1)\n", Some("AGENT_FAILED")),
            ("| Status:   NO_DETECTION |\n", Some("NO_DETECTION")),
            ("Status: INCOMPLETE\nStatus: PASS\n", Some("PASS")),
            ("HTTP Status: PASS\n", None),
            ("Status: \nStatus: 200\n", None),
            ("{\"status\": 3}\n{\"state\": \"PASS\"}\n", None),
            ("", None),
        ] {
            assert_eq!(status(output).as_deref(), expected, "{output:?}");
        }
    }

    #[test]
    fn rubbish_is_no_report_and_costs_little() {
        assert_eq!(status(&"{".repeat(4_000_000)), None);
        assert_eq!(status(&"{\"status\":".repeat(400_000)), None);
        assert_eq!(
            status("{\"status\": \"PASS\", \"status\": \"FAILED\"}").as_deref(),
            Some("FAILED"),
            "as parsers do"
        );
        let odd = LiveReport::find("{\"status\": \"\\u001b[2Jgreat\"}").expect("a report");
        assert_eq!(odd.status, LiveStatus::Unknown("[2Jgreat".to_owned()));
        let large = format!("{{\"status\": \"FAILED\", \"x\": \"{}\"}}", "y".repeat(100_000));
        assert_eq!(LiveReport::find(&large).expect("a report").evidence, json!({"status": "FAILED"}));
    }
}
