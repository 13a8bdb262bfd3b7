//! Inputs that are wrong: every error at once, with its place and what would be right, and nothing run or written.

use e2e::Sandbox;

/// Six errors, one of them in what is wrong already.
const WRONG: &str = "\
name: wrong
clusters:
  - {id: local, provisioner: embeded}
  - {id: local, provisioner: embedded}
failures:
  - oom-kiled
  - no-fault
agents: [triag]
objectiv: diagnose
execution: {repeats: many}
";

#[test]
fn a_wrong_matrix_is_refused_with_all_its_errors() {
    let sandbox = Sandbox::new();
    sandbox.write("m.yaml", WRONG);
    for command in ["validate", "run", "list"] {
        let finished = sandbox.harness(&[command, "m.yaml"]).expect(1);
        let text = format!("{}{}", finished.stdout, finished.stderr);
        for (place, word) in [
            ("m.yaml:3:", "embedded"),
            ("m.yaml:4:", "local"),
            ("m.yaml:6:", "oom-killed"),
            ("m.yaml:8:", "triage"),
            ("m.yaml:9:", "objective"),
            ("m.yaml:10:", "whole number"),
        ] {
            assert!(text.contains(place), "{command}: {place} in\n{text}");
            assert!(text.contains(word), "{command}: {word} in\n{text}");
        }
        assert!(!sandbox.path().join("results").exists(), "{command} has written nothing");
    }
}

#[test]
fn a_component_that_is_none_is_named_as_what_it_is() {
    let sandbox = Sandbox::new();
    sandbox.write("text.wasm", "this is no component\n");
    sandbox.write("zeros.wasm", vec![0_u8; 100 * 1024 * 1024]);
    sandbox.write("core.wasm", b"\0asm\x01\0\0\0");
    for name in ["text.wasm", "zeros.wasm", "core.wasm", "absent.wasm"] {
        let finished = sandbox.harness(&["failures", "inspect", name]).expect(1);
        assert!(finished.stderr.contains(name), "{}", finished.stderr);
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    }
}
