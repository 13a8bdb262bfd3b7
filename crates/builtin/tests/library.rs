//! The library inside the program: every failure reads, resolves and is complete.

use std::collections::BTreeMap;

use catalog::Implementation;

#[test]
fn every_failure_reads_and_resolves() {
    let failures = builtin::failures();
    let ids: Vec<&str> = failures.iter().map(|failure| failure.id().as_str()).collect();
    assert!(ids.len() >= 30 && ids.is_sorted(), "{ids:?}");
    for known in ["crashloopbackoff", "crashloopbackoff-script", "image-pull-error", "no-fault", "oom-killed"] {
        assert!(ids.contains(&known), "{known}");
    }
    let coded = |failure: &&catalog::Failure| matches!(failure.implementation, Implementation::Component(_));
    assert!(failures.iter().filter(coded).count() >= 8);
    for failure in &failures {
        let id = failure.id();
        assert!(failure.missing_files().is_empty(), "{id} lacks {:?}", failure.missing_files());
        let resolved = failure.resolve(&BTreeMap::new(), "c-1").unwrap_or_else(|error| panic!("{id}: {error}"));
        assert!(resolved.workload.len() >= 2, "{id} has neighbours that stay healthy");
        // A shell in a workload may have a `$(…)` of its own.
        let text = resolved.to_json().to_string();
        assert!(!text.contains("$(params.") && !text.contains("$(case)"), "{id} leaves something unreplaced");
        assert!(!failure.metadata.health.is_empty(), "{id} says what healthy means");
        // What no access of an agent can repair serves only `objective: diagnose`.
        let repaired = !failure.metadata.reference_fix.is_empty();
        let beyond = failure.metadata.capabilities.unsafe_.iter().any(|word| word == "webhooks");
        assert!(repaired != (failure.metadata.ground_truth_is_none() || beyond), "{id}");
    }
}

#[test]
fn the_seed_chooses_names_and_no_two_are_the_same() {
    for failure in builtin::failures() {
        let (id, params) = (failure.id().clone(), &failure.metadata.params);
        let chosen = |seed| params.seeded(&BTreeMap::new(), seed);
        let differ = (1..20).any(|seed| chosen(seed) != chosen(0));
        assert!(differ || failure.implementation.as_str() == "script", "{id}: no seed changes anything");
        for seed in 0..20 {
            assert_eq!(chosen(seed), chosen(seed));
            let resolved = failure.resolve(&chosen(seed), "c-1").unwrap_or_else(|error| panic!("{id}: {error}"));
            let objects = resolved.workload.iter();
            let mut names: Vec<String> =
                objects.map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect();
            names.sort();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{id} with seed {seed}: {names:?}");
        }
        let given = BTreeMap::from([("app".to_owned(), "zebra".into())]);
        assert_eq!(params.seeded(&given, 7)["app"], "zebra", "{id}: what is given stays");
    }
}

#[test]
fn names_are_parameters_wherever_they_stand() {
    let oom = builtin::failures().into_iter().find(|failure| failure.id().as_str() == "oom-killed").expect("built in");
    let params = BTreeMap::from([("app".to_owned(), "zebra".into()), ("memory".to_owned(), "40Mi".into())]);
    let resolved = oom.resolve(&params, "c-1").expect("both are declared").to_json().to_string();
    assert!(resolved.contains("zebra") && !resolved.contains("checkout"), "{resolved}");
}

#[test]
fn components_are_small_and_import_no_more_than_the_contract() {
    for (name, bytes) in components() {
        let inspected = component::inspect(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(inspected.foreign_imports().is_empty(), "{name} imports {:?}", inspected.foreign_imports());
        assert!(inspected.size < 120_000, "{name} takes {} bytes", inspected.size);
        let scripted = inspected.imports.iter().any(|import| import.contains("/script@"));
        assert_eq!(scripted, name == "shim", "only the shim runs scripts");
    }
}

fn components() -> Vec<(String, Vec<u8>)> {
    let own = builtin::failures().into_iter().filter_map(|failure| match &failure.implementation {
        Implementation::Component(bytes) => Some((failure.id().to_string(), bytes.to_vec())),
        Implementation::Steps | Implementation::Script => None,
    });
    let generic = [("steps".to_owned(), builtin::steps().to_vec()), ("shim".to_owned(), builtin::shim().to_vec())];
    own.chain(generic).collect()
}

#[test]
fn the_sdk_is_whole() {
    let paths: Vec<&str> = builtin::sdk_files().iter().map(|(path, _)| *path).collect();
    for expected in
        ["failure-sdk/Cargo.toml", "failure-sdk/src/lib.rs", "failure-sdk/macros/src/lib.rs", "wit/world.wit"]
    {
        assert!(paths.contains(&expected), "{expected} is missing from {paths:?}");
    }
}
