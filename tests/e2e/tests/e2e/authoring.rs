//! Writing a failure: what `failures new` makes builds, can be inspected and runs, as it stands.

use std::fs;
use std::path::Path;

use e2e::{Sandbox, kubectl_or_skip, program_or_skip, repository};

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
fn a_new_failure_in_c() {
    if program_or_skip("zig", "a new failure in C").is_some() {
        new_build_inspect_run("c");
    }
}

#[test]
fn a_new_failure_in_javascript() {
    if program_or_skip("componentize-qjs", "a new failure in JavaScript").is_some() {
        new_build_inspect_run("js");
    }
}

/// An example of another language: built as its README says, in a copy, and proved.
fn example_is_fit(id: &str, smallest: u64, largest: u64) {
    let sandbox = Sandbox::new();
    copy(&repository().join("examples/failures").join(id), &sandbox.path().join("failures").join(id));
    let folder = format!("failures/{id}");
    let built = sandbox.harness(&["failures", "build", &folder]).expect(0).stdout;
    let wasm = built.lines().next().expect("`failures build` prints the path of the file");
    let inspected = sandbox.harness(&["failures", "inspect", wasm, "--format", "json"]).expect(0).json();
    let size = inspected["size"].as_u64().expect("a size");
    assert!((smallest..largest).contains(&size), "{size} bytes");
    let imports = inspected["imports"].as_array().expect("imports");
    assert!(
        imports.iter().all(|name| name.as_str().is_some_and(|name| name.starts_with("harness:failure/"))),
        "{imports:?}"
    );
    let tested = sandbox.harness(&["failures", "test", id, "--format", "json"]).expect(0).json();
    assert_eq!(tested[0]["verdict"], "fit", "{tested:#}");
    let passed = |name: &str| {
        let checks = tested[0]["checks"].as_array().into_iter().flatten();
        checks.filter(|check| check["result"] == "pass").any(|check| check["name"] == name)
    };
    for name in ["health before", "idle", "reference fix", "scaling to zero", "standing still", "capabilities"] {
        assert!(passed(name), "{name}: {tested:#}");
    }
    sandbox.assert_nothing_left();
}

/// What is checked in of a folder: no output of builds.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the example") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && !matches!(name.as_str(), "target" | "node_modules") {
            copy(&path, &to.join(name));
        } else if path.is_file() && !name.ends_with(".wasm") {
            fs::copy(&path, to.join(name)).expect("copied");
        }
    }
}

#[test]
fn the_example_in_c_is_fit() {
    if program_or_skip("zig", "the example in C").is_some() {
        example_is_fit("image-typo-c", 10_000, 100_000);
    }
}

#[test]
fn the_example_in_javascript_is_fit() {
    if program_or_skip("componentize-qjs", "the example in JavaScript").is_some() {
        example_is_fit("key-renamed-js", 500_000, 3_000_000);
    }
}

#[test]
fn what_does_not_compile_says_why() {
    let sandbox = Sandbox::new();
    sandbox.harness(&["failures", "new", "demo", "--lang", "js"]).expect(0);
    let mut command = sandbox.command();
    command.env("PATH", sandbox.path().join("empty")).env("HARNESS_WASM_CC", "");
    let missing = e2e::Finished::of(command.args(["failures", "build", "failures/demo"])).expect(1);
    assert!(missing.stderr.contains("npm install"), "{}", missing.stderr);
    let unbuilt = sandbox.harness(&["failures", "test", "demo"]).expect(1);
    assert!(unbuilt.stderr.contains("failures build"), "{}", unbuilt.stderr);
    if program_or_skip("zig", "errors in C").is_some() {
        sandbox.harness(&["failures", "new", "broken", "--lang", "c"]).expect(0);
        let source = sandbox.path().join("failures/broken/src/failure.c");
        let code = fs::read_to_string(&source).expect("written by new");
        fs::write(&source, code.replace("failure_string_set", "failure_string_sat")).expect("writable");
        let wrong = sandbox.harness(&["failures", "build", "failures/broken"]).expect(1);
        assert!(wrong.stderr.contains("failure.c:") && wrong.stderr.contains("failure_string_sat"), "{}", wrong.stderr);
    }
}

#[test]
fn an_id_that_is_none_makes_no_folder() {
    let sandbox = Sandbox::new();
    let finished = sandbox.harness(&["failures", "new", "Not_An--Id", "--lang", "yaml"]).expect(1);
    assert!(finished.stderr.contains("Not_An--Id"), "{}", finished.stderr);
    assert!(!sandbox.path().join("failures").exists());
}
