//! What the program says of its own failure library; the tests name no failure where they mean every one.

use e2e::Sandbox;
use serde_json::Value;

/// Every failure of the library: `failures show` of each, as JSON.
pub(crate) fn failures(sandbox: &Sandbox) -> Vec<Value> {
    let list = sandbox.harness(&["failures", "list", "--format", "json"]).expect(0).json();
    let list = list.as_array().expect("lists are arrays");
    assert!(list.len() >= 5, "the built-in library: {list:?}");
    list.iter()
        .map(|failure| {
            let id = failure["id"].as_str().expect("a failure has an id");
            sandbox.harness(&["failures", "show", id, "--format", "json"]).expect(0).json()
        })
        .collect()
}

/// Its metadata, wherever `show` puts it.
pub(crate) fn metadata(failure: &Value) -> &Value {
    failure.get("metadata").unwrap_or(failure)
}

/// Its id.
pub(crate) fn id(failure: &Value) -> &str {
    metadata(failure)["id"].as_str().expect("a failure has an id")
}

/// Whether it needs a program on this machine, as scripts do.
pub(crate) fn needs_program(failure: &Value) -> bool {
    metadata(failure)["prerequisites"].as_array().is_some_and(|all| all.iter().any(|p| p.get("program").is_some()))
}
