//! What reaches the API server, and what its answers are for the component.

use std::time::Duration;

use plugin::{ErrorCase, Induced, PluginError, ScriptError, ScriptOutput, ScriptRunner};
use serde_json::{Value, json};

use crate::cluster::{Record, call, client, misbehave, status};
use crate::guests::{hostile, load, shim, steps};

async fn refused(how: &str, answer: (u16, String)) -> PluginError {
    let record = Record::default();
    let client = client(&record, Duration::ZERO, move |_| answer.clone());
    load(hostile()).induce(call(client, &record, json!({"how": how}))).await.expect_err("the cluster refuses")
}

#[tokio::test]
async fn a_denial_of_the_gate_is_told_from_a_refusal_of_the_cluster() {
    let denied = refused("get", status(403, "Forbidden", "add these lines", Some("GateDenied"))).await;
    assert_eq!(denied, PluginError::Denied { text: "add these lines".to_owned() });
    let forbidden = refused("get", status(403, "Forbidden", "no", None)).await;
    assert_eq!(forbidden, PluginError::Failed { case: ErrorCase::Forbidden, message: "no".to_owned() });
}

#[tokio::test]
async fn each_status_has_its_case() {
    for (code, case) in [
        (404, ErrorCase::NotFound),
        (409, ErrorCase::Conflict),
        (422, ErrorCase::Invalid),
        (400, ErrorCase::Invalid),
        (500, ErrorCase::Other),
    ] {
        let error = refused("patch", status(code, "Reason", "message", None)).await;
        assert_eq!(error, PluginError::Failed { case, message: "message".to_owned() }, "{code}");
    }
}

#[tokio::test]
async fn only_what_the_host_saw_is_the_clusters_fault() {
    for code in [429, 503] {
        let error = refused("patch", status(code, "Reason", "message", None)).await;
        assert_eq!(error, PluginError::Unavailable { message: "message".to_owned() }, "{code}");
    }
    assert!(refused("get", (503, "no JSON".to_owned())).await.is_host_fault());
    for (how, case) in [("says-unavailable", ErrorCase::Unavailable), ("says-cancelled", ErrorCase::Cancelled)] {
        let (call, _) = misbehave(how);
        let error = load(hostile()).induce(call).await.expect_err("it says so");
        assert!(matches!(&error, PluginError::Failed { case: said, .. } if *said == case), "{how}: {error:?}");
        assert!(!error.is_host_fault(), "{how}");
    }
    let (mut call, _) = misbehave("checkpoint-then-trap");
    call.checkpoint = std::sync::Arc::new(|_| Box::pin(std::future::ready(Err("the disk is full".to_owned()))));
    let error = load(hostile()).induce(call).await.expect_err("its state was not kept");
    assert_eq!(error, PluginError::Unavailable { message: "the disk is full".to_owned() });
}

#[tokio::test]
async fn state_and_time_come_back_and_stop_is_a_new_instance() {
    let plugin = load(hostile());
    let (given, _) = misbehave("state");
    let induced = plugin.induce(given.clone()).await.expect("it does nothing wrong");
    let expected = Induced { state: Some(r#"{"n":7}"#.to_owned()), agent_time: Some(Duration::from_secs(9)) };
    assert_eq!(induced, expected);
    plugin.stop(given.clone(), induced.state).await.expect("the state is its own, the memory is not");
    plugin.stop(given, None).await.expect("no state is no error");
}

#[tokio::test]
async fn a_seed_gives_the_same_numbers() {
    let plugin = load(hostile());
    let (given, _) = misbehave("random");
    let mut other = given.clone();
    other.seed = 43;
    let first = plugin.induce(given.clone()).await.expect("a number");
    assert_eq!(first, plugin.induce(given).await.expect("a number"));
    assert_ne!(first, plugin.induce(other).await.expect("a number"));
    // SplitMix64 with seed 42, from its reference implementation.
    assert_eq!(first.state.as_deref(), Some(r#"["13679457532755275413"]"#));
}

#[tokio::test]
async fn a_wait_ends_when_the_watch_shows_it() {
    let record = Record::default();
    let client = client(&record, Duration::ZERO, |seen| {
        let object =
            |value: &str| json!({"metadata": {"name": "victim", "resourceVersion": "6"}, "data": {"a": value}});
        let text = if seen.uri.contains("watch=true") {
            let event = |value: &str| json!({"type": "MODIFIED", "object": object(value)}).to_string();
            format!("{}\n{}\n", event("x"), event("b"))
        } else {
            json!({"metadata": {"resourceVersion": "5"}, "items": [object("a")]}).to_string()
        };
        (200, text)
    });
    load(hostile()).induce(call(client, &record, json!({"how": "wait"}))).await.expect("it came to hold");
    let uris: Vec<String> = record.requests().into_iter().map(|seen| seen.uri).collect();
    assert_eq!(uris.len(), 2, "{uris:?}");
    assert_eq!(uris[0], "/api/v1/namespaces/c-1/configmaps?fieldSelector=metadata.name%3Dvictim");
    assert!(uris[1].contains("resourceVersion=5"), "{uris:?}");
}

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/c-1/deployments/checkout";

fn steps_call(record: &Record, induce: Value, live: Value) -> plugin::Call {
    let client = client(record, Duration::ZERO, move |seen| match seen.method.as_str() {
        "GET" if live.is_null() => status(404, "NotFound", "not found", None),
        "GET" => (200, live.to_string()),
        _ => (200, "{}".to_owned()),
    });
    let mut given = call(client, record, json!({}));
    given.metadata = json!({"induce": induce});
    given
}

#[tokio::test]
async fn a_patch_step_saves_first_and_is_taken_back() {
    let record = Record::default();
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"});
    let patch = json!([{"patch": target, "with": {"spec": {"replicas": 0}}}]);
    let before = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "checkout", "namespace": "c-1", "resourceVersion": "7", "uid": "u", "managedFields": []},
        "spec": {"replicas": 2}, "status": {"replicas": 2},
    });
    let plugin = load(steps());
    plugin.induce(steps_call(&record, patch.clone(), before.clone())).await.expect("it patches");
    let requests = record.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_eq!((requests[0].method.as_str(), requests[0].uri.as_str()), ("GET", DEPLOYMENT));
    assert_eq!(requests[1].method, "PATCH");
    assert!(requests[1].uri.starts_with(DEPLOYMENT), "{requests:?}");
    assert_eq!(requests[1].content_type, "application/strategic-merge-patch+json");
    assert_eq!(requests[1].body, r#"{"spec":{"replicas":0}}"#);
    let saved = record.saved().pop().expect("saved before the change");
    assert!(!saved.contains("resourceVersion") && !saved.contains("status"), "{saved}");

    let mut broken = before.clone();
    broken["spec"] = json!({"replicas": 0});
    let after = Record::default();
    plugin.stop(steps_call(&after, patch.clone(), broken), Some(saved.clone())).await.expect("it puts it back");
    let last = after.requests().pop().expect("a request");
    assert_eq!(last.content_type, "application/json-patch+json");
    let operations: Value = serde_json::from_str(&last.body).expect("JSON");
    assert_eq!(operations, json!([{"op": "add", "path": "/spec", "value": {"replicas": 2}}]));

    let again = Record::default();
    plugin.stop(steps_call(&again, patch.clone(), before), Some(saved.clone())).await.expect("nothing to do");
    assert!(again.requests().iter().all(|seen| seen.method == "GET"), "what is as it was is not written");
    let gone = Record::default();
    plugin.stop(steps_call(&gone, patch, Value::Null), Some(saved)).await.expect("an object that is gone is no error");
}

#[tokio::test]
async fn a_created_object_is_deleted_and_a_deleted_one_created() {
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"a": "b"}});
    let old = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "old"});
    let live = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old", "uid": "u"}, "data": {}});
    let induce = json!([{"create": config}, {"delete": old}]);
    let record = Record::default();
    let plugin = load(steps());
    plugin.induce(steps_call(&record, induce.clone(), live.clone())).await.expect("two steps");
    let methods: Vec<String> = record.requests().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["POST", "GET", "DELETE"]);
    let after = Record::default();
    plugin.stop(steps_call(&after, induce, live), record.saved().pop()).await.expect("both are taken back");
    let undone: Vec<(String, String)> = after.requests().into_iter().map(|seen| (seen.method, seen.uri)).collect();
    assert_eq!(undone[0].0, "POST", "the last step first: {undone:?}");
    assert_eq!(undone[1], ("DELETE".to_owned(), "/api/v1/namespaces/c-1/configmaps/new".to_owned()));
}

#[tokio::test]
async fn no_steps_change_nothing() {
    let record = Record::default();
    load(steps()).induce(steps_call(&record, json!([]), Value::Null)).await.expect("nothing is done");
    assert!(record.requests().is_empty());
}

struct Script(ScriptOutput);

impl ScriptRunner for Script {
    fn run(&self, args: Vec<String>) -> futures::future::BoxFuture<'static, Result<ScriptOutput, ScriptError>> {
        let mut output = self.0.clone();
        output.stdout = format!("argument {}\n{}", args.join(","), output.stdout);
        Box::pin(async move { Ok(output) })
    }
}

fn script_call(output: Option<ScriptOutput>) -> plugin::Call {
    let (mut given, _) = misbehave("none");
    given.script = output.map(|output| std::sync::Arc::new(Script(output)) as std::sync::Arc<dyn ScriptRunner>);
    given
}

#[tokio::test]
async fn a_script_says_how_long_the_agent_may_take() {
    let output = ScriptOutput { code: 0, stdout: "working\nTIMEOUT=300\n".to_owned(), stderr: String::new() };
    let induced = load(shim()).induce(script_call(Some(output))).await.expect("the script ran");
    assert_eq!(induced.agent_time, Some(Duration::from_secs(300)));
}

#[tokio::test]
async fn a_script_that_fails_fails_the_failure() {
    let output = ScriptOutput { code: 3, stdout: String::new(), stderr: "no such deployment\n".to_owned() };
    let error = load(shim()).stop(script_call(Some(output)), None).await.expect_err("code 3");
    let text = error.to_string();
    assert!(text.contains("code 3") && text.contains("no such deployment") && text.contains("stop"), "{text}");
}

#[tokio::test]
async fn without_a_script_the_import_is_denied() {
    let error = load(shim()).induce(script_call(None)).await.expect_err("there is none");
    assert!(matches!(error, PluginError::Denied { .. }), "{error:?}");
}
