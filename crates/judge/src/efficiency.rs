//! Efficiency: how soon the agent looked at what was guilty, and what it used. Evidence only; it never decides.

use jiff::Timestamp;
use model::{Column, ColumnResult, GateRecord, Usage, UsageSource};
use serde_json::{Value, json};

use crate::owners::Family;
use crate::requests::{changed, is_about, millis, succeeded, target};
use crate::score::{Mitigation, ScoreInput};
use crate::truth::Truth;

/// Times in milliseconds since the agent started, counts, and what the agent says it used.
pub(crate) fn column(input: &ScoreInput<'_>, truth: Option<&Truth>, family: &Family) -> Column {
    let look = truth.and_then(|truth| first_look(input.records, truth, family, input.started_at));
    let repair = truth.filter(|_| input.mitigation == Mitigation::Healthy);
    let repair = repair.and_then(|truth| last_repair(input.records, truth, family, input.started_at));
    let mut column = counted(input.records, (input.started_at, input.finished_at), input.usage);
    column.evidence.splice(0..0, [json!({"first_look": look}), json!({"repair_ms": repair})]);
    if let Some(after) = look.as_ref().and_then(|look| look["after_ms"].as_u64()) {
        column.because =
            format!("first look at a guilty object after {:.1} s; {}", after as f64 / 1000.0, column.because);
    }
    column
}

/// What can be counted without knowing what was wrong.
pub(crate) fn counted(records: &[GateRecord], (start, end): (Timestamp, Timestamp), usage: &Usage) -> Column {
    let count = |wanted: fn(&GateRecord) -> bool| records.iter().filter(|record| wanted(record)).count();
    let (requests, duration) = (records.len(), millis(start, end));
    let mut evidence = vec![
        json!({"requests": requests}),
        json!({"mutations": count(changed)}),
        json!({"denials": count(|record| record.decision == model::Decision::Denied)}),
        json!({"duration_ms": duration}),
    ];
    if usage.source != UsageSource::Unknown {
        evidence.push(json!({"usage": usage}));
    }
    let because = format!("{requests} requests in {:.1} s", duration as f64 / 1000.0);
    Column { result: ColumnResult::None, decides: false, because, evidence }
}

/// The first successful read of a guilty object: of the object or one that it owns by name (`object`), of a log
/// (`log`), or of all objects of its kind in its namespace (`kind`).
fn first_look(records: &[GateRecord], truth: &Truth, family: &Family, start: Timestamp) -> Option<Value> {
    records.iter().filter(|record| succeeded(record)).find_map(|record| {
        let how = how_it_looks(record, truth, family)?;
        Some(json!({
            "after_ms": millis(start, record.at),
            "how": how,
            "verb": record.verb,
            "resource": record.resource,
            "name": record.name,
        }))
    })
}

fn how_it_looks(record: &GateRecord, truth: &Truth, family: &Family) -> Option<&'static str> {
    if !matches!(&*record.verb, "get" | "list" | "watch") {
        return None;
    }
    match target(record) {
        Some(identity) if truth.is_guilty(&identity, family) => {
            Some(if record.subresource == "log" { "log" } else { "object" })
        }
        Some(_) => None,
        None => truth.root_causes.iter().any(|cause| is_about(record, cause)).then_some("kind"),
    }
}

/// The last change within bounds, where health came back afterwards.
fn last_repair(records: &[GateRecord], truth: &Truth, family: &Family, start: Timestamp) -> Option<u64> {
    let repairs = records.iter().filter(|record| changed(record));
    let mut repairs = repairs.filter(|record| target(record).is_some_and(|id| truth.may_change(&id, family)));
    repairs.next_back().map(|record| millis(start, record.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{family, record, truth};

    fn look(records: &[GateRecord]) -> Option<String> {
        let look = first_look(records, &truth(), &family(), Timestamp::UNIX_EPOCH)?;
        Some(format!("{}@{}", look["how"].as_str()?, look["after_ms"]))
    }

    fn at(seconds: i64, record: GateRecord) -> GateRecord {
        GateRecord { at: Timestamp::from_second(seconds).expect("a time"), ..record }
    }

    #[test]
    fn the_first_look_says_how() {
        let others = [at(1, record("list", "", "services", "")), at(2, record("get", "", "pods", "other-1-a"))];
        assert_eq!(look(&others), None);
        let log = GateRecord { subresource: "log".into(), ..record("get", "", "pods", "web-1-a") };
        for (last, expected) in [
            (record("get", "apps", "deployments", "web"), "object@3000"),
            (record("watch", "", "pods", "web-1-a"), "object@3000"),
            (log, "log@3000"),
            (record("list", "apps", "deployments", ""), "kind@3000"),
        ] {
            assert_eq!(look(&[&others[..], &[at(3, last)]].concat()).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_refused_read_is_no_look() {
        assert_eq!(look(&[GateRecord { status: 404, ..record("get", "apps", "deployments", "web") }]), None);
        let denied = GateRecord { decision: model::Decision::Denied, ..record("get", "apps", "deployments", "web") };
        assert_eq!(look(&[denied]), None);
    }

    #[test]
    fn a_list_over_all_namespaces_is_a_look_and_one_elsewhere_is_none() {
        let list = record("list", "apps", "deployments", "");
        assert!(look(&[GateRecord { namespace: String::new(), ..list.clone() }]).is_some());
        assert!(look(&[GateRecord { namespace: "else".into(), ..list }]).is_none());
    }
}
