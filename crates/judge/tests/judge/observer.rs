//! The state machine, event by event.

use judge::{Checks, JudgeError, Seen};
use serde_json::{Value, json};

use crate::build::{
    DEPLOYMENTS, PODS, armed, at, deployment, deployment_object, observer, oom, pod, resolved, web_truth,
};

/// One select of pods by label, one check of the given kind.
fn symptom(quantifier: &str, condition: &str) -> judge::Observer {
    let mut check = json!({"name": "s", "select": {"apiVersion": "v1", "kind": "Pod", "labelSelector": "app=web"}});
    check[quantifier] = Value::from(condition);
    observer(&resolved(json!([check]), json!([]), web_truth()))
}

fn health(mut check: Value) -> judge::Observer {
    check["name"] = Value::from("h");
    observer(&resolved(json!([]), json!([check]), web_truth()))
}

#[test]
fn equal_selects_are_watched_once() {
    let pods = json!({"apiVersion": "v1", "kind": "Pod"});
    let named = json!({"apiVersion": "v1", "kind": "Pod", "name": "a"});
    let check = |name: &str, select: &Value| json!({"name": name, "select": select, "any": "true"});
    let symptoms = json!([check("a", &pods), check("b", &pods), check("c", &named)]);
    let resolved = resolved(symptoms, json!([check("d", &pods)]), web_truth());
    let checks = Checks::compile(&resolved).expect("checks");
    assert_eq!(checks.selects().len(), 2);
}

#[test]
fn bad_checks_are_named() {
    let check = |condition: &str, labels: Value| {
        let select = json!({"apiVersion": "v1", "kind": "Pod", "labelSelector": labels});
        resolved(json!([{"name": "bad", "select": select, "any": condition}]), json!([]), web_truth())
    };
    let error = Checks::compile(&check("object.", json!("a=b"))).expect_err("no CEL");
    assert!(matches!(&error, JudgeError::Expression { check, .. } if check == "bad"), "{error}");
}

#[test]
fn label_selectors_may_be_objects() {
    let select = json!({"apiVersion": "v1", "kind": "Pod", "labelSelector": {"matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}});
    let check = json!([{"name": "s", "select": select, "any": "true"}]);
    let mut observer = observer(&resolved(check, json!([]), web_truth()));
    observer.arm();
    observer.observe(at(1.0), 0, Seen::Upsert(json!({"metadata": {"name": "o", "labels": {"app": "other"}}})));
    assert!(!observer.all_seen(), "another app");
    observer.observe(at(2.0), 0, Seen::Upsert(json!({"metadata": {"name": "o", "labels": {"app": "web"}}})));
    assert!(observer.all_seen());
}

#[test]
fn a_symptom_of_a_tenth_of_a_second_is_latched() {
    let mut observer = armed();
    observer.observe(at(5.0), PODS, pod("a", "OOMKilled"));
    observer.observe(at(5.1), PODS, pod("a", "Running"));
    assert_eq!(observer.symptom_holding_now(), None);
    assert!(observer.all_seen());
    let seen = &observer.symptoms()[0];
    assert_eq!((seen.at, seen.object.as_deref()), (Some(at(5.0)), Some("Pod/a")));
}

#[test]
fn the_first_sight_stays() {
    let mut observer = armed();
    for (second, name) in [(5.0, "a"), (6.0, "b")] {
        observer.observe(at(second), PODS, pod(name, "OOMKilled"));
    }
    observer.observe(at(7.0), PODS, pod("a", ""));
    assert_eq!(observer.symptoms()[0].at, Some(at(5.0)));
}

#[test]
fn what_was_seen_before_arming_does_not_count() {
    let mut observer = observer(&oom());
    observer.observe(at(1.0), PODS, pod("a", "OOMKilled"));
    assert_eq!(observer.symptom_holding_now(), Some("oom"));
    observer.observe(at(2.0), PODS, pod("a", ""));
    observer.arm();
    assert!(!observer.all_seen());
    assert!(observer.symptoms()[0].at.is_none());
}

#[test]
fn a_symptom_that_holds_while_arming_counts_and_arming_again_forgets() {
    let mut observer = observer(&oom());
    observer.observe(at(1.0), PODS, pod("a", "OOMKilled"));
    assert!(!observer.all_seen(), "not armed");
    observer.arm();
    assert!(observer.all_seen());
    observer.observe(at(2.0), PODS, pod("a", ""));
    observer.arm();
    assert!(!observer.all_seen());
}

#[test]
fn any_needs_one_object() {
    let mut observer = symptom("any", "object.status.reason == 'x'");
    observer.observe(at(0.0), 0, Seen::Synced);
    assert_eq!(observer.symptom_holding_now(), None, "any of nothing");
    observer.observe(at(1.0), 0, pod("a", "y"));
    observer.observe(at(1.0), 0, pod("b", "x"));
    assert!(observer.symptom_holding_now().is_some());
}

#[test]
fn any_needs_no_complete_list() {
    let mut observer = symptom("any", "object.status.reason == 'x'");
    observer.observe(at(1.0), 0, pod("b", "x"));
    assert!(observer.symptom_holding_now().is_some());
}

#[test]
fn all_needs_every_object_and_a_complete_list() {
    let mut observer = symptom("all", "object.status.reason == 'x'");
    observer.observe(at(0.0), 0, pod("a", "x"));
    assert_eq!(observer.symptom_holding_now(), None, "others may follow");
    observer.observe(at(0.0), 0, Seen::Synced);
    assert!(observer.symptom_holding_now().is_some());
    observer.observe(at(1.0), 0, pod("b", "y"));
    assert_eq!(observer.symptom_holding_now(), None);
    observer.observe(at(2.0), 0, Seen::Remove(json!({"metadata": {"name": "b", "namespace": "ns"}})));
    assert!(observer.symptom_holding_now().is_some());
    observer.observe(at(3.0), 0, Seen::Remove(json!({"metadata": {"name": "a", "namespace": "ns"}})));
    assert_eq!(observer.symptom_holding_now(), None, "all of nothing");
}

#[test]
fn none_needs_a_complete_list() {
    let mut observer = symptom("none", "object.status.reason == 'x'");
    observer.arm();
    assert!(!observer.all_seen(), "nothing is known yet");
    observer.observe(at(0.0), 0, pod("a", "x"));
    observer.observe(at(0.0), 0, Seen::Synced);
    assert!(!observer.all_seen());
    observer.observe(at(4.0), 0, Seen::Remove(json!({"metadata": {"name": "a", "namespace": "ns"}})));
    assert!(observer.all_seen(), "none of nothing");
    let seen = &observer.symptoms()[0];
    assert_eq!((seen.at, seen.object.as_deref()), (Some(at(4.0)), None));
}

#[test]
fn a_missing_field_does_not_hold_yet() {
    let mut observer = symptom("any", "object.status.nowhere.to.be.seen == 1");
    observer.observe(at(1.0), 0, pod("a", "x"));
    assert_eq!(observer.symptom_holding_now(), None);
}

#[test]
fn an_object_that_no_longer_matches_is_gone() {
    let mut observer = symptom("any", "true");
    observer.observe(at(1.0), 0, pod("a", ""));
    assert!(observer.symptom_holding_now().is_some());
    observer.observe(at(2.0), 0, Seen::Upsert(json!({"metadata": {"name": "a", "namespace": "ns", "labels": {}}})));
    assert_eq!(observer.symptom_holding_now(), None);
}

#[test]
fn params_are_in_scope() {
    let select = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    let mut observer = health(json!({"select": select, "all": "object.status.available == params.wanted"}));
    observer.observe(at(0.0), 0, deployment(2));
    observer.observe(at(0.0), 0, Seen::Synced);
    assert!(observer.holds_now());
}

#[test]
fn a_window_completes_after_its_time_and_not_before() {
    let observer = armed();
    assert!(observer.holds_now());
    assert_eq!(observer.next_deadline(), Some(at(60.0)));
    assert!(!observer.healthy(at(0.0)));
    assert!(!observer.healthy(at(59.999)));
    assert!(observer.healthy(at(60.0)));
    let state = &observer.health(at(59.0))[0];
    assert_eq!((state.holds, state.since, state.complete), (true, Some(at(0.0)), false));
}

#[test]
fn an_event_that_makes_it_false_starts_the_window_anew() {
    let mut observer = armed();
    observer.observe(at(59.0), DEPLOYMENTS, deployment(1));
    assert!(!observer.holds_now());
    assert_eq!(observer.next_deadline(), None, "only an event can help");
    assert!(!observer.healthy(at(1000.0)));
    let because = observer.health(at(59.5))[0].because.clone();
    assert!(because.is_some_and(|because| because.contains("Deployment/web")));
    observer.observe(at(59.1), DEPLOYMENTS, deployment(2));
    assert_eq!(observer.next_deadline(), Some(at(119.1)));
    assert!(!observer.healthy(at(119.0)));
    assert!(observer.healthy(at(119.1)));
}

#[test]
fn an_event_that_changes_nothing_leaves_the_window() {
    let mut observer = armed();
    observer.observe(at(30.0), DEPLOYMENTS, deployment(3));
    observer.observe(at(40.0), PODS, pod("b", "x"));
    assert!(observer.healthy(at(60.0)));
}

#[test]
fn a_deleted_object_is_not_healthy() {
    let mut observer = armed();
    observer.observe(at(10.0), DEPLOYMENTS, Seen::Remove(deployment_object(2)));
    assert!(!observer.holds_now());
    assert_eq!(observer.health(at(11.0))[0].because.as_deref(), Some("no Deployment is selected"));
    observer.observe(at(20.0), DEPLOYMENTS, deployment(2));
    assert_eq!(observer.next_deadline(), Some(at(80.0)), "the baseline is that of the name");
}

#[test]
fn an_object_made_anew_starts_the_window_anew_even_when_its_deletion_was_not_told() {
    let mut observer = armed();
    let mut anew = deployment_object(2);
    anew["metadata"]["uid"] = Value::from("another");
    observer.observe(at(30.0), DEPLOYMENTS, Seen::Upsert(anew));
    assert!(observer.holds_now());
    assert_eq!(observer.next_deadline(), Some(at(90.0)));
}

#[test]
fn deleting_what_a_check_names_repairs_nothing() {
    let select = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "name": "web"});
    let check = json!({"select": select, "none": "object.status.available == 0"});
    let mut never = health(check.clone());
    never.observe(at(0.0), 0, Seen::Synced);
    never.set_baseline();
    assert!(never.holds_now(), "it was never there");
    let mut gone = health(check);
    gone.observe(at(0.0), 0, deployment(1));
    gone.observe(at(0.0), 0, Seen::Synced);
    gone.set_baseline();
    assert!(gone.holds_now());
    gone.observe(at(1.0), 0, Seen::Remove(deployment_object(1)));
    assert!(!gone.holds_now(), "it was there before");
}

#[test]
fn the_baseline_is_the_object_as_it_was() {
    let mut observer = observer(&oom());
    observer.observe(at(0.0), DEPLOYMENTS, deployment(2));
    observer.observe(at(0.0), DEPLOYMENTS, Seen::Synced);
    assert!(!observer.holds_now(), "without a baseline `baseline.status` is no field");
    observer.set_baseline();
    assert!(observer.holds_now());
    observer.observe(at(1.0), DEPLOYMENTS, deployment(1));
    assert!(!observer.holds_now());
    observer.set_baseline();
    assert!(observer.holds_now(), "taken again, it is met again");
}

#[test]
fn an_object_without_a_baseline_has_null() {
    let select = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    let mut observer = health(json!({"select": select, "all": "baseline == null || object.status == baseline.status"}));
    observer.observe(at(0.0), 0, Seen::Synced);
    observer.set_baseline();
    observer.observe(at(1.0), 0, deployment(7));
    assert!(observer.holds_now());
}

#[test]
fn two_windows_complete_together_at_the_later_one() {
    let select = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    let check = |name: &str, least: i64, window: &str| json!({"name": name, "select": select, "all": format!("object.status.available >= {least}"), "for": window});
    let mut observer = observer(&resolved(json!([]), json!([check("a", 1, "60s"), check("b", 2, "10s")]), web_truth()));
    observer.observe(at(0.0), 0, deployment(1));
    observer.observe(at(0.0), 0, Seen::Synced);
    assert_eq!(observer.next_deadline(), None);
    observer.observe(at(45.0), 0, deployment(2));
    assert_eq!(observer.next_deadline(), Some(at(60.0)));
    assert!(!observer.healthy(at(55.0)));
    assert!(observer.healthy(at(60.0)));
}

#[test]
fn a_window_that_no_longer_fits_is_too_late() {
    let select = json!({"apiVersion": "v1", "kind": "Pod", "name": "a"});
    let mut observer = health(json!({"select": select, "any": "object.ok", "for": "10s"}));
    assert!(!observer.too_late(at(0.0), at(10.0)), "it may come to hold at once");
    assert!(observer.too_late(at(1.0), at(10.0)), "it does not hold yet");
    observer.observe(at(2.0), 0, Seen::Upsert(json!({"metadata": {"name": "a"}, "ok": true})));
    assert!(!observer.too_late(at(5.0), at(12.0)) && observer.too_late(at(5.0), at(11.0)), "it ends at 12");
    observer.observe(at(6.0), 0, Seen::Upsert(json!({"metadata": {"name": "a"}, "ok": false})));
    assert!(observer.too_late(at(6.0), at(12.0)) && !observer.too_late(at(6.0), at(16.0)), "it begins anew");
}

#[test]
fn time_that_runs_back_shortens_no_window() {
    let mut observer = armed();
    observer.observe(at(50.0), DEPLOYMENTS, deployment(0));
    observer.observe(at(10.0), DEPLOYMENTS, deployment(2));
    assert_eq!(observer.next_deadline(), Some(at(110.0)));
    assert!(!observer.healthy(at(70.0)));
}

#[test]
fn the_witness_needs_symptoms_and_broken_health() {
    let mut observer = armed();
    assert!(!observer.witnessed());
    observer.observe(at(1.0), PODS, pod("a", "OOMKilled"));
    assert!(observer.all_seen());
    assert!(!observer.witnessed(), "health still holds");
    observer.observe(at(2.0), DEPLOYMENTS, deployment(1));
    assert!(observer.witnessed(), "the watches tell of it one after the other");
    assert_eq!(observer.health_broken(), ["available"]);
    observer.observe(at(3.0), DEPLOYMENTS, deployment(2));
    assert!(!observer.witnessed(), "healthy again, and it was when the symptom was seen");
}

#[test]
fn the_witness_takes_health_as_it_was_with_the_symptom() {
    let mut observer = armed();
    observer.observe(at(1.0), DEPLOYMENTS, deployment(1));
    observer.observe(at(1.1), PODS, pod("a", "OOMKilled"));
    // A crashing pod makes its Deployment available for the moment that it runs.
    observer.observe(at(2.0), DEPLOYMENTS, deployment(2));
    assert!(observer.holds_now());
    assert!(observer.witnessed());
    assert_eq!(observer.health_broken(), ["available"]);
}

#[test]
fn broken_health_alone_is_no_witness() {
    let mut observer = armed();
    observer.observe(at(1.0), DEPLOYMENTS, deployment(0));
    assert!(!observer.witnessed());
}

#[test]
fn symptoms_suffice_where_no_health_is_declared() {
    let mut observer = symptom("any", "object.status.reason == 'x'");
    observer.arm();
    assert!(!observer.witnessed());
    observer.observe(at(1.0), 0, pod("a", "x"));
    assert!(observer.witnessed());
}

#[test]
fn health_suffices_where_no_symptom_is_declared() {
    let select = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    let mut observer = health(json!({"select": select, "all": "object.status.available == 2"}));
    observer.observe(at(0.0), 0, deployment(2));
    observer.observe(at(0.0), 0, Seen::Synced);
    observer.arm();
    assert!(!observer.witnessed());
    observer.observe(at(1.0), 0, deployment(1));
    assert!(observer.witnessed());
}

#[test]
fn nothing_wrong_is_witnessed_by_health_that_never_broke() {
    let select = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    let check = json!([{"name": "h", "select": select, "all": "object.status.available == 2", "for": "10s"}]);
    let mut observer = observer(&resolved(json!([]), check, json!({"fault_type": "none"})));
    observer.observe(at(0.0), 0, deployment(2));
    observer.observe(at(0.0), 0, Seen::Synced);
    assert!(!observer.witnessed(), "not armed");
    observer.arm();
    assert!(observer.witnessed());
    observer.observe(at(1.0), 0, deployment(1));
    observer.observe(at(2.0), 0, deployment(2));
    assert!(!observer.witnessed(), "something was wrong after all");
}

#[test]
fn nothing_declared_is_healthy_and_witnessed_by_nobody() {
    let resolved = resolved(json!([]), json!([]), Value::Null);
    let checks = Checks::compile(&resolved).expect("checks");
    assert!(!checks.declares_anything() && !checks.declares_health());
    let mut observer = observer(&resolved);
    observer.arm();
    assert!(observer.holds_now() && observer.healthy(at(0.0)) && observer.witnessed());
}

#[test]
fn a_select_that_does_not_exist_is_ignored() {
    let mut observer = armed();
    observer.observe(at(1.0), 99, deployment(0));
    assert!(observer.holds_now());
}
