//! Custom resources beyond what was recorded: schemas and their defects, rules, defaults, merging, columns, scale, names.

use std::time::Duration;

use clock::run_until;
use serde_json::{Value, json};

use crate::client::{call, create, get, namespace, send, still, text};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GADGETS: &str = "/apis/test.example.com/v1/namespaces/a/gadgets";

/// A definition of gadgets whose specification has this schema.
fn definition(spec: Value) -> Value {
    json!({
        "metadata": {"name": "gadgets.test.example.com"},
        "spec": {
            "group": "test.example.com", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": spec, "status": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}],
        },
    })
}

async fn with(spec: Value) -> embedded::Cluster {
    let cluster = still();
    namespace(&cluster, "a").await;
    create(&cluster, DEFINITIONS, definition(spec)).await;
    cluster
}

fn gadget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "test.example.com/v1", "kind": "Gadget", "metadata": {"name": name}, "spec": spec})
}

/// The causes of a refusal, as `field: message`.
async fn refused(cluster: &embedded::Cluster, method: &str, path: &str, body: Value) -> Vec<String> {
    let (code, status) = call(cluster, method, path, body).await;
    assert_eq!(code, 422, "{status}");
    let causes = status["details"]["causes"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    causes.iter().map(|cause| format!("{}: {}", text(&cause["field"]), text(&cause["message"]))).collect()
}

#[tokio::test]
async fn values_must_be_what_their_schema_says() {
    let cluster = with(json!({"type": "object", "required": ["must"], "properties": {
        "must": {"type": "boolean"},
        "name": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2},
        "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": true, "multipleOf": 0.5},
        "port": {"x-kubernetes-int-or-string": true},
        "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer"}},
        "map": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string", "maxLength": 1}},
        "at": {"type": "string", "format": "date-time"},
        "maybe": {"type": "string", "nullable": true},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                  "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}},
        "either": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                   "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
    }}))
    .await;
    let good = json!({"must": true, "name": "ab", "ratio": 1.5, "port": "http", "list": [1], "map": {"k": "v"},
        "at": "2026-11-27T00:00:00Z", "maybe": null, "set": ["a", "b"], "parts": [{"id": 1}, {"id": 2}],
        "either": {"a": "x"}});
    let made = create(&cluster, GADGETS, gadget("good", good.clone())).await;
    assert_eq!(made["spec"], good);
    let cases = [
        ("name", json!("A1"), "spec.name: Invalid value: \"A1\": spec.name in body should match '^[a-z]+$'"),
        ("name", json!("a"), "spec.name: Invalid value: \"a\": spec.name in body should be at least 2 chars long"),
        ("ratio", json!(0), "spec.ratio: Invalid value: 0: spec.ratio in body should be greater than 0"),
        ("ratio", json!(0.7), "spec.ratio: Invalid value: 0.7: spec.ratio in body should be a multiple of 0.5"),
        (
            "port",
            json!(true),
            "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
        ),
        ("list", json!([]), "spec.list: Invalid value: 0: spec.list in body should have at least 1 items"),
        ("list", json!([1, 2, 3]), "spec.list: Too many: 3: must have at most 2 items"),
        (
            "list",
            json!(["x"]),
            "spec.list[0]: Invalid value: \"string\": spec.list[0] in body must be of type integer: \"string\"",
        ),
        ("map", json!({"k": "vv"}), "spec.map.k: Too long: may not be more than 1 bytes"),
        ("at", json!("noon"), "spec.at: Invalid value: \"noon\": spec.at in body must be of type date-time: \"noon\""),
        ("set", json!(["a", "a"]), "spec.set[1]: Duplicate value: \"a\""),
        ("parts", json!([{"id": 1}, {"id": 1}]), "spec.parts[1]: Duplicate value: {\"id\":1}"),
        ("must", Value::Null, "spec.must: Required value"),
        (
            "either",
            json!({}),
            "<nil>: Invalid value: \"\": \"spec.either\" must validate one and only one schema (oneOf). Found none valid",
        ),
    ];
    for (key, value, expected) in cases {
        let mut spec = good.clone();
        spec[key] = value;
        let causes = refused(&cluster, "POST", GADGETS, gadget("bad", spec)).await;
        assert!(causes.contains(&expected.to_owned()), "{expected}\n{causes:?}");
    }
}

#[tokio::test]
async fn defaults_and_unknown_members_follow_the_schema() {
    let cluster = with(json!({"type": "object", "default": {"size": 1}, "properties": {
        "size": {"type": "integer"},
        "mode": {"type": "string", "default": "plain"},
        "inner": {"type": "object", "properties": {"deep": {"type": "string", "default": "d"}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
    }}))
    .await;
    let made = create(&cluster, GADGETS, json!({"metadata": {"name": "bare"}})).await;
    assert_eq!(made["spec"], json!({"size": 1, "mode": "plain"}));
    let spec =
        json!({"mode": null, "inner": {}, "free": {"any": {"thing": 1}}, "list": [{}, {"p": "UDP", "q": 1}], "x": 1});
    let made = create(&cluster, GADGETS, gadget("full", spec.clone())).await;
    let expected = json!({"mode": "plain", "inner": {"deep": "d"}, "free": {"any": {"thing": 1}},
                          "list": [{"p": "TCP"}, {"p": "UDP"}]});
    assert_eq!(made["spec"], expected);
    let strict = format!("{GADGETS}?fieldValidation=Strict");
    let (code, status) = call(&cluster, "POST", &strict, gadget("strict", spec)).await;
    let message = "Gadget in version \"v1\" cannot be handled as a Gadget: strict decoding error: unknown field \"spec.list[1].q\", unknown field \"spec.x\"";
    assert_eq!((code, &status["message"]), (400, &json!(message)));
    let ignore = format!("{GADGETS}?fieldValidation=Ignore");
    let body = gadget("ignored", json!({"x": 1})).to_string();
    let answer = send(&cluster, "POST", &ignore, &[("content-type", "application/json")], &body).await;
    assert!(answer.status() == 201 && answer.headers().get("warning").is_none());
}

#[tokio::test]
async fn rules_are_asked_of_what_is_written() {
    let cluster = with(json!({"type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.min <= self.max", "messageExpression": "'min ' + string(self.min) + ' is above ' + string(self.max)", "fieldPath": ".min"},
            {"rule": "!has(self.gone) || self.gone.x == 1"},
        ],
        "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed is fixed", "reason": "FieldValueForbidden"}]},
            "gone": {"type": "object", "properties": {"x": {"type": "integer"}}},
            "namespace": {"type": "string"},
            "list": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]}},
        }}))
    .await;
    let good = json!({"min": 1, "max": 2, "fixed": "f", "list": ["ab"]});
    create(&cluster, GADGETS, gadget("g", good.clone())).await;
    let with = |key: &str, value: Value| {
        let mut spec = good.clone();
        spec[key] = value;
        gadget("h", spec)
    };
    for (key, value, expected) in [
        ("min", json!(3), "spec.min: Invalid value: min 3 is above 2"),
        ("list", json!(["b"]), "spec.list[0]: Invalid value: failed rule: self.startsWith('a')"),
        ("gone", json!({}), "spec: Invalid value: no such key: x evaluating rule: !has(self.gone) || self.gone.x == 1"),
    ] {
        assert_eq!(refused(&cluster, "POST", GADGETS, with(key, value)).await, [expected]);
    }
    let path = format!("{GADGETS}/g");
    let causes = refused(&cluster, "PATCH", &path, json!({"spec": {"fixed": "other"}})).await;
    assert_eq!(causes, ["spec.fixed: Forbidden: fixed is fixed"]);
    assert_eq!(call(&cluster, "PATCH", &path, json!({"spec": {"max": 5}})).await.0, 200);
}

#[tokio::test]
async fn what_was_wrong_before_may_stay() {
    let cluster =
        with(json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}})).await;
    create(&cluster, GADGETS, gadget("g", json!({"a": "long", "b": "x"}))).await;
    let path = format!("{DEFINITIONS}/gadgets.test.example.com");
    let narrow = json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 2}, "b": {"type": "string", "maxLength": 2}}});
    let versions = definition(narrow)["spec"]["versions"].clone();
    assert_eq!(call(&cluster, "PATCH", &path, json!({"spec": {"versions": versions}})).await.0, 200);
    let object = format!("{GADGETS}/g");
    assert_eq!(call(&cluster, "PATCH", &object, json!({"spec": {"b": "y"}})).await.0, 200);
    let causes = refused(&cluster, "PATCH", &object, json!({"spec": {"b": "long"}})).await;
    assert_eq!(causes, ["spec.b: Too long: may not be more than 2 bytes"]);
}

#[tokio::test]
async fn applies_merge_lists_by_their_keys_and_find_conflicts() {
    let cluster = with(json!({"type": "object", "properties": {
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "whole": {"type": "array", "items": {"type": "string"}},
    }}))
    .await;
    let apply = async |manager: &str, spec: Value| {
        let path = format!("{GADGETS}/g?fieldManager={manager}");
        let headers = [("content-type", "application/apply-patch+yaml")];
        let (code, text) = text(send(&cluster, "PATCH", &path, &headers, &gadget("g", spec).to_string()).await).await;
        (code, serde_json::from_str::<Value>(&text).unwrap())
    };
    let (code, _) = apply("one", json!({"ports": [{"name": "a", "port": 1}], "tags": ["x"], "whole": ["1"]})).await;
    assert_eq!(code, 201);
    let (code, merged) = apply("two", json!({"ports": [{"name": "b", "port": 2}], "tags": ["y"]})).await;
    assert_eq!(code, 200, "{merged}");
    let expected =
        json!({"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}], "tags": ["x", "y"], "whole": ["1"]});
    assert_eq!(merged["spec"], expected);
    let (code, status) = apply("two", json!({"ports": [{"name": "a", "port": 9}], "whole": ["2"]})).await;
    let message =
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.ports[name=\"a\"].port\n- .spec.whole";
    assert_eq!((code, &status["message"]), (409, &json!(message)));
    let (_, without) = apply("one", json!({"tags": ["x"]})).await;
    assert_eq!(without["spec"], json!({"ports": [{"name": "b", "port": 2}], "tags": ["x", "y"]}));
    let (code, status) = apply("two", json!({"color": "red"})).await;
    assert!(code == 500 && status["message"].as_str().unwrap().ends_with(".spec.color: field not declared in schema"));
}

#[tokio::test]
async fn columns_and_scale_stand_where_the_definition_says() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let mut made =
        definition(json!({"type": "object", "properties": {"count": {"type": "integer"}, "on": {"type": "boolean"}}}));
    made["spec"]["versions"][0]["subresources"] = json!({"status": {}, "scale": {
        "specReplicasPath": ".spec.count", "statusReplicasPath": ".status.count", "labelSelectorPath": ".status.selector"}});
    made["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        {"name": "Count", "type": "integer", "jsonPath": ".spec.count"},
        {"name": "On", "type": "boolean", "jsonPath": ".spec.on", "priority": 1},
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
        {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]);
    create(&cluster, DEFINITIONS, made).await;
    create(&cluster, GADGETS, gadget("g", json!({"count": 2}))).await;
    let status =
        json!({"status": {"count": 1, "selector": "app=g", "conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(call(&cluster, "PATCH", &format!("{GADGETS}/g/status"), status).await.0, 200);
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let (_, table) = text(send(&cluster, "GET", GADGETS, &accept, "").await).await;
    let table: Value = serde_json::from_str(&table).unwrap();
    assert_eq!(table["rows"][0]["cells"], json!(["g", 2, null, "True", "0s"]));
    assert_eq!(table["columnDefinitions"][2]["priority"], 1);
    let scale = format!("{GADGETS}/g/scale");
    let (_, shown) = get(&cluster, &scale).await;
    assert_eq!(
        (&shown["spec"], &shown["status"]),
        (&json!({"replicas": 2}), &json!({"replicas": 1, "selector": "app=g"}))
    );
    assert_eq!(call(&cluster, "PATCH", &scale, json!({"spec": {"replicas": 7}})).await.0, 200);
    let (_, object) = get(&cluster, &format!("{GADGETS}/g")).await;
    assert_eq!((&object["spec"]["count"], &object["metadata"]["generation"]), (&json!(7), &json!(2)));
}

#[tokio::test]
async fn schemas_that_are_none_are_refused() {
    let cluster = still();
    let place = "spec.validation.openAPIV3Schema.properties[spec]";
    let cases = [
        (
            json!({"properties": {}}),
            format!("{place}.type: Required value: must not be empty for specified object fields"),
        ),
        (json!({"type": "array"}), format!("{place}.items: Required value: must be specified")),
        (
            json!({"type": "text"}),
            format!(
                "{place}.type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\""
            ),
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            format!(
                "{place}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"
            ),
        ),
        (
            json!({"type": "integer", "default": "x"}),
            format!("{place}.default: Invalid value: \"string\":  in body must be of type integer: \"string\""),
        ),
        (
            json!({"type": "object", "anyOf": [{"type": "object"}]}),
            format!("{place}.anyOf[0].type: Forbidden: must be empty to be structural"),
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"a": {"minLength": 1}}}]}),
            format!("{place}.properties[a]: Required value: because it is defined in {place}.anyOf[0].properties[a]"),
        ),
        (
            json!({"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}),
            format!(
                "{place}.items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            ),
        ),
        (
            json!({"type": "string", "pattern": "("}),
            format!("{place}.pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: "),
        ),
        (
            json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.a ==="}]}),
            format!("{place}.x-kubernetes-validations[0].rule: Invalid value: \"self.a ===\": compilation failed: "),
        ),
        (
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false}),
            format!("{place}.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"),
        ),
    ];
    for (spec, expected) in cases {
        let causes = refused(&cluster, "POST", DEFINITIONS, definition(spec)).await;
        assert!(causes.iter().any(|cause| cause.starts_with(&expected)), "{expected}\n{causes:#?}");
    }
    let change = |path: &str, value: Value| {
        let mut changed = definition(json!({"type": "object"}));
        *changed.pointer_mut(path).unwrap() = value;
        changed
    };
    for (path, value, expected) in [
        (
            "/spec/group",
            json!("single"),
            "spec.group: Invalid value: \"single\": should be a domain with at least one dot",
        ),
        (
            "/spec/scope",
            json!("Global"),
            "spec.scope: Unsupported value: \"Global\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (
            "/spec/versions/0/schema",
            Value::Null,
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
    ] {
        let causes = refused(&cluster, "POST", DEFINITIONS, change(path, value)).await;
        assert!(causes.contains(&expected.to_owned()), "{expected}\n{causes:#?}");
    }
    let mut hooked = definition(json!({"type": "object"}));
    hooked["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}});
    let causes = refused(&cluster, "POST", DEFINITIONS, hooked).await;
    assert_eq!(
        causes,
        [
            "spec.conversion.strategy: Forbidden: conversion webhooks are not called by this cluster; only None is offered"
        ]
    );
}

#[tokio::test]
async fn names_are_given_once_and_come_free() {
    let cluster = with(json!({"type": "object"})).await;
    let mut other = definition(json!({"type": "object"}));
    other["metadata"]["name"] = json!("devices.test.example.com");
    other["spec"]["names"] = json!({"plural": "devices", "kind": "Gadget", "shortNames": ["gadget"]});
    create(&cluster, DEFINITIONS, other).await;
    let path = format!("{DEFINITIONS}/devices.test.example.com");
    let (_, seen) = get(&cluster, &path).await;
    let condition = |seen: &Value, index: usize| {
        let one = &seen["status"]["conditions"][index];
        ["type", "status", "reason", "message"].map(|key| one[key].as_str().unwrap().to_owned())
    };
    assert_eq!(condition(&seen, 0), ["NamesAccepted", "False", "ListKindConflict", "\"GadgetList\" is already in use"]);
    assert_eq!(condition(&seen, 1), ["Established", "False", "NotAccepted", "not all names are accepted"]);
    let devices = "/apis/test.example.com/v1/namespaces/a/devices";
    assert_eq!(get(&cluster, devices).await.0, 404);
    let gadgets = format!("{DEFINITIONS}/gadgets.test.example.com");
    create(&cluster, GADGETS, json!({"metadata": {"name": "held", "finalizers": ["test.example.com/hold"]}})).await;
    let (code, going) = call(&cluster, "DELETE", &gadgets, Value::Null).await;
    assert_eq!((code, going["status"]["conditions"][2]["reason"].as_str()), (200, Some("InstanceDeletionPending")));
    let (code, status) = call(&cluster, "POST", GADGETS, gadget("late", json!({}))).await;
    assert_eq!(
        (code, status["message"].as_str()),
        (405, Some("create not allowed while custom resource definition is terminating"))
    );
    let (code, _) =
        call(&cluster, "PATCH", &format!("{GADGETS}/held"), json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, 200);
    let clock = cluster.clock();
    let gone = async {
        while get(&cluster, &gadgets).await.0 != 404 {
            clock.sleep_until(clock.now() + Duration::from_millis(100)).await;
        }
    };
    run_until(&clock, Duration::from_secs(60), gone).await.expect("the definition goes with its last object");
    let (_, seen) = get(&cluster, &path).await;
    assert_eq!(condition(&seen, 1)[1], "True", "{seen}");
    assert_eq!(get(&cluster, devices).await.0, 200);
}

#[tokio::test]
async fn discovery_and_openapi_tell_of_custom_resources() {
    let cluster =
        with(json!({"type": "object", "properties": {"size": {"type": "integer", "description": "How large."}}})).await;
    let (_, group) = get(&cluster, "/apis/test.example.com").await;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let (_, index) = get(&cluster, "/openapi/v3").await;
    let url = index["paths"]["apis/test.example.com/v1"]["serverRelativeURL"].as_str().unwrap();
    let (_, document) = get(&cluster, url).await;
    let schema = &document["components"]["schemas"]["com.example.test.v1.Gadget"];
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["description"], "How large.");
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Gadget");
    assert!(schema["properties"]["metadata"]["allOf"][0]["$ref"].is_string());
}
