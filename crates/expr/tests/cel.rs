//! Expressions as failures and presets use them, hostile ones, and nonsense.

use std::time::{Duration, Instant};

use expr::{Evaluation, Expression};
use proptest::prelude::*;
use serde_json::{Value, json};

const OOM: &str = "object.status.containerStatuses.exists(c, [c.state, c.lastState].exists(s, \
                   has(s.terminated) && s.terminated.reason == \"OOMKilled\"))";
const AVAILABLE: &str = "object.status.observedGeneration == object.metadata.generation && \
                         object.status.updatedReplicas == object.status.replicas && \
                         object.status.availableReplicas >= baseline.spec.replicas";

fn eval(source: &str, variables: &[(&str, &Value)]) -> Evaluation {
    Expression::compile(source).unwrap_or_else(|e| panic!("{source}: {e:?}")).evaluate(variables)
}

#[track_caller]
fn holds(source: &str, object: &Value) {
    assert_eq!(eval(source, &[("object", object)]), Evaluation::Holds, "{source} over {object}");
}

#[track_caller]
fn fails(source: &str, object: &Value) -> String {
    match eval(source, &[("object", object)]) {
        Evaluation::Holds => panic!("{source} holds over {object}"),
        Evaluation::DoesNotHold(reason) => reason.unwrap_or_default(),
    }
}

fn pod(state: Value, last: Value) -> Value {
    json!({"status": {"containerStatuses": [{"name": "app", "state": state, "lastState": last, "restartCount": 1}]}})
}

#[test]
fn the_examples_of_the_formats() {
    let killed = json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}});
    let running = json!({"running": {}});
    holds(OOM, &pod(killed.clone(), json!({})));
    holds(OOM, &pod(running.clone(), killed.clone()));
    assert_eq!(fails(OOM, &pod(running.clone(), json!({}))), "");
    assert!(fails(OOM, &json!({"status": {}})).contains("no `containerStatuses`"));
    // `lastState` may be left out by a server: a container that decides is enough.
    let mut bare = pod(killed, json!({}));
    bare["status"]["containerStatuses"][0].as_object_mut().expect("a map").remove("lastState");
    bare["status"]["containerStatuses"]
        .as_array_mut()
        .expect("a list")
        .push(pod(running, json!({}))["status"]["containerStatuses"][0].clone());
    let _ = eval(OOM, &[("object", &bare)]);
}

#[test]
fn generations_and_replicas_compare_as_numbers() {
    let object = json!({"metadata": {"generation": 3},
        "status": {"observedGeneration": 3, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}});
    let baseline = json!({"spec": {"replicas": 2}});
    let run = |object: &Value| eval(AVAILABLE, &[("object", object), ("baseline", &baseline)]);
    assert_eq!(run(&object), Evaluation::Holds);
    let mut less = object.clone();
    less["status"]["availableReplicas"] = json!(1);
    assert_eq!(run(&less), Evaluation::DoesNotHold(None));
    less["status"].as_object_mut().expect("a map").remove("availableReplicas");
    assert!(matches!(run(&less), Evaluation::DoesNotHold(Some(reason)) if reason.contains("availableReplicas")));
    assert!(matches!(eval(AVAILABLE, &[("object", &object)]), Evaluation::DoesNotHold(Some(_))), "no baseline");
}

#[test]
fn numbers_of_any_kind_compare() {
    let object = json!({"int": 3, "float": 3.0, "half": 2.5, "big": 18_446_744_073_709_551_615u64, "neg": -1});
    for source in [
        "object.int == object.float",
        "object.int > object.half",
        "object.half < 3",
        "object.big > object.int",
        "object.neg < object.big",
        "object.int + 1 == 4",
        "object.int - 4 == object.neg",
        "object.int >= 3.0",
        "object.int in [1, 2, 3]",
        "object.float in [1, 2, 3]",
    ] {
        holds(source, &object);
    }
}

#[test]
fn quantities_compare() {
    let object = json!({"limits": {"memory": "40Mi", "cpu": 2}});
    holds("quantity(\"1Gi\") > quantity(\"512Mi\")", &object);
    holds("quantity(object.limits.memory) == quantity(\"40960Ki\")", &object);
    holds("quantity(object.limits.cpu) >= 2 && quantity(\"500m\") < quantity(1)", &object);
    assert!(fails("quantity(\"much\") > quantity(\"1\")", &object).contains("`much` is not a quantity"));
}

#[test]
fn what_is_missing_does_not_hold_yet() {
    let object = json!({"metadata": {"labels": {"a.b/c": "x"}}});
    assert!(fails("object.status.phase == \"Running\"", &object).contains("no `status`"));
    holds("!has(object.status)", &object);
    holds("has(object.metadata.labels) && object.metadata.labels[\"a.b/c\"] == \"x\"", &object);
    holds("has(object.status) || true", &object);
    assert!(fails("[1][3] == 1", &object).contains("no item 3"));
    assert!(fails("object.metadata", &object).contains("not true or false but a map"));
    assert!(fails("params.x", &object).contains("unknown name `params`"));
    assert!(fails("1 / 0 == 1", &object).len() > 3);
    assert!(fails("object.metadata == 1 || \"a\" > 1", &object).contains("overload"));
}

#[test]
fn values_for_presets() {
    let last = json!({"is_error": true, "subtype": "error_during_execution", "n": 1.5});
    let value = |source: &str| Expression::compile(source).expect("compiles").value(&[("final", &last)]);
    assert_eq!(value("final.is_error && final.subtype == \"error_during_execution\""), Ok(json!(true)));
    assert_eq!(value("[final.n, 2]"), Ok(json!([1.5, 2])));
    assert!(value("final.nothing").expect_err("an error").message.contains("nothing"));
}

#[test]
fn errors_have_a_place() {
    let at = |source: &str| {
        let error = Expression::compile_with(source, &["object", "params"]).expect_err(source);
        (source[error.range.clone()].to_owned(), error.message, error.help.unwrap_or_default())
    };
    let (text, message, help) = at("object.a = 1");
    assert_eq!((text.as_str(), help.as_str()), ("=", "to compare, write `==`"), "{message}");
    let (text, message, _) = at("object.a == 1 && objekt.b == 2");
    assert_eq!((text.as_str(), message.as_str()), ("objekt", "unknown variable `objekt`"));
    let (_, message, help) = at("object.items.length() > 1");
    assert!(message.contains("unknown function `length`") && help.contains("size"), "{message} {help}");
    let (_, message, help) = at("object.items.exists(x == 1)");
    assert!(message.contains("exists") && help.contains("list.exists(x"), "{message} {help}");
    let (_, message, _) = at("(object.a");
    assert!(message.contains("ends too early"), "{message}");
    let (_, message, _) = at("   ");
    assert!(message.contains("empty"), "{message}");
    let (_, message, _) = at("Pod{name: \"x\"}");
    assert!(message.contains("not available"), "{message}");
    let (text, _, _) = at("\"ää\" == object.a && x");
    assert_eq!(text, "x", "places count bytes");
    let (text, message, _) = at("object.a ==\n  1 && )");
    assert_eq!(text, ")", "{message}");
    assert!(Expression::compile_with("[1].all(x, x > 0) && int(\"1\") == 1 && type(1) == int", &[]).is_ok());
}

#[test]
fn hostile_expressions_end_soon() {
    let list: Vec<u32> = (0..1000).collect();
    let object = json!({"l": list, "s": "x".repeat(100_000)});
    let nested = "object.l.all(a, object.l.all(b, object.l.all(c, object.l.all(d, a + b + c + d >= 0))))";
    let doubling = "object.l.map(a, object.s + object.s + object.s).size() > 0";
    let compare = "object.l.all(a, object.l.all(b, object == object))";
    let maps = "object.l.map(a, object.l).map(b, b.map(c, object.l)).size() > 0";
    for source in [nested, doubling, compare, maps] {
        let started = Instant::now();
        assert!(fails(source, &object).contains("cost limit"), "{source}");
        assert!(started.elapsed() < Duration::from_secs(5), "{source} took {:?}", started.elapsed());
    }
    holds("object.l.all(a, object.l.exists(b, b == 0))", &json!({"l": [0, 1, 2]}));
    holds("object.l.map(x, x + 1).filter(y, y > 1).size() == 2", &json!({"l": [0, 1, 2]}));
}

#[test]
fn monstrous_texts_are_refused() {
    let deep = format!("{}1{}", "(".repeat(3000), ")".repeat(3000));
    let bangs = format!("{}true", "!".repeat(7000));
    let chain = format!("1{} > 0", "+1".repeat(3000));
    let minus = format!("{}1 > 0", "-".repeat(7001));
    let wide = format!("[{}].size() > 0", "1,".repeat(3000));
    let selects = format!("a{}", ".b".repeat(4000));
    let index = format!("a{}", "[0]".repeat(2500));
    let ternary = format!("{}true", "true ? true : ".repeat(500));
    let long = "x".repeat(9000);
    for source in [deep, bangs, chain, minus, wide, selects, index, ternary, long] {
        if let Ok(expression) = Expression::compile(&source) {
            let _ = expression.evaluate(&[]);
        }
    }
    assert!(Expression::compile(&format!("a{}", ".b".repeat(4000))).is_err());
}

#[test]
fn expressions_can_be_shared() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Expression>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_it_panic(source in "(object|params|\\.|\\(|\\)|\\[|\\]|\\{|\\}|==|&&|\\|\\||!|\\?|:|1|\"|'|has|size|exists|map|,| |x|-|\\+|u|e|\\\\|ä|`){0,25}") {
        let object = json!({"a": [1, {"b": null}], "x": "y"});
        if let Ok(expression) = Expression::compile(&source) {
            let _ = expression.evaluate(&[("object", &object), ("params", &object), ("x", &object)]);
            let _ = expression.value(&[("object", &object)]);
        }
    }

    #[test]
    fn ranges_are_inside(source in "\\PC{0,20}") {
        if let Err(error) = Expression::compile_with(&source, &["object"]) {
            prop_assert!(source.get(error.range.clone()).is_some(), "{:?} of {:?}", error.range, source);
        }
    }
}

/// An expression is shown only the fields that it names; that must not change what it says.
#[test]
fn what_is_not_looked_at_makes_no_difference() {
    let object = json!({
        "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web", "tier": "front"}},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "app", "env": [{"name": "A"}]}]}}},
        "status": {"replicas": 2, "conditions": [{"type": "Available", "status": "True"}], "note": null},
    });
    let sources = [
        "object.spec.replicas == object.status.replicas",
        "has(object.status.conditions) && !has(object.status.missing) && !has(object.spec.template.metadata)",
        "object.status.conditions.exists(c, c.type == \"Available\" && c.status == \"True\")",
        "object.spec.template.spec == object.spec.template.spec",
        "size(object.metadata.labels) == 2",
        "size(object) == 4",
        "object.metadata.labels.all(key, object.metadata.labels[key] != \"\")",
        "object[\"spec\"].replicas == 2 && object.spec.template.spec.containers[0].env[0].name == \"A\"",
        "object.metadata == {\"name\": \"web\", \"labels\": object.metadata.labels}",
        "[1].exists(object, object == 1)",
        "object.status.note == null",
        "object.status.missing.deeper == 1",
        "object.kind.deeper == 1",
        "object.metadata.labels.size() == 2 ? object.spec.replicas == 2 : object.status.replicas == 3",
    ];
    for source in sources {
        // An item of a list is shown whole.
        let whole = source.replace("object", "[object][0]").replace("exists([object][0]", "exists(object");
        let (narrow, whole) = (eval(source, &[("object", &object)]), eval(&whole, &[("object", &object)]));
        assert_eq!(whole.holds(), !source.contains("deeper"), "{source}: {whole:?}");
        assert_eq!(narrow.holds(), whole.holds(), "{source}: {narrow:?}, of the whole object {whole:?}");
    }
}
