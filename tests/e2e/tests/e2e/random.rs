//! Triage must judge from what it sees, not from names: every failure twice, with random names in random namespaces. It need
//! not find every fault, but what it finds must not depend on what things are called.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use e2e::{Sandbox, repository};
use model::{CaseFile, Outcome};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::library;

/// A name that Kubernetes takes and that says nothing.
fn random_name(rng: &mut StdRng) -> String {
    let letter = |rng: &mut StdRng| char::from(rng.random_range(b'a'..=b'z'));
    let length = rng.random_range(3..12);
    (0..length).map(|_| letter(rng)).collect()
}

/// Parameters whose default is a name of an object get a random one, a tag that does not exist another, a quantity of
/// memory up to half as much again.
fn random_params(failure: &Value, rng: &mut StdRng) -> Vec<(String, String)> {
    let properties = library::metadata(failure)["params"]["properties"].as_object().cloned().unwrap_or_default();
    let other = |schema: &Value, rng: &mut StdRng| {
        if !schema["enum"].is_null() {
            return None;
        }
        let default = schema["default"].as_str().filter(|default| !default.is_empty())?;
        if default.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
            return Some(random_name(rng));
        }
        if let Some(megabytes) = default.strip_suffix("Mi").and_then(|number| number.parse::<u32>().ok()) {
            return Some(format!("{}Mi", megabytes + rng.random_range(0..=megabytes / 2)));
        }
        default.split_once(':').map(|(image, _)| format!("{image}:{}-{}", rng.random_range(2..9), random_name(rng)))
    };
    properties.iter().filter_map(|(key, schema)| Some((key.clone(), other(schema, rng)?))).collect()
}

#[test]
fn what_triage_finds_does_not_depend_on_names() {
    let seed: u64 = std::env::var("E2E_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    eprintln!("E2E_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let sandbox = Sandbox::new();
    let mut failures = String::new();
    let mut expected = 0;
    let mut renamed = 0;
    for failure in library::failures(&sandbox).iter().filter(|failure| !library::needs_program(failure)) {
        for round in 0..2 {
            let params = random_params(failure, &mut rng);
            renamed += params.len();
            let params: Vec<String> = params.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            let id = library::id(failure);
            let _ = writeln!(failures, "  - {{id: {id}, name: {id}-{round}, params: {{{}}}}}", params.join(", "));
            expected += 1;
        }
    }
    assert!(renamed > 0, "some failure has a parameter that is a name:\n{failures}");
    let matrix = format!(
        "name: random\nclusters:\n  - {{id: local, provisioner: embedded}}\nfailures:\n{failures}agents: [triage]\n\
         objective: diagnose\nexecution: {{parallel_tests_per_cluster: 2}}\n"
    );
    sandbox.write("m.yaml", &matrix);
    // Some failures of the library reach further than a case, which takes a word of the operator.
    let grants = repository().join("matrices/library.grants.yaml");
    let grants = grants.to_string_lossy();
    let code = sandbox.harness(&["run", "m.yaml", "--exit-zero", "--grants", &grants]).expect(0).code;
    let cases = sandbox.only_run().cases();
    assert_eq!((code, cases.len()), (0, expected));
    let mut rounds: BTreeMap<String, Vec<&CaseFile>> = BTreeMap::new();
    for case in &cases {
        let judged = matches!(case.outcome, Outcome::Passed | Outcome::Failed);
        assert!(judged, "seed {seed}, {}: {}\n{matrix}", case.id, case.message);
        let (failure, _) = case.failure.as_str().rsplit_once('-').expect("a use has a round");
        rounds.entry(failure.to_owned()).or_default().push(case);
    }
    for (failure, rounds) in &rounds {
        let outcomes: Vec<Outcome> = rounds.iter().map(|case| case.outcome).collect();
        let messages: Vec<&str> = rounds.iter().map(|case| case.message.as_str()).collect();
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}, {failure}: {messages:?}\n{matrix}");
    }
    let passed = cases.iter().filter(|case| case.outcome == Outcome::Passed).count();
    assert!(passed * 2 > expected, "seed {seed}: it finds less than half: {passed} of {expected}");
    sandbox.assert_nothing_left();
}
