//! The grants file: the example of the documentation, every error at once, what is granted to whom.

use gate::{ClusterGrant, Grants, Hazard, Package, Site, attributes, grants_schema};
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

fn package(id: &str) -> Package<'_> {
    Package { id, digest: DIGEST, imported: false }
}

fn ask(method: &str, target: &str) -> gate::Attributes {
    attributes(&method.parse().expect("a method"), &target.parse().expect("a URI")).expect("attributes")
}

#[test]
fn the_example_says_what_it_means() {
    let grants = example();
    assert_eq!(grants.clusters[0].limits["pods"], "20");
    assert_eq!(grants.executors.live_test_script.as_deref(), Some("tests/run-live-test.sh"));
    let at = Site::existing("admin@staging", "https://10.0.0.5:6443");
    let agent = grants.agent("claude", "pods-only", at).expect("an access");
    assert!(agent.require_sandbox && agent.lacking.is_empty());
    let policy = agent.policy("c-1");
    assert!(policy.decide(&ask("GET", "/api/v1/namespaces/c-1/pods/a")).is_ok());
    assert!(policy.decide(&ask("GET", "/api/v1/namespaces/c-1/services/a")).is_err());
    let unknown = grants.agent("claude", "pods", at).expect_err("no such access").to_string();
    assert!(unknown.contains("read-case") && unknown.contains("pods-only"), "{unknown}");
}

#[test]
fn a_failure_gets_what_is_declared_and_granted() {
    let (patch, delete) =
        ("/apis/apps/v1/namespaces/c-1/deployments/web", "/apis/apps/v1/namespaces/c-1/deployments/web");
    let decide = |digest: &str, cluster: &str| {
        let package = Package { id: "oom-killed", digest, imported: false };
        let policy = example().failure(package, Site::made(cluster)).effective(&capabilities(), "c-1");
        let [patch, delete] = [("PATCH", patch), ("DELETE", delete)].map(|(m, t)| policy.decide(&ask(m, t)).is_ok());
        (patch, delete, policy.hazards().contains(&Hazard::Exec), policy.hazards().contains(&Hazard::Tokens))
    };
    assert_eq!(decide(DIGEST, "admin@staging"), (true, false, true, false), "as the entry says");
    assert_eq!(decide("sha256:other", "admin@staging"), (false, false, false, false), "another package");
    assert_eq!(decide(DIGEST, "local"), (true, true, false, false), "the default, on another cluster");
    let policy = Grants::default().failure(package("any"), Site::made("local")).effective(&capabilities(), "c-1");
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

#[test]
fn an_existing_cluster_is_used_only_by_context_and_address() {
    let grants = example();
    let ask = |context, server| grants.cluster(Site::existing(context, server));
    let entry = ask("admin@staging", "https://10.0.0.5:6443/").expect("named").expect("an entry");
    assert_eq!(entry.limits["memory"], "8Gi");
    assert_eq!(grants.cluster(Site::made("local")).expect("ours"), None);
    for (context, server) in
        [("admin@staging", "https://10.0.0.6:6443"), ("other", "https://10.0.0.5:6443"), ("y", "https://b")]
    {
        let error = ask(context, server).expect_err("not named");
        let pasted = Grants::parse(&Source::new("grants.yaml", error.lines())).expect("the lines can be pasted");
        assert!(pasted.cluster(Site::existing(context, server)).is_ok(), "{error}");
        assert!(error.to_string().contains(server), "{error}");
    }
    let moved = ask("admin@staging", "https://10.0.0.6:6443").expect_err("moved").to_string();
    assert!(moved.contains("says that this context leads to https://10.0.0.5:6443"), "{moved}");
}

#[test]
fn an_agent_gets_the_lesser_of_what_matrix_and_operator_give() {
    let text = "agents:\n  - {id: reader, access: read-case}\n  - {id: chief, clusters: [there], access: edit-cluster}\n\
                access:\n  - {name: on-call, rules: [{apiGroups: [''], resources: [nodes, pods], verbs: [patch]}]}\n";
    let grants = Grants::parse(&Source::new("grants.yaml", text)).expect("valid");
    let (there, made) = (Site::existing("there", "https://a"), Site::made("local"));
    let may = |agent, asked, site, method, target| {
        let power = grants.agent(agent, asked, site).expect("an access");
        power.policy("c-1").decide(&ask(method, target)).is_ok()
    };
    let (pod, node) = ("/api/v1/namespaces/c-1/pods/a", "/api/v1/nodes/n");
    // agent, asked, where, patches a pod of the case, patches a node
    for (agent, asked, site, patches_pod, patches_node) in [
        ("any", "edit-case", there, true, false),
        ("any", "edit-cluster", there, true, false),
        ("any", "edit-cluster", made, true, true),
        ("any", "read-case", there, false, false),
        ("any", "on-call", there, true, false),
        ("any", "on-call", made, true, false),
        ("reader", "edit-cluster", there, false, false),
        ("reader", "edit-case", made, false, false),
        ("chief", "edit-cluster", there, true, true),
        ("chief", "read-case", there, false, false),
        ("chief", "on-call", there, true, false),
    ] {
        let name = format!("{agent} {asked} {site:?}");
        assert_eq!(may(agent, asked, site, "PATCH", pod), patches_pod, "{name}");
        assert_eq!(may(agent, asked, site, "PATCH", node), patches_node, "{name}");
        assert!(may(agent, asked, site, "GET", pod) || asked == "on-call", "{name}");
    }
    let narrowed = grants.agent("any", "edit-cluster", there).expect("an access");
    assert_eq!((narrowed.granted.as_str(), narrowed.lacking.is_empty()), ("edit-case", false));
    let lines = gate::agent_stanza("any", "edit-cluster", there);
    let pasted = Grants::parse(&Source::new("grants.yaml", lines)).expect("the lines can be pasted");
    assert!(pasted.agent("any", "edit-cluster", there).expect("an access").lacking.is_empty());
}

#[test]
fn an_imported_package_is_known_by_its_digest_alone() {
    let entry = |digest: &str| {
        let text = format!("failures: [{{id: x, {digest} unsafe: [exec]}}]");
        Grants::parse(&Source::new("grants.yaml", text)).expect("valid")
    };
    let granted = |grants: &Grants, imported| {
        let package = Package { id: "x", digest: DIGEST, imported };
        grants.failure(package, Site::made("local")).allows(Hazard::Exec)
    };
    let none = entry("");
    assert!(granted(&none, false) && !granted(&none, true));
    let this = entry(&format!("digest: \"{DIGEST}\","));
    assert!(granted(&this, false) && granted(&this, true));
    let other = entry(&format!("digest: \"sha256:{}\",", "0".repeat(64)));
    assert!(!granted(&other, false) && !granted(&other, true));
}

#[test]
fn the_limits_of_a_cluster_are_objects_that_hold_them() {
    let grants = example();
    let site = Site::existing("admin@staging", "https://10.0.0.5:6443");
    let objects = grants.cluster(site).expect("named").expect("an entry").limit_objects("c-1");
    let [quota, range] = objects.as_slice() else { panic!("{objects:?}") };
    assert_eq!((&quota["kind"], &quota["metadata"]["namespace"]), (&"ResourceQuota".into(), &"c-1".into()));
    assert_eq!(
        quota["spec"]["hard"],
        serde_json::json!({"pods": "20", "requests.cpu": "4", "limits.cpu": "4", "requests.memory": "8Gi",
                           "limits.memory": "8Gi"})
    );
    assert_eq!(
        range["spec"]["limits"][0],
        serde_json::json!({"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"},
                           "defaultRequest": {"cpu": "62m", "memory": "128Mi"}})
    );
    let policy = gate::Policy::everything().within_limits();
    for resource in ["resourcequotas", "limitranges"] {
        let all = format!("/api/v1/namespaces/c-1/{resource}");
        let held = format!("{all}/namespace-limits");
        for (method, target) in [("DELETE", &held), ("PUT", &held), ("PATCH", &held), ("DELETE", &all)] {
            let denial = policy.decide(&ask(method, target)).expect_err("held");
            let (said, shown) = (denial.explain("x", "c-1"), denial.in_kubernetes_words("user"));
            assert!(said.contains("holds the limits") && shown.contains("forbidden"), "{said} {shown}");
        }
        for (method, target) in [("GET", &held), ("GET", &all), ("DELETE", &format!("{all}/mine")), ("POST", &all)] {
            assert!(policy.decide(&ask(method, target)).is_ok(), "{method} {target}");
        }
    }
    let without = ClusterGrant { context: "a".into(), server: "https://a".into(), limits: Default::default() };
    assert!(without.limit_objects("c-1").is_empty());
}

#[test]
fn lines_that_are_told_can_be_pasted_and_are_enough() {
    let declared = gate::Power::from(&capabilities());
    for (grants, site, imported) in [
        (Grants::default(), Site::made("local"), false),
        (Grants::default(), Site::existing("admin@staging", "https://a"), true),
        (example(), Site::made("admin@staging"), false),
    ] {
        let package = Package { id: "oom-killed", digest: DIGEST, imported };
        let granted = grants.failure(package, site);
        let told = granted.lines_for(&declared).expect("something is lacking");
        let (place, lines) = told.split_once('\n').expect("a place and lines");
        let text = if granted.listed() {
            assert_eq!(place, "its entry in the operator's grants file lacks");
            format!("failures:\n- id: oom-killed\n  digest: {DIGEST}\n  {}", lines.replace('\n', "\n  "))
        } else {
            lines.to_owned()
        };
        let mut pasted = Grants::parse(&Source::new("grants.yaml", &text)).expect(&text);
        pasted.failures.extend(grants.failures.clone());
        assert_eq!(pasted.failure(package, site).lines_for(&declared), None, "{told}");
    }
}

mod laws {
    use gate::{Power, Rule};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn words(from: &'static [&'static str], least: usize) -> impl Strategy<Value = Vec<String>> {
        subsequence(from.to_vec(), least..=2).prop_map(|words| words.into_iter().map(str::to_owned).collect())
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let resources = (
            words(&["", "apps", "*"], 1),
            words(&["pods", "pods/log", "deployments", "*", "*/scale"], 1),
            words(&["a", "b"], 0),
            words(&["get", "patch", "*"], 1),
            words(&["$(case)", "other", "*"], 1),
        );
        let resources = resources.prop_map(|(api_groups, resources, resource_names, verbs, namespaces)| Rule {
            api_groups,
            resources,
            resource_names,
            verbs,
            namespaces,
            ..Rule::default()
        });
        let paths = (words(&["/metrics", "/logs/*", "/logs/x", "*"], 1), words(&["get", "post", "*"], 1));
        let paths = paths.prop_map(|(urls, verbs)| Rule { non_resource_urls: urls, verbs, ..Rule::default() });
        prop_oneof![4 => resources, 1 => paths]
    }

    fn power() -> impl Strategy<Value = Power> {
        let hazards = select(vec![vec![], vec![gate::Hazard::Exec], vec![gate::Hazard::Exec, gate::Hazard::Rbac]]);
        (proptest::collection::vec(rule(), 0..4), hazards)
            .prop_map(|(rules, hazards)| Power { rules, hazards: hazards.into_iter().collect() })
    }

    fn together(one: &Power, other: &Power) -> Power {
        let rules = one.rules.iter().chain(&other.rules).cloned().collect();
        Power { rules, hazards: one.hazards.union(&other.hazards).copied().collect() }
    }

    proptest! {
        /// What is lacking, once granted, is all that was lacking; it was declared, and none of it was granted.
        #[test]
        fn what_is_lacking_is_exactly_the_rest(declared in power(), granted in power()) {
            let lacking = declared.lacking(&granted);
            prop_assert!(declared.lacking(&together(&granted, &lacking)).is_empty());
            prop_assert!(lacking.lacking(&declared).is_empty());
            prop_assert_eq!(lacking.lacking(&granted).is_empty(), lacking.is_empty());
            prop_assert!(declared.lacking(&declared).is_empty());
            for rule in &lacking.rules {
                let one = Power { rules: vec![rule.clone()], ..Power::default() };
                prop_assert!(!one.lacking(&granted).is_empty());
            }
        }
    }
}
