use std::time::Duration;

use catalog::{Metadata, PatchType, Prerequisite, Quantifier, Severity, Step};
use proptest::prelude::*;
use serde_json::json;
use yaml::{Diagnostics, Source};

use super::{OOM_KILLED, assert_errors};

fn parse(text: &str) -> Result<Metadata, Diagnostics> {
    Metadata::parse(&Source::new("metadata.yaml", text), Some("oom-killed"))
}

#[track_caller]
fn errors(text: &str, expected: &[&str]) {
    assert_errors(text, &parse(text).expect_err("invalid metadata"), expected);
}

const MINIMAL: &str = "name: n\ndescription: d\nexpected_duration: 30s\n";

#[test]
fn the_example_of_the_formats() {
    let metadata = parse(OOM_KILLED).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(metadata.id.as_str(), "oom-killed");
    assert_eq!(metadata.version.as_str(), "1.0.0");
    assert_eq!(metadata.expected_duration, Duration::from_secs(30));
    assert_eq!(metadata.severity, Severity::High);
    assert_eq!(metadata.workload.manifests, ["workload.yaml"]);
    assert_eq!(metadata.capabilities.rules[0].resource_names, ["checkout"]);
    assert_eq!(metadata.params.names().collect::<Vec<_>>(), ["memory"]);
    let Step::Patch { target, with, patch_type } = &metadata.induce[0] else { panic!("a patch") };
    assert_eq!((target.to_string().as_str(), *patch_type), ("Deployment/checkout", PatchType::Strategic));
    assert_eq!(
        with.pointer("/spec/template/spec/containers/0/resources/limits/memory"),
        Some(&json!("$(params.memory)"))
    );
    assert_eq!(metadata.symptoms[0].quantifier, Quantifier::Any);
    assert_eq!(metadata.symptoms[0].select.label_selector_query().as_deref(), Some("app=checkout"));
    assert_eq!((metadata.health[0].quantifier, metadata.health[0].window), (Quantifier::All, Duration::from_secs(60)));
    assert_eq!(metadata.ground_truth.as_ref().map(|truth| truth.fault_type.as_str()), Some("resource-limit"));
    assert_eq!((metadata.reference_fix.len(), metadata.wrong_fixes.len()), (1, 1));
}

#[test]
fn the_canonical_form_is_read_back() {
    let metadata = parse(OOM_KILLED).expect("valid");
    let again = Metadata::from_json("section", &metadata.to_json()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again, metadata);
    assert_eq!(again.to_json(), metadata.to_json());
    let by_serde: Metadata = serde_json::from_value(metadata.to_json()).expect("canonical");
    assert_eq!(by_serde, metadata);
}

#[test]
fn the_old_form_is_valid() {
    let metadata = parse(MINIMAL).expect("valid");
    assert_eq!((metadata.id.as_str(), metadata.version.as_str()), ("oom-killed", "0.0.0"));
    assert_eq!(metadata.severity, Severity::Medium);
    assert!(metadata.ground_truth.is_none() && !metadata.ground_truth_is_none());
    let packed = Metadata::from_json("section", &json!({"name": "n", "description": "d", "expected_duration": "1s"}));
    assert!(packed.expect_err("no folder, no id").to_string().contains("needs the key `id`"));
}

#[test]
fn every_failure_of_the_repository_is_valid() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../failures");
    let mut seen = 0;
    for entry in std::fs::read_dir(root).expect("the folder").map(|entry| entry.expect("an entry").path()) {
        let file = entry.join("metadata.yaml");
        if file.is_file() {
            let source = Source::read(&file).expect("readable");
            let folder = entry.file_name().and_then(|name| name.to_str());
            Metadata::parse(&source, folder).unwrap_or_else(|errors| panic!("{errors}"));
            seen += 1;
        }
    }
    assert!(seen >= 5, "the library has five failures, found {seen}");
}

#[test]
fn plain_fields_are_checked() {
    errors(
        "id: oom_killed\nversion: 1.0\nname: ''\ndescription: d\nexpected_duration: 30\nseverity: severe\n\
         exclusive: yes\ntags: resources\nprerequisites: [{program: bin/kubectl}, {kind: Pod}, {program: x, kind: Pod}]\nschema: 2\nsymptom: []\n",
        &[
            "1:5 `oom_killed` is not an id",
            "2:10 three numbers, as in `1.0.0`",
            "3:7 must not be empty",
            "5:20 `30s` for seconds",
            "6:11 possible are",
            "7:12 write `true`",
            "8:7 write `[resources]`",
            "9:27 `bin/kubectl` is not the name of a program",
            "9:42 needs the key `apiVersion`",
            "9:54 a program or a kind, not both",
            "10:9 `schema: 1` only",
            "11:1 did you mean `symptoms`?",
        ],
    );
    errors(&format!("id: other\n{MINIMAL}"), &["1:5 write `id: oom-killed`, or rename the folder"]);
    errors("description: d\n", &["1:1 needs the key `name`", "1:1 needs the key `expected_duration`"]);
    let odd = Metadata::parse(&Source::new("m", MINIMAL), Some("My_Failure")).expect_err("no id");
    assert!(odd.to_string().contains("rename the folder"), "{odd}");
}

#[test]
fn capabilities_are_checked() {
    errors(
        &format!(
            "{MINIMAL}capabilities:\n  rules:\n    - {{apiGroups: [apps/v1], resources: [Deployment], verbs: [read]}}\n    \
             - {{apiGroups: [''], verbs: []}}\n    - {{resources: [pods], verbs: [get]}}\n    - {{apiGroups: [v1], resources: [pods], verbs: [get], verb: x}}\n  \
             unsafe: [hostpath, root]\n"
        ),
        &[
            "6:20 write `apps`, without `v1`",
            "6:42 lower-case plurals: `deployments`",
            "6:63 possible are",
            "7:32 this list is empty",
            "8:7 needs `apiGroups`",
            "9:20 the core group is written",
            "9:58 did you mean `verbs`?",
            "10:12 did you mean `host-path`?",
            "10:22 possible are",
        ],
    );
}

#[test]
fn ground_truth_is_checked() {
    let truth = |text: &str| {
        OOM_KILLED.replace(
            "  fault_type: resource-limit\n  root_causes: [{apiVersion: apps/v1, kind: Deployment, name: checkout}]\n",
            text,
        )
    };
    errors(&truth("  fault_type: resource-limits\n"), &["38:15 did you mean `resource-limit`?"]);
    errors(&truth("  fault_type: resource-limit\n"), &["38:3 needs at least one root cause"]);
    errors(
        &truth("  fault_type: image\n  root_causes: [{apiVersion: apps, kind: deployments, nam: x}]\n"),
        &["39:18 needs the key `name`", "39:30 write `apps/v1`", "39:42 `Deployment`", "39:55 did you mean `name`?"],
    );
    errors(
        &truth("  fault_type: none\n  root_causes: [{apiVersion: v1, kind: Pod, name: x}]\n"),
        &["39:16 there are no root causes"],
    );
    errors(&truth("  fault_type: none\n"), &["24:3 there are no symptoms"]);
}

#[test]
fn cel_errors_stand_at_their_place() {
    let broken = OOM_KILLED.replace("object.status.observedGeneration ==", "object.status.observedGeneration =");
    errors(&broken, &["33:40 to compare, write `==`"]);
    let unknown = OOM_KILLED.replace("has(s.terminated)", "has(x.terminated)");
    errors(&unknown, &["28:11 unknown variable `x`"]);
    let baseline = OOM_KILLED.replace("has(s.terminated)", "baseline.a");
    errors(&baseline, &["28:7 unknown variable `baseline`"]);
    errors(&OOM_KILLED.replace("    any: >-", "    some: >-"), &["24:5 exactly one of", "26:5 unknown key `some`"]);
}

#[test]
fn steps_are_checked() {
    let steps = |text: &str| format!("{MINIMAL}induce:\n{text}");
    errors(
        &steps(
            "  - patch: {apiVersion: v1, kind: Pod, name: x}\n  - {}\n  - {apply: {kind: Pod}, create: {}}\n  - {delete: {apiVersion: v1, kind: Pod}}\n  \
             - {apply: {apiVersion: v1, kind: Pod, metadata: {}}, with: {}}\n  - {patch: {apiVersion: v1, kind: Pod, name: x}, with: {}, type: json}\n  \
             - {patch: {apiVersion: v1, kind: Pod, name: x}, with: [], type: jason}\n  - {patch: {apiVersion: v1, kind: Pod, name: x}, with: 5}\n",
        ),
        &[
            "5:5 needs the key `with`",
            "6:5 one of `patch`, `apply`, `create`, `delete`",
            "7:5 this one has apply and create",
            "8:15 needs the key `name`",
            "9:13 this object needs `metadata.name`",
            "9:62 `with` goes with `patch` only",
            "10:57 a JSON patch is a list",
            "11:67 did you mean `json`?",
            "12:57 must be a mapping",
        ],
    );
}

#[test]
fn placeholders_must_name_parameters() {
    errors(
        &OOM_KILLED.replace("memory: $(params.memory)", "memory: $(params.memroy)"),
        &["22:91 did you mean `memory`?"],
    );
    errors(&OOM_KILLED.replace("memory: $(params.memory)", "memory: x$(params.memory)"), &["22:91 whole values only"]);
    errors(
        &OOM_KILLED.replace("labelSelector: app=checkout", "labelSelector: app=x$(params.memory)"),
        &["25:56 matchLabels: {app"],
    );
}

#[test]
fn prerequisites_have_two_forms() {
    let text = format!("{MINIMAL}prerequisites: [{{program: kubectl}}, {{apiVersion: apps/v1, kind: Deployment}}]\n");
    let metadata = parse(&text).expect("valid");
    let kind = Prerequisite::Kind { api_version: "apps/v1".into(), kind: "Deployment".into() };
    assert_eq!(metadata.prerequisites, [Prerequisite::Program("kubectl".into()), kind]);
    assert_eq!(metadata.to_json()["prerequisites"][1], json!({"apiVersion": "apps/v1", "kind": "Deployment"}));
}

#[test]
fn later_symptom_kinds_say_so() {
    let text = format!("{MINIMAL}symptoms: [{{name: a, log: {{}}}}]\n");
    errors(&text, &["4:27 `log` are not available in this version"]);
    let text = format!("{MINIMAL}health: [{{name: a}}, {{name: a, for: 1m}}]\n");
    assert!(parse(&text).expect_err("no select").to_string().contains("needs the key `select`"));
}

#[test]
fn manifests_stay_in_the_folder() {
    for path in ["/etc/passwd", "../x.yaml", "a/../../b", "a\\b", "./x"] {
        let text = format!("{MINIMAL}workload: {{manifests: ['{path}']}}\n");
        assert!(parse(&text).expect_err(path).to_string().contains("path inside the folder"), "{path}");
    }
}

#[test]
fn the_schema_accepts_the_keys_of_the_format() {
    let schema = catalog::metadata_schema();
    let metadata = parse(OOM_KILLED).expect("valid").to_json();
    for key in metadata.as_object().expect("a map").keys() {
        assert!(schema["properties"].get(key).is_some(), "{key} is not in the schema");
    }
    assert_eq!(schema["additionalProperties"], json!(false));
    let required = schema["required"].as_array().expect("a list");
    assert_eq!(required.len(), 3, "name, description, expected_duration: {required:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_mutation_makes_it_panic(at in 0usize..4000, junk in "[\\PC\n\t]{0,4}", cut in 0usize..8) {
        let mut text = OOM_KILLED.to_owned();
        let boundary = |i: usize| (0..=i.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let (start, end) = (boundary(at), boundary(at + cut));
        text.replace_range(start..end, &junk);
        let _ = parse(&text).map_err(|errors| errors.pretty(false));
    }
}
