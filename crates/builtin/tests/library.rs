//! The library inside the program: every failure reads, resolves and is complete.

use std::collections::BTreeMap;

use catalog::Implementation;

#[test]
fn every_failure_reads_and_resolves() {
    let failures = builtin::failures();
    let ids: Vec<&str> = failures.iter().map(|failure| failure.id().as_str()).collect();
    assert_eq!(ids, ["crashloopbackoff", "crashloopbackoff-script", "image-pull-error", "no-fault", "oom-killed"]);
    for failure in &failures {
        let id = failure.id();
        assert!(failure.missing_files().is_empty(), "{id} lacks {:?}", failure.missing_files());
        let resolved = failure.resolve(&BTreeMap::new(), "c-1").unwrap_or_else(|error| panic!("{id}: {error}"));
        assert!(resolved.workload.len() >= 2, "{id} has neighbours that stay healthy");
        assert!(!resolved.to_json().to_string().contains("$("), "{id} leaves something unreplaced");
        assert!(!failure.metadata.health.is_empty(), "{id} says what healthy means");
        assert!(failure.metadata.reference_fix.is_empty() == failure.metadata.ground_truth_is_none(), "{id}");
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
