use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::{Failure, ResolveError, Resolved, Step};
use serde_json::{Value, json};

const METADATA: &str = "\
name: n
description: d
expected_duration: 30s
params:
  type: object
  properties:
    app: {type: string, default: checkout}
    replicas: {type: integer, default: 2}
workload: {manifests: [workload.yaml]}
capabilities:
  rules:
    - {apiGroups: [apps], resources: [deployments], resourceNames: [$(params.app)], verbs: [get, patch]}
    - {apiGroups: ['*'], resources: [pods], verbs: [get], namespaces: [$(case), other]}
    - {nonResourceURLs: [/version], verbs: [get]}
induce:
  - patch: {apiVersion: apps/v1, kind: Deployment, name: $(params.app)}
    with: {spec: {replicas: $(params.replicas), env: $(VAR)}}
  - delete: {apiVersion: v1, kind: Node, name: n1}
symptoms:
  - name: s
    select: {apiVersion: v1, kind: Pod, labelSelector: {matchLabels: {app: $(params.app)}}}
    any: object.a == params.replicas
health:
  - name: h
    select: {apiVersion: apps/v1, kind: Deployment, name: $(params.app)}
    all: 'true'
ground_truth:
  fault_type: replicas
  root_causes: [{apiVersion: apps/v1, kind: Deployment, name: $(params.app)}]
  repair_scope: [{apiVersion: v1, kind: Namespace, name: $(case)}]
";
const WORKLOAD: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: $(params.app)}
spec: {replicas: $(params.replicas), namespace: $(case)}
---
apiVersion: v1
kind: Service
metadata: {name: other}
---
";

fn failure(metadata: &str, workload: &str) -> Failure {
    let file = |text: &str| Arc::from(text.as_bytes());
    let files =
        BTreeMap::from([("metadata.yaml".to_owned(), file(metadata)), ("workload.yaml".to_owned(), file(workload))]);
    Failure::builtin("demo", None, files).unwrap_or_else(|errors| panic!("{errors}"))
}

fn resolve(given: Value) -> Result<Resolved, ResolveError> {
    let given = serde_json::from_value(given).expect("a mapping");
    failure(METADATA, WORKLOAD).resolve(&given, "c-7f3a9")
}

#[test]
fn parameters_and_namespace_are_put_in_everywhere() {
    let resolved = resolve(json!({"app": "ledger", "replicas": 5})).expect("resolves");
    assert_eq!(resolved.params, json!({"app": "ledger", "replicas": 5}));
    assert_eq!(resolved.workload.len(), 2);
    assert_eq!(resolved.workload[0]["metadata"]["name"], "ledger");
    assert_eq!(resolved.workload[0]["spec"], json!({"replicas": 5, "namespace": "c-7f3a9"}));
    let rules = &resolved.capabilities.rules;
    assert_eq!((&rules[0].resource_names, &rules[0].namespaces), (&vec!["ledger".into()], &vec!["c-7f3a9".into()]));
    assert_eq!(rules[1].namespaces, ["c-7f3a9", "other"]);
    assert!(rules[2].namespaces.is_empty(), "paths have no namespace");
    let Step::Patch { target, with, .. } = &resolved.induce[0] else { panic!("a patch") };
    assert_eq!((target.name.as_str(), target.namespace.as_deref()), ("ledger", Some("c-7f3a9")));
    assert_eq!(*with, json!({"spec": {"replicas": 5, "env": "$(VAR)"}}));
    let Step::Delete(node) = &resolved.induce[1] else { panic!("a delete") };
    assert_eq!(node.namespace, None, "nodes live in no namespace");
    let select = &resolved.symptoms[0].select;
    assert_eq!(
        (select.label_selector_query().as_deref(), &select.label_selector),
        (Some("app=ledger"), &Some(json!("app=ledger")))
    );
    assert_eq!(select.namespace.as_deref(), Some("c-7f3a9"));
    let truth = resolved.ground_truth.as_ref().expect("declared");
    assert_eq!(truth.root_causes[0].name, "ledger");
    assert_eq!((truth.repair_scope[0].name.as_str(), &truth.repair_scope[0].namespace), ("c-7f3a9", &None));
}

#[test]
fn nothing_is_left_to_be_replaced() {
    let resolved = resolve(json!({})).expect("resolves");
    let text = resolved.to_json().to_string();
    assert!(!text.contains("$(params") && !text.contains("$(case"), "{text}");
    let again: Resolved = serde_json::from_value(resolved.to_json()).expect("canonical");
    assert_eq!(again, resolved);
}

#[test]
fn what_does_not_fit_says_where() {
    let error = |given| resolve(given).expect_err("does not fit").to_string();
    assert!(error(json!({"apps": "x"})).contains("did you mean `app`?"));
    assert!(error(json!({"replicas": "x"})).contains("parameter `replicas`: expected a whole number"));
    assert!(error(json!({"app": "not a label"})).contains("check `s`: `not a label` is not the value of a label"));
    let text = METADATA.replace("name: $(params.app)", "name: $(params.replicas)");
    let files = BTreeMap::from([
        ("metadata.yaml".to_owned(), Arc::from(text.as_bytes())),
        ("workload.yaml".to_owned(), Arc::from(WORKLOAD.as_bytes())),
    ]);
    let errors = Failure::builtin("demo", None, files).expect_err("a number as a name").to_string();
    assert!(errors.contains("a parameter does not fit its place"), "{errors}");
}

#[test]
fn broken_packages_are_refused_when_they_are_loaded() {
    let load = |workload: Option<&str>| {
        let mut files: BTreeMap<String, Arc<[u8]>> =
            BTreeMap::from([("metadata.yaml".to_owned(), Arc::from(METADATA.as_bytes()))]);
        if let Some(text) = workload {
            files.insert("workload.yaml".to_owned(), Arc::from(text.as_bytes()));
        }
        Failure::builtin("demo", None, files).expect_err("broken").to_string()
    };
    assert!(load(None).contains("names `workload.yaml`, which is not there"));
    assert!(load(Some("a: [")).contains("workload.yaml:1:4: this `[` is never closed"), "{}", load(Some("a: [")));
    assert!(load(Some("a: $(params.nope)")).contains("no parameter `nope`"));
}

#[test]
fn the_digest_covers_every_part() {
    let one = failure(METADATA, WORKLOAD);
    assert_eq!(one.digest, failure(METADATA, WORKLOAD).digest);
    assert!(one.digest.starts_with("sha256:") && one.digest.len() == 71);
    assert_ne!(one.digest, failure(&METADATA.replace("30s", "31s"), WORKLOAD).digest);
    assert_ne!(one.digest, failure(METADATA, &WORKLOAD.replace("other", "another")).digest);
    // Comments are not a part of what a failure means.
    assert_eq!(one.digest, failure(&format!("# a comment\n{METADATA}"), WORKLOAD).digest);
}
