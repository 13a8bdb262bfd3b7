//! Policies: intersection is exact, profiles give what they say, denials name the line to add.

use gate::{Access, Attributes, Hazard, Policy, Power, Rule, attributes, default_grants, effective};
use http::Uri;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn ask(method: &str, target: &str) -> Attributes {
    attributes(&method.parse().expect("a method"), &target.parse::<Uri>().expect("a URI")).expect("attributes")
}

fn words(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(of, 0..=of.len().min(3)).prop_map(|w| w.into_iter().map(str::to_owned).collect())
}

prop_compose! {
    fn rule()(
        api_groups in words(&["", "apps", "*"]),
        resources in words(&["pods", "pods/log", "*/log", "deployments", "*/scale", "*"]),
        resource_names in words(&["a", "b"]),
        verbs in words(&["get", "list", "create", "*"]),
        namespaces in words(&["c-1", "c-2", "*"]),
        non_resource_urls in words(&["/metrics", "/logs/*", "/logs/x", "*"]),
    ) -> Rule {
        Rule { api_groups, resources, resource_names, verbs, namespaces, non_resource_urls }
    }
}

prop_compose! {
    fn question()(
        verb in select(&["get", "list", "create", "update"][..]),
        group in select(&["", "apps", "batch"][..]),
        resource in select(&["pods", "deployments", "jobs"][..]),
        subresource in select(&["", "log", "scale"][..]),
        namespace in select(&["c-1", "c-2", "c-3", ""][..]),
        name in select(&["a", "b", "c", ""][..]),
        path in select(&["/metrics", "/logs/x", "/logs/y", "/other"][..]),
        is_resource in proptest::bool::weighted(0.8),
    ) -> Attributes {
        let text = |s: &str| if is_resource { s.to_owned() } else { String::new() };
        Attributes {
            verb: verb.to_owned(), group: text(group), resource: text(resource), subresource: text(subresource),
            namespace: text(namespace), name: text(name), version: text("v1"), path: path.to_owned(), is_resource,
            query: Vec::new(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn effective_allows_exactly_what_both_sides_allow(
        declared in proptest::collection::vec(rule(), 0..4),
        granted in proptest::collection::vec(rule(), 0..4),
        questions in proptest::collection::vec(question(), 1..20),
    ) {
        let both = effective(&declared, &granted);
        let (declared, granted) = (Policy::new(declared), Policy::new(granted));
        for q in &questions {
            let expected = declared.decide(q).is_ok() && granted.decide(q).is_ok();
            prop_assert_eq!(both.decide(q).is_ok(), expected, "{:?}", q);
        }
    }
}

#[test]
fn exec_needs_create_and_a_word_of_its_own() {
    let get_only = Rule::resources(&[""], &["pods/exec", "nodes/proxy"], &["get"], &["*"]);
    let create = Rule::resources(&[""], &["pods/exec", "pods/attach", "nodes/proxy"], &["create"], &["*"]);
    let questions = [
        ask("GET", "/api/v1/namespaces/c-1/pods/a/exec"),
        ask("POST", "/api/v1/namespaces/c-1/pods/a/exec"),
        ask("GET", "/api/v1/nodes/n/proxy/run"),
    ];
    let with = |rule: &Rule, hazards: &[Hazard]| {
        Policy::from_power(Power { rules: vec![rule.clone()], hazards: hazards.iter().copied().collect() })
    };
    let both = [Hazard::Exec, Hazard::Irreversible];
    for q in &questions {
        assert!(with(&get_only, &both).decide(q).is_err(), "{q:?}");
        assert!(Policy::new(vec![create.clone()]).decide(q).is_err(), "{q:?}");
        assert!(with(&create, &both).decide(q).is_ok(), "{q:?}");
        // Nobody can undo what a command did; reading through a proxy does nothing.
        let only_reads = q.subresource == "proxy";
        assert_eq!(with(&create, &[Hazard::Exec]).decide(q).is_ok(), only_reads, "{q:?}");
    }
    let changes = ask("POST", "/api/v1/nodes/n/proxy/run");
    assert!(with(&create, &[Hazard::Exec]).decide(&changes).is_err());
    assert!(with(&create, &both).decide(&changes).is_ok());
}

#[test]
fn no_profile_reads_secrets_outside_the_case() {
    let ways = [
        ("GET", "/api/v1/namespaces/kube-system/secrets"),
        ("GET", "/api/v1/namespaces/kube-system/secrets/s"),
        ("GET", "/api/v1/namespaces/kube-system/secrets/s?watch=1"),
        ("HEAD", "/api/v1/namespaces/kube-system/secrets/s"),
        ("GET", "/api/v1/namespaces/kube-system/secrets?watch=1"),
        ("GET", "/api/v1/namespaces/kube-system/secrets?fieldSelector=metadata.name%3Ds"),
        ("GET", "/api/v1/secrets"),
        ("GET", "/api/v1/secrets?labelSelector=a%3Db"),
        ("GET", "/api/v1/secrets?fieldSelector=metadata.namespace%3Dc-1"),
        ("GET", "/api/v1/secrets?watch=true"),
        ("GET", "/api/v1/watch/secrets"),
        ("GET", "/api/v1/watch/namespaces/kube-system/secrets"),
        ("GET", "/api/v1/watch/namespaces/kube-system/secrets/s"),
        ("POST", "/api/v1/namespaces/kube-system/secrets"),
        ("PATCH", "/api/v1/namespaces/kube-system/secrets/s"),
        ("DELETE", "/api/v1/namespaces/kube-system/secrets"),
        ("POST", "/api/v1/namespaces/kube-system/serviceaccounts/default/token"),
        ("GET", "/api/v1/namespaces/kube-system/pods/p/exec?command=cat"),
        ("POST", "/api/v1/namespaces/kube-system/pods/p/attach"),
        ("GET", "/api/v1/nodes/n/proxy/pods"),
        ("GET", "/api/v1/nodes/n:10250/proxy/run/kube-system/p/c"),
        ("GET", "/logs/pods"),
    ];
    for access in [Access::ReadCase, Access::EditCase, Access::EditCluster] {
        let policy = access.policy("c-1");
        for (method, target) in ways {
            assert!(policy.decide(&ask(method, target)).is_err(), "{access}: {method} {target}");
        }
    }
}

#[test]
fn rules_without_a_namespace_allow_nothing_until_resolved() {
    let rule = Rule { namespaces: Vec::new(), ..Rule::resources(&[""], &["pods"], &["get"], &[]) };
    let question = ask("GET", "/api/v1/namespaces/c-1/pods/a");
    assert!(Policy::new(vec![rule.clone()]).decide(&question).is_err());
    assert!(Policy::new(vec![rule.in_case("c-1")]).decide(&question).is_ok());
    assert!(Policy::new(vec![rule.in_case("c-2")]).decide(&question).is_err());
}

/// method, target, allowed under read-case, edit-case, edit-cluster
type Row = (&'static str, &'static str, [bool; 3]);

const PROFILES: &[Row] = &[
    ("GET", "/version", [true, true, true]),
    ("GET", "/apis", [true, true, true]),
    ("GET", "/openapi/v3", [true, true, true]),
    ("GET", "/metrics", [false, false, false]),
    ("GET", "/api/v1/namespaces/c-1/pods", [true, true, true]),
    ("GET", "/api/v1/namespaces/c-1/pods/a/log?follow=1", [true, true, true]),
    ("GET", "/apis/apps/v1/namespaces/c-1/deployments?watch=1", [true, true, true]),
    ("GET", "/apis/apps/v1/namespaces/c-1/deployments/web/scale", [true, true, true]),
    ("GET", "/api/v1/namespaces/c-1/events", [true, true, true]),
    ("GET", "/api/v1/nodes", [true, true, true]),
    ("GET", "/api/v1/namespaces/c-1", [true, true, true]),
    ("GET", "/api/v1/namespaces", [false, false, true]),
    ("GET", "/api/v1/namespaces/other/pods", [false, false, true]),
    ("GET", "/api/v1/pods", [false, false, true]),
    ("GET", "/api/v1/namespaces/c-1/secrets/s", [false, true, true]),
    ("GET", "/api/v1/namespaces/other/secrets/s", [false, false, false]),
    ("GET", "/api/v1/secrets", [false, false, false]),
    ("POST", "/api/v1/namespaces/c-1/pods", [false, true, true]),
    ("POST", "/api/v1/namespaces/c-1/pods/a/exec", [false, true, true]),
    ("POST", "/api/v1/namespaces/other/pods/a/exec", [false, false, false]),
    ("POST", "/api/v1/namespaces/other/pods/a/portforward", [false, false, true]),
    ("POST", "/api/v1/namespaces/c-1/services/web/proxy/login", [false, true, true]),
    ("DELETE", "/api/v1/persistentvolumes/v", [false, false, false]),
    ("DELETE", "/api/v1/nodes/n", [false, false, false]),
    ("POST", "/api/v1/namespaces/c-1/pods/a/eviction", [false, true, true]),
    ("PATCH", "/apis/apps/v1/namespaces/c-1/deployments/web", [false, true, true]),
    ("PATCH", "/apis/apps/v1/namespaces/other/deployments/web", [false, false, true]),
    ("POST", "/api/v1/namespaces/c-1/serviceaccounts/a/token", [false, false, false]),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/c-1/roles", [false, false, false]),
    ("DELETE", "/api/v1/namespaces/c-1", [false, false, false]),
    ("PATCH", "/api/v1/nodes/n", [false, false, true]),
    ("GET", "/api/v1/nodes/n/proxy/configz", [false, false, false]),
];

#[test]
fn profiles_give_what_they_say() {
    let policies = [Access::ReadCase, Access::EditCase, Access::EditCluster].map(|a| a.policy("c-1"));
    for (method, target, expected) in PROFILES {
        let question = ask(method, target);
        let found = [0, 1, 2].map(|i: usize| policies[i].decide(&question).is_ok());
        assert_eq!(&found, expected, "{method} {target}");
    }
}

#[test]
fn default_grants_stay_in_the_case() {
    let policy = Policy::from_power(default_grants().in_case("c-1"));
    let allowed = |method, target| policy.decide(&ask(method, target)).is_ok();
    assert!(allowed("PATCH", "/apis/apps/v1/namespaces/c-1/deployments/web"));
    assert!(allowed("POST", "/api/v1/namespaces/c-1/secrets"));
    assert!(allowed("GET", "/api/v1/nodes/n"));
    assert!(!allowed("GET", "/api/v1/namespaces/kube-system/secrets/s"));
    assert!(!allowed("PATCH", "/apis/apps/v1/namespaces/kube-system/deployments/coredns"));
    assert!(!allowed("PATCH", "/api/v1/nodes/n"));
    assert!(!allowed("POST", "/api/v1/namespaces/c-1/pods/a/exec"));
}

#[test]
fn denials_name_the_line_to_add_and_where() {
    let declared = Rule::resources(&["apps"], &["deployments"], &["get"], &["c-1"]);
    let granted = Rule::resources(&["apps"], &["deployments"], &["*"], &["c-1"]);
    let power = |rule: Rule| Power { rules: vec![rule], ..Power::default() };
    let question = ask("PATCH", "/apis/apps/v1/namespaces/c-1/deployments/web");
    let line =
        "- {apiGroups: [apps], resources: [deployments], resourceNames: [web], verbs: [patch], namespaces: [$(case)]}";

    let policy = Policy::intersection(power(declared.clone()), power(granted.clone()));
    let text = policy.decide(&question).expect_err("a denial").explain("failure `x`", "c-1");
    assert!(text.starts_with("failure `x` may not patch deployments.apps \"web\" in namespace c-1"), "{text}");
    assert!(text.contains("metadata.yaml") && text.contains(line), "{text}");
    // What the denial says must help.
    let added: Rule = Rule {
        resource_names: vec!["web".into()],
        ..Rule::resources(&["apps"], &["deployments"], &["patch"], &["$(case)"])
    };
    let mut more = power(declared);
    more.rules.push(added.in_case("c-1"));
    assert!(Policy::intersection(more.clone(), power(granted)).decide(&question).is_ok());

    let text =
        Policy::intersection(more, Power::default()).decide(&question).expect_err("a denial").explain("x", "c-1");
    assert!(text.contains("grants file") && text.contains(line), "{text}");
}

#[test]
fn agents_hear_the_words_of_kubernetes() {
    let policy = Access::ReadCase.policy("c-1");
    let words = |method, target| policy.decide(&ask(method, target)).expect_err("a denial").in_kubernetes_words("user");
    assert_eq!(
        words("POST", "/apis/apps/v1/namespaces/c-1/deployments"),
        "deployments.apps is forbidden: User \"user\" cannot create resource \"deployments\" in API group \"apps\" in the \
         namespace \"c-1\""
    );
    assert_eq!(
        words("GET", "/api/v1/namespaces"),
        "namespaces is forbidden: User \"user\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope"
    );
    assert_eq!(words("GET", "/metrics"), "forbidden: User \"user\" cannot get path \"/metrics\"");
}
