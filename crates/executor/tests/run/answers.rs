//! Answers as agents hand them in: files that are none, links, floods, output instead of files.

use model::Objective;

use crate::agents::{Stage, preset};

#[tokio::test]
async fn rubbish_in_the_place_of_an_answer_is_named() {
    let cases = [
        ("true", "no answer file"),
        (r#"echo 'it is DNS' > "$HARNESS_ANSWER""#, "not a JSON object"),
        (r#"echo '{"fault_present": 1}' > "$HARNESS_ANSWER""#, "invalid type"),
        (r#": > "$HARNESS_ANSWER""#, "is empty"),
        (r#"printf '\377\376' > "$HARNESS_ANSWER""#, "not UTF-8"),
        (r#"head -c 1100000 /dev/zero | tr '\0' ' ' > "$HARNESS_ANSWER""#, "larger than 1 MiB"),
        (r#"ln -s /etc/hostname "$HARNESS_ANSWER""#, "symbolic link"),
        (r#"mkfifo "$HARNESS_ANSWER""#, "not a regular file"),
        (r#"mkdir "$HARNESS_ANSWER""#, "not a regular file"),
        (r#"ln -s /dev/zero "$HARNESS_ANSWER""#, "symbolic link"),
        (r#"truncate -s 900M "$HARNESS_ANSWER""#, "larger than 1 MiB"),
        (
            r#"yes '[' | head -c 4000 | tr -d '\n' | sed 's/^/{"fault_present": true, "x": /' > "$HARNESS_ANSWER""#,
            "nested",
        ),
        (r#"echo '{"fault_present": true, "fault_present": false}' > "$HARNESS_ANSWER""#, "duplicate"),
        (r#"echo '{"fault_present": 1e999}' > "$HARNESS_ANSWER""#, "out of range"),
        (r#"echo '{"fault_present": true, "x": NaN}' > "$HARNESS_ANSWER""#, "expected value"),
        (r#"echo '{"fault_present": true, "fault_type": ["image"]}' > "$HARNESS_ANSWER""#, "invalid type"),
        (r#"printf '{"fault_present": true, "fault_type": "a\033[2J"}' > "$HARNESS_ANSWER""#, "control character"),
        (r#"cd /; rm -r "${HARNESS_ANSWER%/*}"; ln -s /etc "${HARNESS_ANSWER%/*}""#, "no longer a directory"),
    ];
    for (script, expected) in cases {
        let result = Stage::new().run(&preset(script, "")).await;
        let error = result.answer.error.unwrap_or_default();
        assert!(error.contains(expected), "{script}: `{error}` should say `{expected}`");
        assert!(result.answer.parsed.is_none());
        if script.contains("ln -s /etc ") {
            assert!(result.artifacts.is_empty(), "nothing of /etc is collected");
        }
    }
}

#[tokio::test]
async fn a_mitigation_needs_no_answer() {
    let mut stage = Stage::new();
    stage.objective = Objective::Mitigate;
    let result = stage.run(&preset("true", "")).await;
    assert_eq!((result.answer.parsed, result.answer.error), (None, None));
}

#[tokio::test]
async fn the_answer_may_come_on_standard_output() {
    let script = r#"echo '{"note": 1}'; echo 'Done: {"fault_present": true, "fixed": true} thanks'"#;
    let result = Stage::new().run(&preset(script, "answer: stdout")).await;
    assert_eq!(result.answer.parsed.and_then(|a| a.fixed), Some(true));
    let result = Stage::new().run(&preset("echo nothing", "answer: stdout")).await;
    assert!(result.answer.error.is_some_and(|e| e.contains("no JSON object")));
}

#[tokio::test]
async fn rubbish_on_standard_output_is_named_too() {
    for (script, expected) in [
        ("yes '{\"fault_present\": true, \"x\": \"' | head -c 100000000", "no JSON object"),
        ("yes '[' | head -c 400000 | tr -d '\\n'", "no JSON object"),
        (
            r#"printf '{"fault_present": true, "x": "'; head -c 2000000 /dev/zero | tr '\0' y; echo '"}'"#,
            "no JSON object",
        ),
        (r#"echo '{"fault_present": "maybe"}'"#, "invalid type"),
        (
            r#"echo '{"fault_present": true, "x": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}'"#,
            "nested",
        ),
    ] {
        let result = Stage::new().run(&preset(script, "answer: stdout")).await;
        let error = result.answer.error.unwrap_or_default();
        assert!(error.contains(expected), "{script}: `{error}` should say `{expected}`");
    }
}
