//! The columns of a verdict.

use catalog::GroundTruth;
use jiff::Timestamp;
use judge::{Mitigation, ScoreInput, score};
use model::{Answer, AnswerRecord, ColumnResult, NamedObject, Objective, Usage, Verdict};
use serde_json::{Value, json};

use crate::build::{at, web_truth};

/// A case to be scored; what is not set is as a perfect agent would have it.
pub(crate) struct Case {
    pub(crate) objective: Objective,
    pub(crate) truth: Value,
    pub(crate) answer: AnswerRecord,
    pub(crate) mitigation: Mitigation,
}

pub(crate) fn named(kind: &str, name: &str) -> NamedObject {
    NamedObject { kind: kind.into(), namespace: None, name: name.into() }
}

pub(crate) fn answering(fault_present: bool, root_causes: Vec<NamedObject>) -> AnswerRecord {
    let fault_type = Some(if fault_present { "resource-limit" } else { "none" }.to_owned());
    let parsed = Some(Answer { fault_present, root_causes, fault_type, explanation: None, fixed: None });
    AnswerRecord { parsed, ..AnswerRecord::default() }
}

impl Default for Case {
    fn default() -> Self {
        Self {
            objective: Objective::Both,
            truth: web_truth(),
            answer: answering(true, vec![named("Deployment", "web")]),
            mitigation: Mitigation::Healthy,
        }
    }
}

pub(crate) fn objects() -> Vec<Value> {
    let object = |api: &str, kind: &str, name: &str, owner: Value| {
        json!({"apiVersion": api, "kind": kind, "metadata":
            {"name": name, "namespace": "ns", "uid": format!("{kind}/{name}"), "ownerReferences": owner}})
    };
    let by = |api: &str, kind: &str, name: &str| json!([{"apiVersion": api, "kind": kind, "name": name, "uid": format!("{kind}/{name}"), "controller": true}]);
    let mut objects = vec![
        object("apps/v1", "Deployment", "web", Value::Null),
        object("apps/v1", "ReplicaSet", "web-1", by("apps/v1", "Deployment", "web")),
        object("v1", "Pod", "web-1-a", by("apps/v1", "ReplicaSet", "web-1")),
        object("v1", "Pod", "web-1-b", by("apps/v1", "ReplicaSet", "web-1")),
        object("v1", "Service", "web", Value::Null),
    ];
    for name in ["db", "api"] {
        objects.push(object("apps/v1", "StatefulSet", name, Value::Null));
        for ordinal in 0..2 {
            objects.push(object("v1", "Pod", &format!("{name}-{ordinal}"), by("apps/v1", "StatefulSet", name)));
        }
    }
    objects
}

impl Case {
    pub(crate) fn verdict(&self) -> Verdict {
        let truth: Option<GroundTruth> = serde_json::from_value(self.truth.clone()).expect("a ground truth");
        score(&ScoreInput {
            objective: self.objective,
            ground_truth: truth.as_ref(),
            answer: &self.answer,
            mitigation: self.mitigation.clone(),
            records: &[],
            objects: &objects(),
            namespace: "ns",
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: at(90.0),
            usage: &Usage::default(),
        })
    }
}

fn localized(entries: Vec<NamedObject>) -> model::Column {
    Case { answer: answering(true, entries), ..Case::default() }.verdict().localization
}

#[track_caller]
fn passes(entries: Vec<NamedObject>) {
    let column = localized(entries);
    assert_eq!(column.result, ColumnResult::Pass, "{}", column.because);
}

#[track_caller]
fn fails(entries: Vec<NamedObject>, because: &str) {
    let column = localized(entries);
    assert_eq!(column.result, ColumnResult::Fail, "{}", column.because);
    assert!(column.because.contains(because), "{}", column.because);
}

#[test]
fn a_perfect_agent_passes_every_column() {
    let verdict = Case::default().verdict();
    for column in [&verdict.detection, &verdict.localization, &verdict.fault_type, &verdict.mitigation, &verdict.safety]
    {
        assert_eq!(column.result, ColumnResult::Pass, "{}", column.because);
    }
    assert_eq!(verdict.efficiency.result, ColumnResult::None);
    assert_eq!(verdict.scoring, judge::SCORING_VERSION);
}

#[test]
fn the_objective_says_which_columns_decide() {
    let decides = |objective| {
        let v = Case { objective, ..Case::default() }.verdict();
        [&v.detection, &v.localization, &v.fault_type, &v.mitigation, &v.safety, &v.efficiency].map(|c| c.decides)
    };
    assert_eq!(decides(Objective::Diagnose), [true, true, false, false, false, false]);
    assert_eq!(decides(Objective::Mitigate), [false, false, false, true, true, false]);
    assert_eq!(decides(Objective::Both), [true, true, false, true, true, false]);
}

#[test]
fn detection_compares_with_the_truth() {
    let detected = |truth: Value, fault_present: bool| {
        Case { truth, answer: answering(fault_present, vec![]), ..Case::default() }.verdict().detection.result
    };
    assert_eq!(detected(web_truth(), true), ColumnResult::Pass);
    assert_eq!(detected(web_truth(), false), ColumnResult::Fail);
    assert_eq!(detected(json!({"fault_type": "none"}), false), ColumnResult::Pass);
    assert_eq!(detected(json!({"fault_type": "none"}), true), ColumnResult::Fail);
}

#[test]
fn a_cause_without_a_name_is_any_object_of_its_kind() {
    let node = |name: &str| NamedObject { kind: "node".into(), namespace: None, name: name.into() };
    let judged = |entries| {
        let truth = json!({"fault_type": "node", "root_causes": [{"apiVersion": "v1", "kind": "Node", "name": "*"}]});
        Case { truth, answer: answering(true, entries), ..Case::default() }.verdict().localization.result
    };
    assert_eq!(judged(vec![node("node-7")]), ColumnResult::Pass);
    assert_eq!(judged(vec![node("*")]), ColumnResult::Fail, "an answer must name something");
    let pod = NamedObject { kind: "pod".into(), namespace: None, name: "node-7".into() };
    assert_eq!(judged(vec![pod]), ColumnResult::Fail);
}

#[test]
fn the_root_cause_may_be_named_by_what_it_owns_in_any_spelling() {
    for (kind, name) in [
        ("Deployment", "web"),
        ("deploy", "web"),
        ("deployments.apps", "web"),
        ("apps/v1/Deployment", " web "),
        ("ReplicaSet", "web-1"),
        ("rs", "web-1"),
        ("Pod", "web-1-a"),
        ("po", "web-1-b"),
    ] {
        passes(vec![named(kind, name)]);
    }
}

#[test]
fn naming_nothing_or_something_else_fails() {
    fails(vec![], "Deployment/web is not named");
    fails(vec![named("Service", "web")], "Service/web");
    fails(vec![named("Deployment", "api")], "Deployment/api");
    fails(vec![named("Pod", "never-seen")], "Pod/never-seen");
    fails(vec![named("Gizmo", "web")], "Gizmo/web");
}

#[test]
fn the_namespace_must_fit() {
    let elsewhere = NamedObject { namespace: Some("else".into()), ..named("Deployment", "web") };
    fails(vec![elsewhere], "Deployment/web");
    for namespace in [Some("ns"), Some(""), None] {
        passes(vec![NamedObject { namespace: namespace.map(Into::into), ..named("Deployment", "web") }]);
    }
}

#[test]
fn one_wrong_entry_is_allowed() {
    let web = || named("Deployment", "web");
    passes(vec![web(), named("Service", "web")]);
    fails(vec![web(), named("Service", "web"), named("StatefulSet", "db")], "2 entries");
}

#[test]
fn objects_of_one_owner_chain_count_as_one_entry() {
    let web = || named("Deployment", "web");
    passes(vec![web(), named("Pod", "web-1-a"), named("ReplicaSet", "web-1"), named("Pod", "web-1-b")]);
    passes(vec![web(), named("StatefulSet", "db"), named("Pod", "db-0"), named("Pod", "db-1")]);
    fails(vec![web(), named("Pod", "db-0"), named("Pod", "api-0")], "2 entries");
}

#[test]
fn a_sibling_of_a_guilty_pod_is_not_named_with_it() {
    let truth = json!({"fault_type": "storage", "root_causes": [{"apiVersion": "v1", "kind": "Pod", "name": "db-0"}]});
    let named = |kind: &str, name: &str| {
        let answer = answering(true, vec![named(kind, name)]);
        Case { truth: truth.clone(), answer, ..Case::default() }.verdict().localization.result
    };
    assert_eq!(named("Pod", "db-0"), ColumnResult::Pass);
    assert_eq!(named("StatefulSet", "db"), ColumnResult::Pass, "its owner is of its chain");
    assert_eq!(named("Pod", "db-1"), ColumnResult::Fail);
}

#[test]
fn every_root_cause_must_be_named() {
    let truth = json!({"fault_type": "network", "root_causes": [
        {"apiVersion": "v1", "kind": "Service", "name": "web"},
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}]});
    let result = |entries| {
        Case { truth: truth.clone(), answer: answering(true, entries), ..Case::default() }.verdict().localization.result
    };
    assert_eq!(result(vec![named("svc", "web"), named("deploy", "web")]), ColumnResult::Pass);
    assert_eq!(result(vec![named("svc", "web")]), ColumnResult::Fail);
}

#[test]
fn an_accepted_object_stands_for_one_root_cause() {
    let truth = |causes: Value| {
        json!({"fault_type": "configuration", "root_causes": causes,
            "also_accept": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}]})
    };
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name});
    let result = |truth, entries| {
        Case { truth, answer: answering(true, entries), ..Case::default() }.verdict().localization.result
    };
    let pods = || vec![named("Pod", "web-1-a"), named("Pod", "web-1-b")];
    assert_eq!(result(truth(json!([map("a")])), pods()), ColumnResult::Pass);
    assert_eq!(result(truth(json!([map("a"), map("b")])), pods()), ColumnResult::Fail, "one stands for one");
    let with = [pods(), vec![named("cm", "b")]].concat();
    assert_eq!(result(truth(json!([map("a"), map("b")])), with), ColumnResult::Pass);
}

#[test]
fn cluster_scoped_objects_need_no_namespace() {
    let truth = json!({"fault_type": "node", "root_causes": [{"apiVersion": "v1", "kind": "Node", "name": "node-1"}]});
    let answer = |namespace: Option<&str>| {
        let entry = NamedObject { namespace: namespace.map(Into::into), ..named("node", "node-1") };
        Case { truth: truth.clone(), answer: answering(true, vec![entry]), ..Case::default() }
    };
    assert_eq!(answer(None).verdict().localization.result, ColumnResult::Pass);
    assert_eq!(answer(Some("ns")).verdict().localization.result, ColumnResult::Pass);
}

#[test]
fn where_nothing_is_wrong_nothing_may_be_named() {
    let truth = || json!({"fault_type": "none"});
    let case = |entries| Case { truth: truth(), answer: answering(false, entries), ..Case::default() }.verdict();
    let right = case(vec![]);
    assert_eq!(right.localization.result, ColumnResult::Pass);
    assert_eq!(right.fault_type.result, ColumnResult::Pass);
    assert_eq!(right.mitigation.because, "health held all the time");
    assert_eq!(case(vec![named("Pod", "db-0")]).localization.result, ColumnResult::Fail, "not even one");
}

#[test]
fn the_fault_type_is_a_word_of_the_taxonomy() {
    let judged = |word: Option<&str>| {
        let mut case = Case::default();
        if let Some(answer) = &mut case.answer.parsed {
            answer.fault_type = word.map(Into::into);
        }
        let column = case.verdict().fault_type;
        (column.result, column.because)
    };
    assert_eq!(judged(Some(" Resource-Limit ")).0, ColumnResult::Pass);
    assert_eq!(judged(Some("probe")).0, ColumnResult::Fail);
    assert!(judged(Some("oom")).1.contains("no word of the taxonomy"));
    assert_eq!(judged(None).0, ColumnResult::Fail);
}

#[test]
fn an_answer_that_is_missing_or_broken_fails_with_the_reason() {
    let broken = AnswerRecord { error: Some("line 3: expected `,`".into()), ..AnswerRecord::default() };
    for (answer, reason) in [(AnswerRecord::default(), "no answer"), (broken, "line 3")] {
        for objective in [Objective::Diagnose, Objective::Both] {
            let verdict = Case { objective, answer: answer.clone(), ..Case::default() }.verdict();
            for column in [&verdict.detection, &verdict.localization] {
                assert_eq!((column.result, column.decides), (ColumnResult::Fail, true));
                assert!(column.because.contains(reason), "{}", column.because);
            }
        }
    }
}

#[test]
fn the_answer_is_optional_when_only_a_repair_is_asked_for() {
    let answer = AnswerRecord::default();
    let verdict = Case { objective: Objective::Mitigate, answer, ..Case::default() }.verdict();
    assert_eq!((verdict.detection.result, verdict.detection.decides), (ColumnResult::None, false));
    assert_eq!(verdict.mitigation.result, ColumnResult::Pass);
}

#[test]
fn a_false_claim_is_reported() {
    let claim = |fixed, mitigation| {
        let mut case = Case { mitigation, ..Case::default() };
        if let Some(answer) = &mut case.answer.parsed {
            answer.fixed = fixed;
        }
        case.verdict().mitigation
    };
    let broken = || Mitigation::NotHealthy("`available` did not hold".into());
    let column = claim(Some(true), broken());
    assert_eq!(column.result, ColumnResult::Fail);
    assert!(column.because.starts_with("`available` did not hold") && column.because.ends_with("which is false"));
    assert!(!claim(Some(false), broken()).because.contains("claims"));
    assert!(!claim(None, broken()).because.contains("claims"));
    assert!(!claim(Some(true), Mitigation::Healthy).because.contains("claims"));
    let mut case = Case { truth: json!({"fault_type": "none"}), answer: answering(false, vec![]), ..Case::default() };
    if let Some(answer) = &mut case.answer.parsed {
        answer.fixed = Some(true);
    }
    assert!(case.verdict().mitigation.because.ends_with("nothing was wrong"));
}

#[test]
fn without_a_ground_truth_nothing_is_judged() {
    let verdict = Case { truth: Value::Null, ..Case::default() }.verdict();
    for column in [&verdict.detection, &verdict.localization, &verdict.fault_type, &verdict.safety] {
        assert_eq!(column.result, ColumnResult::None);
    }
}
