//! Hostile answers are their agents' failures, with the reason and in flat memory; what a control passes judges nobody.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use e2e::{Running, Sandbox};
use model::{Class, Outcome, Rule};

/// What the harness may take while agents print and write hundreds of megabytes, in kB.
const PEAK_KB: u64 = 400 * 1024;

fn preset(sandbox: &Sandbox, id: &str, script: &str, answer: &str) {
    let script = serde_json::Value::from(script);
    let text = format!(
        "id: {id}\nsupports: [diagnose]\ncommand: [sh, -c, {script}]\nstdin: none\nanswer: {answer}\nexit_codes: {{77: error}}\n"
    );
    sandbox.write(&format!("agents/{id}.yaml"), text);
}

fn matrix(sandbox: &Sandbox, agents: &str) {
    let text = format!(
        "name: m\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [image-pull-error]\nagents: [{agents}]\n\
         execution: {{timeout_per_test: 60s}}\n"
    );
    sandbox.write("m.yaml", text);
}

#[test]
fn hostile_answers_are_failures_of_their_agents() {
    let deeds = [
        ("missing", "true", "file", Rule::AnswerMissing, "no answer file"),
        ("large", r#"truncate -s 1000M "$HARNESS_ANSWER""#, "file", Rule::AnswerUnreadable, "larger than 1 MiB"),
        ("pipe", r#"mkfifo "$HARNESS_ANSWER""#, "file", Rule::AnswerUnreadable, "not a regular file"),
        ("device", r#"ln -s /dev/zero "$HARNESS_ANSWER""#, "file", Rule::AnswerUnreadable, "symbolic link"),
        (
            "deep",
            r#"yes '[' | head -c 90000 | tr -d '\n' | sed 's/^/{"a": /' > "$HARNESS_ANSWER""#,
            "file",
            Rule::AnswerUnreadable,
            "nested",
        ),
        (
            "types",
            r#"echo '{"fault_present": "yes"}' > "$HARNESS_ANSWER""#,
            "file",
            Rule::AnswerUnreadable,
            "invalid type",
        ),
        (
            "twice",
            r#"echo '{"fault_present": true, "fault_present": false}' > "$HARNESS_ANSWER""#,
            "file",
            Rule::AnswerUnreadable,
            "duplicate",
        ),
        (
            "number",
            r#"echo '{"fault_present": true, "n": NaN}' > "$HARNESS_ANSWER""#,
            "file",
            Rule::AnswerUnreadable,
            "expected value",
        ),
        (
            "flood",
            "yes '{\"fault_present\": true, \"a\": \"' | head -c 400000000",
            "stdout",
            Rule::AnswerMissing,
            "no JSON object",
        ),
    ];
    let sandbox = Sandbox::new();
    deeds.iter().for_each(|(id, script, answer, ..)| preset(&sandbox, id, script, answer));
    preset(&sandbox, "outage", "exit 77", "file");
    let ids: Vec<&str> = deeds.iter().map(|(id, ..)| *id).collect();
    matrix(&sandbox, &format!("{}, outage", ids.join(", ")));
    let mut command = sandbox.command();
    let mut process = Running::start(command.args(["run", "m.yaml"]).stdout(Stdio::null()).stderr(Stdio::null()));
    let id = process.child().id();
    let mut peak: u64 = 0;
    let mut status = None;
    e2e::wait_until("the run to end", Duration::from_secs(300), || {
        let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|kb| kb.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0).max(peak);
        status = process.child().try_wait().expect("a child can be waited for");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(10));
    let run = sandbox.only_run();
    for (id, _, _, rule, words) in deeds {
        let case = run.case(&format!("local--image-pull-error--{id}"));
        assert_eq!((case.outcome, case.class, case.rule), (Outcome::Failed, Some(Class::Agent), Some(rule)), "{id}");
        assert!(case.message.contains(words), "{id}: {} should say {words}", case.message);
    }
    let outage = run.case("local--image-pull-error--outage");
    assert_eq!((outage.outcome, outage.rule), (Outcome::Error, Some(Rule::ProviderUnavailable)), "{}", outage.message);
    println!("peak {} MB", peak / 1024);
    assert!(peak > 0 && peak < PEAK_KB, "the harness took {peak} kB");
    sandbox.assert_nothing_left();
}

#[test]
fn a_control_that_passes_makes_the_cases_of_its_failure_invalid() {
    let sandbox = Sandbox::new();
    preset(&sandbox, "wrong", r#"echo '{"fault_present": false}' > "$HARNESS_ANSWER""#, "file");
    preset(&sandbox, "outage", "exit 77", "file");
    matrix(&sandbox, "{id: triage, control: true}, {id: triage, name: second}, wrong, outage");
    sandbox.harness(&["run", "m.yaml"]).expect(11);
    let run = sandbox.only_run();
    let case = |agent: &str| run.case(&format!("local--image-pull-error--{agent}"));
    assert_eq!(case("triage").outcome, Outcome::Passed, "the control itself");
    for agent in ["second", "wrong"] {
        let case = case(agent);
        let expected = (Outcome::Invalid, Some(Class::Test), Some(Rule::ControlPassed));
        assert_eq!((case.outcome, case.class, case.rule), expected, "{agent}: {}", case.message);
        assert!(case.message.contains("control `triage` passed"), "{}", case.message);
    }
    assert_eq!(case("outage").outcome, Outcome::Error, "who was not judged stays so");
}
