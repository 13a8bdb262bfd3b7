//! Whatever a component does, the call ends, and says which limit ended it.

use std::time::{Duration, Instant};

use plugin::{DeadlineKind, PluginError};
use serde_json::json;

use crate::cluster::{Record, call, client, misbehave};
use crate::guests::{hostile, load, load_roomy, tight};

async fn induce(how: &str) -> (PluginError, Record) {
    let (call, record) = misbehave(how);
    let error = load(hostile()).induce(call).await.expect_err("it misbehaves");
    (error, record)
}

#[tokio::test]
async fn an_endless_loop_ends_by_cpu_time() {
    let begun = Instant::now();
    let (error, _) = induce("loop").await;
    assert_eq!(error, PluginError::Deadline { kind: DeadlineKind::Cpu, limit: tight().cpu });
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    assert!(!error.is_host_fault());
}

#[tokio::test]
async fn time_in_host_calls_is_not_the_components_time() {
    let record = Record::default();
    let slow = client(&record, Duration::from_millis(900), |_| (200, "{}".to_owned()));
    let answer = load(hostile()).induce(call(slow, &record, json!({"how": "get"}))).await;
    assert!(answer.is_ok(), "the request took three times the CPU limit, and the component none of it: {answer:?}");
}

#[tokio::test]
async fn a_memory_bomb_is_told_the_limit() {
    let (error, _) = induce("memory").await;
    assert_eq!(error, PluginError::Limit { name: "memory bytes", limit: tight().memory_bytes });
}

#[tokio::test]
async fn a_flood_of_host_calls_ends() {
    let (error, _) = induce("calls").await;
    assert_eq!(error, PluginError::Limit { name: "host calls", limit: tight().host_calls });
}

#[tokio::test]
async fn a_flood_of_changes_ends_before_the_cluster_sees_it() {
    let (error, record) = induce("mutations").await;
    assert_eq!(error, PluginError::Limit { name: "mutations", limit: tight().mutations });
    assert_eq!(record.requests().len() as u64, tight().mutations);
}

#[tokio::test]
async fn a_flood_of_log_lines_ends() {
    let (error, record) = induce("log").await;
    assert_eq!(error, PluginError::Limit { name: "log bytes", limit: tight().log_bytes });
    let written: usize = record.log().iter().map(String::len).sum();
    assert!(written as u64 <= tight().log_bytes);
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let record = Record::default();
    let client = client(&record, Duration::ZERO, |_| (200, format!("{{\"a\":\"{}\"}}", "x".repeat(100_000))));
    let error = load(hostile()).induce(call(client, &record, json!({"how": "get"}))).await.expect_err("too large");
    assert_eq!(error, PluginError::Limit { name: "bytes of one response", limit: tight().response_bytes });
}

#[tokio::test]
async fn large_texts_are_not_kept() {
    let (plugin, limits) = (load_roomy(hostile()), plugin::Limits::default());
    for (how, name, limit) in [
        ("large-log", "log bytes", limits.log_bytes),
        ("large-state", "bytes of saved state", limits.state_bytes),
        ("large-checkpoint", "bytes of saved state", limits.state_bytes),
        ("large-patch", "bytes of one request", limits.request_bytes),
    ] {
        let (call, record) = misbehave(how);
        let error = plugin.induce(call).await.expect_err("it is too large");
        assert_eq!(error, PluginError::Limit { name, limit }, "{how}");
        assert!(record.requests().is_empty() && record.saved().is_empty(), "{how}");
    }
    let (call, record) = misbehave("large-selection");
    let error = plugin.induce(call).await.expect_err("its texts together are too large").to_string();
    assert!(error.contains("too much data"), "{error}");
    assert!(record.requests().is_empty());
    let (call, _) = misbehave("large-error");
    let error = plugin.induce(call).await.expect_err("it gives up");
    assert!(error.to_string().len() < 5000, "a component's own words are cut");
}

/// It cannot even make them: what a component holds is limited far below.
#[tokio::test]
async fn texts_of_a_gigabyte_end_by_memory() {
    let (plugin, limit) = (load_roomy(hostile()), plugin::Limits::default().memory_bytes);
    for how in ["huge-string", "huge-state", "huge-checkpoint", "huge-patch", "huge-error"] {
        let (call, record) = misbehave(how);
        let error = plugin.induce(call).await.expect_err("it is too large");
        assert_eq!(error, PluginError::Limit { name: "memory bytes", limit }, "{how}");
        assert!(record.requests().is_empty() && record.saved().is_empty() && record.log().is_empty(), "{how}");
    }
}

#[tokio::test]
async fn endless_recursion_ends_in_a_trap() {
    let (error, _) = induce("recursion").await;
    assert!(matches!(&error, PluginError::Trap { .. }), "{error:?}");
}

#[tokio::test]
async fn a_trap_says_so_and_the_log_says_why() {
    let (error, record) = induce("trap").await;
    assert!(matches!(&error, PluginError::Trap { .. }), "{error:?}");
    assert!(record.log().iter().any(|line| line.contains("on purpose")), "{:?}", record.log());
}

#[tokio::test]
async fn what_was_saved_outlives_a_trap() {
    let (error, record) = induce("checkpoint-then-trap").await;
    assert!(matches!(&error, PluginError::Trap { .. }), "{error:?}");
    assert_eq!(record.saved(), [r#"{"saved":true}"#]);
}

#[tokio::test]
async fn the_wall_clock_cuts_off_what_sleeps() {
    let (mut call, _) = misbehave("sleep");
    call.deadline = Duration::from_millis(200);
    let error = load(hostile()).induce(call).await.expect_err("it sleeps for an hour");
    assert_eq!(error, PluginError::Deadline { kind: DeadlineKind::Wall, limit: Duration::from_millis(200) });
}

#[tokio::test]
async fn a_change_on_its_way_is_waited_for() {
    let record = Record::default();
    let slow = client(&record, Duration::from_millis(600), |_| (200, "{}".to_owned()));
    let mut call = call(slow, &record, json!({"how": "patch"}));
    call.deadline = Duration::from_millis(100);
    let error = load(hostile()).induce(call).await.expect_err("it is cut off");
    assert!(matches!(error, PluginError::Deadline { kind: DeadlineKind::Wall, .. }), "{error:?}");
    assert_eq!(record.requests().len(), 1, "the change was answered before the call returned");
}

#[tokio::test]
async fn a_change_is_carried_out_also_when_the_call_is_dropped() {
    let record = Record::default();
    let slow = client(&record, Duration::from_millis(300), |_| (200, "{}".to_owned()));
    let plugin = load(hostile());
    let running = plugin.induce(call(slow, &record, json!({"how": "patch"})));
    let dropped = tokio::time::timeout(Duration::from_millis(100), running).await;
    assert!(dropped.is_err(), "the call was dropped before the cluster had answered");
    let answered = async {
        while record.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answered).await.expect("the change is carried out");
}
