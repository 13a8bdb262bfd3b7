//! Writing a failure: what `failures new` makes builds, can be inspected and runs, as it stands.

use e2e::{Sandbox, kubectl_or_skip};

fn new_build_inspect_run(lang: &str) {
    let sandbox = Sandbox::new();
    sandbox.harness(&["failures", "new", "demo", "--lang", lang]).expect(0);
    let folder = "failures/demo";
    assert!(sandbox.path().join(folder).join("metadata.yaml").exists());
    let built = sandbox.harness(&["failures", "build", folder]).expect(0).stdout;
    let wasm = built.lines().next().expect("`failures build` prints the path of the file");
    let inspected = sandbox.harness(&["failures", "inspect", wasm, "--format", "json"]).expect(0).json();
    assert!(inspected["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{inspected}");
    let text = sandbox.harness(&["failures", "inspect", wasm]).expect(0).stdout;
    assert!(text.starts_with("demo ") && !text.contains("wasi:"), "{text}");
    sandbox.harness(&["failures", "run", "demo", "--hold", "0s"]).expect(0);
    sandbox.write(
        "m.yaml",
        "name: own\nclusters: [{id: local, provisioner: embedded}]\nfailures: [demo]\nagents: [triage]\nobjective: diagnose\n",
    );
    sandbox.harness(&["run", "m.yaml"]).expect(0);
    sandbox.assert_nothing_left();
}

#[test]
fn a_new_failure_in_yaml() {
    new_build_inspect_run("yaml");
}

#[test]
fn a_new_failure_in_rust() {
    new_build_inspect_run("rust");
}

#[test]
fn a_new_failure_as_a_script() {
    if kubectl_or_skip("a new script failure").is_some() {
        new_build_inspect_run("script");
    }
}

#[test]
fn an_id_that_is_none_makes_no_folder() {
    let sandbox = Sandbox::new();
    let finished = sandbox.harness(&["failures", "new", "Not_An--Id", "--lang", "yaml"]).expect(1);
    assert!(finished.stderr.contains("Not_An--Id"), "{}", finished.stderr);
    assert!(!sandbox.path().join("failures").exists());
}
