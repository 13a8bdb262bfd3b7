//! Matrices as people write them: the examples, every kind of mistake, and the expansion as properties.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use matrix::{Known, Matrix};
use model::Objective;
use proptest::prelude::*;
use serde_json::json;
use yaml::{Diagnostics, Source};

const OLD_FORM: &str = "\
name: regression
description: Standard regression tests for CI
clusters:
  - id: local
    provisioner: embedded
    template: single-node
failures:
  - crashloopbackoff
  - oom-killed
agents:
  - triage
  - idle
execution:
  parallel_clusters: 1
  parallel_tests_per_cluster: 1
  timeout_per_test: 10m
";

/// The example of the formats, word for word.
const FORMATS: &str = "\
# matrices/regression.yaml
name: regression
description: Standard regression tests for CI
clusters:
  - {id: local, provisioner: embedded, template: single-node}
  - {id: staging, provisioner: stub, kubeconfig: ~/.kube/staging.yaml, context: admin@staging}
failures:                       # ids, or objects; `name` tells two uses of one failure apart in case ids
  - crashloopbackoff
  - {id: oom-killed, name: oom-40, params: {memory: 40Mi}}
  - no-fault
agents:                         # ids, or objects; args append; command and env can't be overridden here
  - {id: claude, name: claude-opus, args: [--model, opus]}
  - {id: idle, control: true}   # controls never decide; one that passes makes that failure's cases invalid
objective: both                 # diagnose (default) | mitigate | both
agent_access: edit-case         # read-case | edit-case (default) | edit-cluster, or a name from the grants file
exclude: [{cluster: staging, failure: oom-40}]
accept:                         # absent: every case must pass
  min_pass_rate: 0.8            # per agent
  max_unjudged: 0.1             # invalid + error + skipped
  baseline: ci/baseline.json    # from `runs export --baseline`
  max_drop: 0.1
execution:
  parallel_clusters: 2          # default 1
  parallel_tests_per_cluster: 1
  timeout_per_test: 10m
  repeats: 3
  retries: 1                    # infrastructure errors only, never a verdict
  max_cost_usd: 20
";

fn known() -> Known {
    let words = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
    Known {
        failures: words(&["crashloopbackoff", "oom-killed", "image-pull-error", "no-fault"]),
        agents: words(&["triage", "idle", "claude"]),
        provisioners: words(&["embedded", "stub", "kind"]),
        template: Some(Arc::new(|provisioner, template| {
            let known =
                matches!((provisioner, template), ("embedded", "single-node") | ("kind", "kindest/node:v1.36.0"));
            (!known).then(|| format!("provisioner `{provisioner}` has no template `{template}`"))
        })),
        access: words(&["read-case", "edit-case", "edit-cluster", "on-call"]),
        params: Some(Arc::new(|_, params: &BTreeMap<String, serde_json::Value>| {
            let wrong = |(name, value): (&String, &serde_json::Value)| {
                (!value.is_string()).then(|| (name.clone(), "expected text".to_owned()))
            };
            params.iter().filter_map(wrong).collect()
        })),
        ..Known::default()
    }
}

fn parse(text: &str) -> Result<Matrix, Diagnostics> {
    Matrix::parse(&Source::new("m.yaml", text), &known())
}

#[track_caller]
fn assert_errors(text: &str, expected: &[&str]) {
    let found = parse(text).expect_err("an invalid matrix");
    let shown = found.to_string();
    let errors: Vec<_> = found.iter().filter(|one| one.severity == yaml::Severity::Error).collect();
    assert_eq!(errors.len(), expected.len(), "for {text}:\n{shown}");
    for (one, expected) in errors.iter().zip(expected) {
        let (place, part) = expected.split_once(' ').expect("place and part");
        let (line, column) = one.location().unwrap_or_default();
        assert_eq!(format!("{line}:{column}"), place, "place of {one}\n{shown}");
        assert!(one.to_string().contains(part), "{part:?} is not in {one}");
    }
}

#[test]
fn the_older_form_is_valid_as_it_stands() {
    let matrix = parse(OLD_FORM).expect("valid");
    assert!(matrix.warnings.is_empty(), "{}", matrix.warnings);
    assert_eq!(matrix.objective, Objective::Diagnose);
    let ids: Vec<String> = matrix.cases().map(|case| case.id.to_string()).collect();
    assert_eq!(
        ids,
        [
            "local--crashloopbackoff--triage",
            "local--crashloopbackoff--idle",
            "local--oom-killed--triage",
            "local--oom-killed--idle"
        ]
    );
}

#[test]
fn the_example_of_the_formats_is_valid() {
    let matrix = parse(FORMATS).expect("valid");
    assert_eq!(matrix.case_count(), 2 * 3 * 2 * 3 - 2 * 3);
    let staging = &matrix.clusters[1];
    assert_eq!(staging.kubeconfig.as_deref(), Some("~/.kube/staging.yaml"));
    assert_eq!(staging.context.as_deref(), Some("admin@staging"));
    assert_eq!(matrix.failures[1].name.as_str(), "oom-40");
    assert_eq!(matrix.failures[1].params, BTreeMap::from([("memory".to_owned(), json!("40Mi"))]));
    assert_eq!(matrix.agents[0].args, ["--model", "opus"]);
    assert!(matrix.agents[1].control);
    let accept = matrix.accept.expect("asked");
    assert_eq!((accept.min_pass_rate, accept.max_unjudged, accept.max_drop), (Some(0.8), Some(0.1), Some(0.1)));
    assert_eq!(accept.baseline.map(|file| file.path), Some("ci/baseline.json".into()));
    let execution = matrix.execution;
    assert_eq!((execution.parallel_clusters, execution.retries, execution.max_cost_usd), (2, 1, Some(20.0)));
    assert!(matrix.warnings.is_empty(), "{}", matrix.warnings);
}

#[test]
fn every_mistake_is_named_at_once() {
    assert_errors(
        "\
name: My Matrix
clusters:
  - {id: local, provisioner: embeded}
  - {id: local2, provisioner: k0rdent}
failures:
  - oom-kiled
  - crashloopbackoff
  - crashloopbackoff
  - {id: no-fault, parms: {}}
agents: []
agent: [triage]
objective: solve
execution: {timeout_per_test: 600, repeats: 0}
",
        &[
            "1:7 `My Matrix` is not an id",
            "3:30 did you mean `embedded`?",
            "4:31 provisioner `k0rdent` is not available in this version; available: embedded, stub, kind",
            "6:5 did you mean `oom-killed`?",
            "8:5 failure `crashloopbackoff` is here twice; it is first on line 7",
            "9:20 unknown key `parms` in a failure",
            "10:9 this list is empty",
            "11:1 did you mean `agents`?",
            "12:12 `solve` is not one of the words",
            "13:31 `600s` for seconds",
            "13:45 a whole number from 1 to 1000000",
        ],
    );
}

#[test]
fn broken_yaml_hides_nothing() {
    assert_errors(
        "\
name: m
clusters:
	- {id: local, provisioner: embedded}
failures: [oom-killed, nothing]
agents: &a [*a]
name: again
",
        &[
            "3:1 indented with a tab",
            "4:24 there is no failure `nothing`",
            "5:13 inside the value that it refers to",
            "6:1 the key `name` is here twice",
        ],
    );
    assert_errors(
        "name: m\nclusters:\n  - {id: local, provisioner: embeded}\nfailures:\n  - oom-kiled\n\t- no-falt\nagents: [triage]\n",
        &["3:30 `embedded`", "5:5 `oom-killed`", "6:1 indented with a tab", "6:4 `no-fault`"],
    );
    let mut bomb = String::from("name: m\na: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (this, last) in [('b', 'a'), ('c', 'b'), ('d', 'c'), ('e', 'd'), ('f', 'e')] {
        bomb.push_str(&format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 10].join(", ")));
    }
    bomb.push_str("failures: *f\nagents: [triag]\n");
    let shown = parse(&bomb).expect_err("a bomb").to_string();
    assert_eq!(shown.matches("alias bomb").count(), 1, "{shown}");
    assert!(shown.contains("did you mean `triage`?"), "{shown}");
    assert!(shown.contains("a matrix needs the key `clusters`"), "{shown}");
}

#[test]
fn wrong_types_and_shapes() {
    assert_errors("[]", &["1:1 expected a matrix as `key: value` lines, found a list"]);
    assert_errors(
        "name: 5\nclusters: local\nfailures: {id: oom-killed}\nagents: [7, [x]]\n",
        &[
            "1:7 put it in quotes",
            "2:11 write `[local]`",
            "3:11 expected a list",
            "4:10 expected text, found the number 7",
            "4:13 expected text, found a list",
        ],
    );
    assert_errors(
        "name: m\nclusters: [local]\nfailures: [oom-killed]\nagents: [triage]\n",
        &["2:12 a cluster is a mapping"],
    );
    assert_errors(
        "name: m\nclusters: [{id: local, provisioner: embedded, kubeconfig: x, template: big}]\nfailures: [oom-killed]\nagents: [triage]\n",
        &["2:59 goes with existing clusters", "2:72 no template `big`"],
    );
    assert_errors(
        "name: m\nclusters: [{id: there, provisioner: stub, template: big, context: ''}]\nfailures: [oom-killed]\nagents: [triage]\n",
        &["2:53 `template` goes with clusters that are made", "2:67 must not be empty"],
    );
    assert_errors(
        "name: m\nclusters: [{id: a, provisioner: k0rdent}]\nfailures: [oom-killed]\nagents: [triage]\n",
        &["2:33 provisioner `k0rdent` is not available in this version; available: embedded, stub, kind"],
    );
    assert_errors(
        "name: m\nclusters: [{id: a, provisioner: kind, kubeconfig: x, template: /etc/kind.yaml}]\nfailures: [oom-killed]\nagents: [triage]\n",
        &["2:51 goes with existing clusters", "2:64 provisioner `kind` has no template `/etc/kind.yaml`"],
    );
    let fits = OLD_FORM.replace(
        "    provisioner: embedded\n    template: single-node\n",
        "    provisioner: kind\n    template: kindest/node:v1.36.0\n",
    );
    assert_eq!(parse(&fits).expect("valid").clusters[0].template.as_deref(), Some("kindest/node:v1.36.0"));
}

#[test]
fn an_existing_cluster_needs_no_more_than_its_provisioner() {
    let text = OLD_FORM.replace("    provisioner: embedded\n    template: single-node\n", "    provisioner: stub\n");
    let matrix = parse(&text).expect("valid");
    let cluster = &matrix.clusters[0];
    assert_eq!((&cluster.kubeconfig, &cluster.context, &cluster.template), (&None, &None, &None));
}

#[test]
fn access_has_a_profile_or_a_name_from_the_grants_file() {
    let with = |access: &str| format!("{OLD_FORM}agent_access: {access}\n");
    assert_eq!(parse(&with("on-call")).expect("valid").agent_access.as_deref(), Some("on-call"));
    assert_errors(&with("on-cal"), &["17:15 did you mean `on-call`?"]);
    assert_errors(&with("root"), &["17:15 `edit-cluster`, `on-call`"]);
}

#[test]
fn a_matrix_cannot_say_how_an_agent_is_started() {
    let text = OLD_FORM.replace("  - triage\n", "  - {id: triage, command: [sh], args: [1, true]}\n");
    assert_errors(&text, &["11:18 `command` cannot be set in a matrix"]);
}

#[test]
fn parameters_are_checked_where_they_stand() {
    let text = OLD_FORM.replace("  - oom-killed\n", "  - {id: oom-killed, params: {memory: 40Mi, n: 3}}\n");
    assert_errors(&text, &["9:45 parameter `n` of `oom-killed`: expected text"]);
}

#[test]
fn excludes_refer_to_what_is_there() {
    let with = |exclude: &str| format!("{OLD_FORM}exclude: {exclude}\n");
    assert_errors(&with("[{failure: oom-kiled}]"), &["17:21 did you mean `oom-killed`?"]);
    assert_errors(&with("[{}]"), &["17:11 would exclude every case"]);
    assert_errors(&with("[{cluster: local}]"), &["17:10 every case is excluded"]);
    assert_eq!(parse(&with("[{agent: idle}]")).expect("valid").case_count(), 2);
}

#[test]
fn what_is_there_but_broken_says_why() {
    let mut known = known();
    known.unusable_failures.insert("mine".to_owned(), "run `harness-cli failures build failures/mine`".to_owned());
    known.agent_serves = Some(Arc::new(|id, objective| {
        (id == "triage" && objective != Objective::Diagnose).then(|| format!("agent `{id}` cannot `{objective}`"))
    }));
    let text = OLD_FORM.replace("oom-killed", "mine") + "objective: mitigate\n";
    let shown = Matrix::parse(&Source::new("m.yaml", &text), &known).expect_err("unusable").to_string();
    assert!(shown.contains("m.yaml:9:5: failure `mine` cannot be used\n  help: run `harness-cli"), "{shown}");
    assert!(shown.contains("m.yaml:11:5: agent `triage` cannot `mitigate`"), "{shown}");
}

#[test]
fn a_million_cases_take_no_memory() {
    let mut text = String::from("name: big\nclusters:\n");
    for i in 0..100 {
        text.push_str(&format!("  - {{id: c{i}, provisioner: embedded}}\n"));
    }
    text.push_str("failures:\n");
    for i in 0..100 {
        text.push_str(&format!("  - {{id: oom-killed, name: f{i}}}\n"));
    }
    text.push_str("agents: [triage, idle]\nexecution: {repeats: 50}\n");
    let matrix = parse(&text).expect("valid");
    assert_eq!(matrix.case_count(), 1_000_000);
    let last = matrix.cases().enumerate().last().map(|(index, case)| (index, case.id.to_string()));
    assert_eq!(last, Some((999_999, "c99--f99--idle.r50".to_owned())));
}

#[test]
fn the_matrices_of_the_repository_are_valid() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../matrices");
    let files = |root: &str| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(root).expect("the folder").map(|entry| entry.expect("an entry").path()).collect()
    };
    let name = |path: &std::path::PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    let mut known = known();
    known.failures = files(concat!(env!("CARGO_MANIFEST_DIR"), "/../../failures")).iter().map(name).collect();
    known.params = None;
    let mut seen = 0;
    for entry in files(root) {
        // What an operator grants lies beside the matrix that it is for.
        if name(&entry).ends_with(".grants.yaml") {
            continue;
        }
        let source = Source::read(&entry).expect("readable");
        let matrix = Matrix::parse(&source, &known).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(matrix.warnings.is_empty(), "{}", matrix.warnings);
        assert_eq!(entry.file_stem().and_then(|stem| stem.to_str()), Some(matrix.name.as_str()));
        seen += 1;
    }
    assert!(seen >= 4, "quickstart, regression, comparative, legacy");
}

#[test]
fn the_schema_knows_every_key() {
    let schema = matrix::schema();
    for key in ["name", "clusters", "failures", "agents", "objective", "agent_access", "exclude", "accept", "execution"]
    {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], json!(false));
}

type Triple = (Option<usize>, Option<usize>, Option<usize>);

fn small() -> impl Strategy<Value = (usize, usize, usize, u32, Vec<Triple>)> {
    let index = || prop::option::of(0usize..5);
    (1usize..5, 1usize..5, 1usize..5, 1u32..4, prop::collection::vec((index(), index(), index()), 0..4))
}

#[test]
fn a_baseline_lies_inside_the_folder_of_the_matrix() {
    let with = |accept: &str| {
        let text = "name: m\nclusters: [{id: c, provisioner: embedded}]\nfailures: [oom-killed]\nagents: [triage]\n";
        parse(&format!("{text}accept: {{{accept}}}\n"))
    };
    for path in ["../baseline.json", "/etc/passwd", "ci/../../x.json", "~/baseline.json"] {
        let errors = with(&format!("baseline: {path}")).expect_err("refused").to_string();
        assert!(errors.contains("m.yaml:5:20: ") && errors.contains("inside the folder"), "{errors}");
    }
    assert!(with("baseline: ./ci/baseline.json, max_drop: 0").is_ok());
    let errors = with("max_drop: 0.1").expect_err("nothing to drop from").to_string();
    assert!(errors.contains("`max_drop` needs a `baseline`"), "{errors}");
}

const BASELINE: &str = r#"{
  "schema": 1,
  "run_id": "0123abcd",
  "matrix": "m",
  "harness_version": "0.1.0",
  "scoring": 1,
  "prompt_digest": "sha256:1",
  "entries": [
    {"agent": "a", "cluster_kind": "embedded", "failure": "oom-killed", "digest": "sha256:2", "passed": 1, "judged": 2},
    {"agent": "a", "cluster_kind": "kind", "failure": "oom-killed", "digest": "sha256:2", "params": {"memory": "40Mi"},
     "passed": 0, "judged": 3}
  ]
}
"#;

#[test]
fn baselines_are_read_with_places() {
    let read = |text: &str| {
        let comparable = matrix::Comparable { scoring: 1, prompt_digest: "sha256:1" };
        matrix::read_baseline(&Source::new("b.json", text), comparable)
    };
    let baseline = read(BASELINE).expect("sound");
    assert_eq!((baseline.run_id.as_str(), baseline.entries.len()), ("0123abcd", 2));
    assert_eq!(baseline.entries[1].params, BTreeMap::from([("memory".to_owned(), json!("40Mi"))]));
    let again: model::Baseline = serde_json::from_str(BASELINE).expect("as serde reads it");
    assert_eq!(again, baseline);
    for (from, to, error) in [
        ("\"schema\": 1", "\"schema\": 2", "b.json:2:13: this is a baseline of version 2"),
        ("\"scoring\": 1", "\"scoring\": 9", "b.json:6:14: it was scored by rules 9"),
        ("sha256:1", "sha256:3", "b.json:7:20: its agents were asked something else"),
        ("\"passed\": 1", "\"passed\": 5", "b.json:9:105: 5 cannot have passed of 2"),
        ("\"embedded\"", "\"embeded\"", "embedded"),
        ("\"judged\": 3", "\"judgd\": 3", "judged"),
        ("  ]\n}", "", "b.json:"),
        ("\"entries\": [", "\"entries\": 3, \"x\": [", "b.json:8:14"),
    ] {
        assert!(BASELINE.contains(from), "{from}");
        let errors = read(&BASELINE.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(errors.contains(error), "{to}: {errors}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn expansion_is_ordered_complete_and_unique((c, f, a, repeats, excludes) in small()) {
        let mut text = String::from("name: m\nclusters:\n");
        (0..c).for_each(|i| text.push_str(&format!("  - {{id: c{i}, provisioner: embedded}}\n")));
        text.push_str("failures:\n");
        (0..f).for_each(|i| text.push_str(&format!("  - {{id: oom-killed, name: f{i}}}\n")));
        text.push_str("agents:\n");
        (0..a).for_each(|i| text.push_str(&format!("  - {{id: triage, name: a{i}}}\n")));
        text.push_str(&format!("execution: {{repeats: {repeats}}}\n"));
        let fits = |(x, y, z): &Triple| {
            (x.is_some() || y.is_some() || z.is_some())
                && x.is_none_or(|i| i < c) && y.is_none_or(|i| i < f) && z.is_none_or(|i| i < a)
        };
        let excludes: Vec<_> = excludes.into_iter().filter(fits).collect();
        if !excludes.is_empty() {
            text.push_str("exclude:\n");
            for (x, y, z) in &excludes {
                let part = |key: &str, letter: char, i: &Option<usize>| i.map(|i| format!("{key}: {letter}{i}"));
                let parts = [part("cluster", 'c', x), part("failure", 'f', y), part("agent", 'a', z)];
                text.push_str(&format!("  - {{{}}}\n", parts.into_iter().flatten().collect::<Vec<_>>().join(", ")));
            }
        }
        let mut expected = Vec::new();
        for x in 0..c { for y in 0..f { for z in 0..a {
            let out = excludes.iter().any(|(i, j, k)| i.is_none_or(|i| i == x) && j.is_none_or(|j| j == y) && k.is_none_or(|k| k == z));
            if !out {
                expected.extend((1..=repeats).map(|r| if r == 1 { format!("c{x}--f{y}--a{z}") } else { format!("c{x}--f{y}--a{z}.r{r}") }));
            }
        } } }
        match parse(&text) {
            Err(errors) => {
                prop_assert!(expected.is_empty(), "{}", errors);
                prop_assert!(errors.to_string().contains("every case is excluded"));
            }
            Ok(matrix) => {
                let cases: Vec<_> = matrix.cases().collect();
                let ids: Vec<String> = cases.iter().map(|case| case.id.to_string()).collect();
                prop_assert_eq!(&ids, &expected);
                prop_assert_eq!(matrix.case_count(), expected.len() as u64);
                prop_assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
                prop_assert!(matrix.groups().enumerate().all(|(i, group)| group.number == i as u64));
            }
        }
    }

    #[test]
    fn no_mutation_of_a_matrix_makes_it_panic(at in 0usize..600, junk in "[\\PC\n\t]{0,4}", cut in 0usize..6) {
        let mut text = FORMATS.to_owned();
        let start = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let end = (start + cut).min(text.len());
        text.replace_range(start..end, &junk);
        let _ = parse(&text).map_err(|errors| errors.pretty(false));
    }
}
