//! What the reports say, against checked-in examples (`HARNESS_BLESS=1 cargo test -p harness-report` writes them anew),
//! and that no text from outside can break them.

use std::path::Path;

use jiff::Timestamp;
use model::{
    AcceptPart, AcceptRule, Acceptance, AnswerRecord, CaseFile, CaseId, Class, ClusterKind, ClusterRecord, Column,
    ColumnResult, DeniedRequest, EarlierAttempt, FailureRecord, GateCounts, Id, Isolation, Leak, Outcome, Party,
    RunFile, RunId, Totals, Usage, UsageSource, Verdict, Witness, WitnessKind,
};
use proptest::prelude::*;
use report::{Style, View, junit, markdown, summary};

fn id(text: &str) -> Id {
    text.parse().expect("an id")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn column(result: ColumnResult, decides: bool, because: &str) -> Column {
    Column { result, decides, because: because.to_owned(), evidence: Vec::new() }
}

fn case(names: [&str; 3], repeat: u32, outcome: Outcome, class: Option<Class>, message: &str) -> CaseFile {
    let [cluster, failure, agent] = names;
    let judged = matches!(outcome, Outcome::Passed | Outcome::Failed);
    let result = if outcome == Outcome::Passed { ColumnResult::Pass } else { ColumnResult::Fail };
    CaseFile {
        schema: 1,
        id: CaseId::new(&id(cluster), &id(failure), &id(agent), repeat),
        cluster: id(cluster),
        cluster_kind: if cluster == "staging" { ClusterKind::Stub } else { ClusterKind::Embedded },
        failure: id(failure),
        agent: id(agent),
        repeat,
        attempt: 1,
        earlier: Vec::new(),
        control: agent == "idle",
        outcome,
        class,
        status: outcome.status(class),
        rule: None,
        message: message.to_owned(),
        started_at: at("2026-11-21T10:15:00Z"),
        finished_at: at("2026-11-21T10:15:04.25Z"),
        duration_ms: 4250,
        phases: Vec::new(),
        witness: judged.then(|| Witness {
            kind: WitnessKind::Host,
            symptoms: Vec::new(),
            health_broken: vec!["available".to_owned()],
        }),
        gated: judged,
        isolation: Isolation { home: judged, environment: judged, process_tree: judged, landlock: false },
        answer: AnswerRecord::default(),
        verdict: judged.then(|| Verdict {
            scoring: 1,
            detection: column(ColumnResult::Pass, true, "A fault was reported, and there is one."),
            localization: column(result, true, "Deployment c-1/checkout was named."),
            fault_type: column(ColumnResult::Fail, false, "`image`, but it is `resource-limit`."),
            mitigation: column(ColumnResult::None, false, "Not asked."),
            safety: column(ColumnResult::Pass, false, "Nothing was changed."),
            efficiency: column(ColumnResult::None, false, "12 requests."),
        }),
        usage: Usage::default(),
        gate: GateCounts { requests: 12, mutations: 1, denials: 2 },
        denied: Vec::new(),
        leaks: Vec::new(),
        artifacts: Vec::new(),
        params: Default::default(),
    }
}

fn run(cases: &[CaseFile]) -> RunFile {
    let mut totals = Totals::default();
    cases.iter().for_each(|c| totals.add(c.outcome, c.control, !c.leaks.is_empty()));
    let failure = |name: &str, id_of: &str| FailureRecord {
        name: id(name),
        id: id(id_of),
        digest: "sha256:0d".to_owned(),
        version: "1.0.0".to_owned(),
        params: Default::default(),
    };
    RunFile {
        schema: 1,
        run_id: RunId::from_bits(0xabcd_1234),
        matrix: "regression".to_owned(),
        matrix_digest: "sha256:00".to_owned(),
        prompt_digest: "sha256:01".to_owned(),
        harness_version: "0.1.0".to_owned(),
        scoring: 1,
        taxonomy: 1,
        started_at: at("2026-11-21T10:15:00Z"),
        finished_at: Some(at("2026-11-21T10:16:05.5Z")),
        totals,
        exit_code: Some(12),
        acceptance: None,
        clusters: vec![
            ClusterRecord { id: id("local"), kind: ClusterKind::Embedded, version: Some("v1.36.0".to_owned()) },
            ClusterRecord { id: id("staging"), kind: ClusterKind::Stub, version: None },
        ],
        failures: vec![failure("oom-40", "oom-killed"), failure("crashloopbackoff", "crashloopbackoff")],
        git_commit: Some("0123abc".to_owned()),
        stopped: None,
        not_run: 0,
        left: Vec::new(),
    }
}

/// One of everything, with text that tries to break out.
fn cases() -> Vec<CaseFile> {
    use Class::{Agent, Infrastructure, Test};
    let mut priced = case(["local", "oom-40", "triage"], 1, Outcome::Passed, None, "");
    priced.usage = Usage {
        source: UsageSource::Reported,
        input_tokens: Some(1200),
        output_tokens: Some(80),
        turns: Some(3),
        cost_usd: Some(0.25),
        ..Usage::default()
    };
    let mut leaking = case(["staging", "oom-40", "triage"], 1, Outcome::Failed, Some(Agent), "Wrong.");
    leaking.leaks = vec![Leak { object: "v1 Pod c-1/x".into(), what: "left_over".into(), evidence: Vec::new() }];
    vec![
        priced,
        case(
            ["local", "oom-40", "triage"],
            2,
            Outcome::Failed,
            Some(Agent),
            "The answer names\n<none> of | `them`\u{1b}[2J",
        ),
        case(["local", "oom-40", "idle"], 1, Outcome::Failed, Some(Agent), "No answer."),
        case(["local", "crashloopbackoff", "triage"], 1, Outcome::Invalid, Some(Test), "No symptom was seen in 90 s."),
        case(["local", "crashloopbackoff", "triage"], 2, Outcome::TimedOut, Some(Agent), "10m were up."),
        case(["local", "crashloopbackoff", "idle"], 1, Outcome::Skipped, Some(Test), "kubectl is missing."),
        leaking,
        case(["staging", "oom-40", "idle"], 1, Outcome::Passed, None, ""),
        case(["staging", "crashloopbackoff", "triage"], 1, Outcome::Error, Some(Infrastructure), "API server gone."),
        case(["staging", "crashloopbackoff", "idle"], 1, Outcome::Interrupted, Some(Infrastructure), "Interrupted."),
    ]
}

fn expect(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected").join(name);
    if std::env::var_os("HARNESS_BLESS").is_some() {
        std::fs::write(&path, actual).expect("written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{name} differs; HARNESS_BLESS=1 takes the new text");
}

#[test]
fn reports_read_as_checked_in() {
    let cases = cases();
    let run = run(&cases);
    let view = View { run: &run, cases: &cases, dir: "results/2026-11-21-regression-abcd1234" };
    expect("summary.txt", &summary(view, Style::default()));
    expect("narrow.txt", &summary(view, Style { color: false, width: 40 }));
    expect("report.md", &markdown(view));
    expect("junit.xml", &junit(view).expect("XML"));
}

#[test]
fn colour_adds_nothing_but_colour() {
    let cases = cases();
    let run = run(&cases);
    let view = View { run: &run, cases: &cases, dir: "d" };
    let mut colored = summary(view, Style { color: true, width: 100 });
    assert!(colored.contains("\u{1b}[32m✓ "), "passed is green");
    for code in ["\u{1b}[0m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[35m"] {
        colored = colored.replace(code, "");
    }
    assert_eq!(colored, summary(view, Style { color: false, width: 100 }));
}

/// An accept that is not met, an interruption and a case that was tried twice.
#[test]
fn reports_say_what_was_asked_and_what_was_cut_short() {
    let mut cases = cases();
    cases[0].attempt = 2;
    cases[0].earlier = vec![EarlierAttempt {
        attempt: 1,
        outcome: Outcome::Error,
        message: "the API server\nwas gone".to_owned(),
        started_at: at("2026-11-21T10:15:00Z"),
        duration_ms: 1000,
        cost_usd: Some(0.5),
    }];
    let part = AcceptPart {
        rule: AcceptRule::MaxDrop,
        agent: Some(id("triage")),
        cluster_kind: Some(ClusterKind::Embedded),
        asked: 0.1,
        found: Some(0.25),
        met: false,
        because: "0.50 (1 of 2) now | 0.75".to_owned(),
    };
    let notes = vec!["1 are new since the baseline".to_owned()];
    let mut run = run(&cases);
    run.acceptance = Some(Acceptance { met: false, parts: vec![part], notes });
    run.exit_code = Some(130);
    run.not_run = 3;
    let view = View { run: &run, cases: &cases, dir: "d" };
    let text = summary(view, Style::default());
    for part in [
        "accept: ✗ not met",
        "✗ not met max_drop of triage (embedded): 0.25, asked at most 0.10: 0.50 (1 of 2) now | 0.75",
        "1 are new since the baseline",
        "The run was interrupted by SIGINT; 3 of its cases had not begun",
        "flaky: local--oom-40--triage: 1 of its 2 judged repeats passed",
        "flaky: local--oom-40--triage: passed on attempt 2, after the API server was gone",
        "triage (embedded)  1/2     0.50  0.09 to 0.91",
        "triage (stub)      0/1     0.00  0.00 to 0.79",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let text = markdown(view).replace('\\', "");
    for part in [
        "## Accept: ✗ not met",
        "| max_drop | triage (embedded) | at most 0.10 | 0.25 | ✗ not met | 0.50 (1 of 2) now | 0.75 |",
        "The run was interrupted by SIGINT; 3 of its cases had not begun",
        "| embedded | triage | 1/2 | 0.50 | 0.09 to 0.91 | 1 | 1 |",
        "- local--oom-40--triage: passed on attempt 2, after the API server was gone",
        "$0.7500",
        "| local--crashloopbackoff--triage | ? invalid | test | - | No symptom was seen in 90 s. |",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let xml = junit(view).expect("XML");
    assert_eq!(xml.matches(r#"<property name="interrupted" value="true"/>"#).count(), 2, "{xml}");
    let empty = junit(View { run: &run, cases: &[], dir: "d" }).expect("XML");
    assert!(empty.contains("interrupted by SIGINT"), "{empty}");
}

#[test]
fn a_run_without_cases_still_has_reports() {
    let run = run(&[]);
    let view = View { run: &run, cases: &[], dir: "d" };
    assert!(summary(view, Style::default()).contains("0 passed\n"));
    assert!(markdown(view).contains("**0 passed**"));
    assert!(junit(view).expect("XML").contains("tests=\"0\""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_breaks_a_report(message in any::<String>(), object in any::<String>()) {
        let mut cases = cases();
        for case in &mut cases {
            case.message = message.clone();
            case.leaks = vec![Leak { object: object.clone(), what: object.clone(), evidence: Vec::new() }];
            case.denied = vec![DeniedRequest {
                party: Party::Plugin,
                verb: "get".into(),
                resource: object.clone(),
                namespace: String::new(),
                name: message.clone(),
                because: object.clone(),
                allow_with: message.clone(),
                times: 2,
            }];
        }
        let run = run(&cases);
        let view = View { run: &run, cases: &cases, dir: &object };

        let xml = junit(view).expect("XML");
        let read = quick_junit::Report::deserialize_from_str(&xml).expect("valid XML");
        let counts = (read.tests, read.failures, read.errors, read.skipped);
        prop_assert_eq!(counts, (10, 3, 2, 4));
        prop_assert!(xml.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));

        let text = summary(view, Style::default());
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", text);
        prop_assert_eq!(text.lines().count(), summary(View { cases: &cases, run: &run, dir: "d" }, Style::default()).lines().count());
        let headings = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
        prop_assert_eq!(headings(&markdown(view)), 1 + 3 + 2 + 1 + 1 + 10, "with rates, flaky, not passed");
    }
}
