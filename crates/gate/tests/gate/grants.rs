//! The grants file: the example of the documentation, every error at once, what is granted to whom.

use gate::{Grants, Hazard, attributes, grants_schema};
use yaml::Source;

const EXAMPLE: &str = r#"
clusters:
  - {context: admin@staging, server: "https://10.0.0.5:6443", limits: {pods: 20, cpu: "4", memory: 8Gi}}
failures:
  - id: oom-killed
    digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    clusters: [admin@staging]
    rules: [{apiGroups: [apps], resources: [deployments], verbs: [get, patch], namespaces: [$(case)]}]
    unsafe: [exec]
agents:
  - {id: claude, clusters: [admin@staging], access: pods-only, require_sandbox: true}
access:
  - name: pods-only
    rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
executors: {live_test_script: tests/run-live-test.sh}
"#;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn example() -> Grants {
    Grants::parse(&Source::new("grants.yaml", EXAMPLE)).expect("the example is valid")
}

fn capabilities() -> catalog::Capabilities {
    catalog::Capabilities {
        rules: vec![catalog::Rule {
            api_groups: vec!["apps".into()],
            resources: vec!["deployments".into()],
            verbs: vec!["patch".into(), "delete".into()],
            ..catalog::Rule::default()
        }],
        unsafe_: vec!["exec".into(), "tokens".into()],
    }
}

fn ask(method: &str, target: &str) -> gate::Attributes {
    attributes(&method.parse().expect("a method"), &target.parse().expect("a URI")).expect("attributes")
}

#[test]
fn the_example_says_what_it_means() {
    let grants = example();
    assert_eq!(grants.clusters[0].limits["pods"], "20");
    assert_eq!(grants.executors.live_test_script.as_deref(), Some("tests/run-live-test.sh"));
    assert!(grants.agent("claude", "admin@staging").is_some_and(|a| a.require_sandbox));
    assert!(grants.agent("claude", "elsewhere").is_none());

    let policy = grants.agent_policy("pods-only", "c-1").expect("an access");
    assert!(policy.decide(&ask("GET", "/api/v1/namespaces/c-1/pods/a")).is_ok());
    assert!(policy.decide(&ask("GET", "/api/v1/namespaces/c-1/services/a")).is_err());
    let unknown = grants.agent_policy("pods", "c-1").expect_err("no such access").to_string();
    assert!(unknown.contains("read-case") && unknown.contains("pods-only"), "{unknown}");
}

#[test]
fn a_failure_gets_what_is_declared_and_granted() {
    let (patch, delete) =
        ("/apis/apps/v1/namespaces/c-1/deployments/web", "/apis/apps/v1/namespaces/c-1/deployments/web");
    let decide = |digest: &str, cluster: &str| {
        let policy = example().failure("oom-killed", digest, cluster).effective(&capabilities(), "c-1");
        let [patch, delete] = [("PATCH", patch), ("DELETE", delete)].map(|(m, t)| policy.decide(&ask(m, t)).is_ok());
        (patch, delete, policy.hazards().contains(&Hazard::Exec), policy.hazards().contains(&Hazard::Tokens))
    };
    assert_eq!(decide(DIGEST, "admin@staging"), (true, false, true, false), "as the entry says");
    assert_eq!(decide("sha256:other", "admin@staging"), (false, false, false, false), "another package");
    assert_eq!(decide(DIGEST, "local"), (true, true, false, false), "the default, on another cluster");
    let policy = Grants::default().failure("any", "sha256:x", "local").effective(&capabilities(), "c-1");
    assert!(policy.decide(&ask("DELETE", delete)).is_ok() && policy.hazards().is_empty());
}

#[test]
fn every_error_is_named_with_its_place() {
    let text = r#"
clusters:
  - {context: a, server: 10.0.0.5, limits: {disks: 3}}
failures:
  - id: x
    digest: abc
    rules: [{apiGroups: [apps], resources: [deployments], verbs: [read]}, {verbs: [get]}, {resources: [pods], verbs: [get]}]
    unsafe: [privileged]
agents:
  - {id: a, access: edit-cases}
grant: []
"#;
    let errors = Grants::parse(&Source::new("grants.yaml", text)).expect_err("errors").to_string();
    let expected = [
        "grants.yaml:3:26: this is no API server",
        "unknown limit `disks`",
        "grants.yaml:6:13: this is no digest",
        "`read` is not one of the words",
        "a rule needs `resources` or `nonResourceURLs`",
        "a rule on resources needs `apiGroups`",
        "`privileged` is not one of the words",
        "there is no access `edit-cases`",
        "unknown key `grant` in a grants file",
    ];
    for part in expected {
        assert!(errors.contains(part), "{errors}\nshould contain: {part}");
    }
}

#[test]
fn the_schema_knows_what_the_reader_knows() {
    let schema = grants_schema();
    let keys: Vec<&String> = schema["properties"].as_object().expect("properties").keys().collect();
    assert_eq!(keys, ["access", "agents", "clusters", "executors", "failures", "schema"]);
}
