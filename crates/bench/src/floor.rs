//! What the built-in rule-based agent comes to over the whole library: the floor that an agent must beat.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::measure::{Measured, text};
use crate::processes::beside_us;

const MATRIX: &str = include_str!("../../../matrices/library.yaml");
const GRANTS: &str = include_str!("../../../matrices/library.grants.yaml");

/// A number a column, and the whole.
pub(crate) fn measure(_: &Runtime) -> Result<Vec<Measured>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).map_err(|error| error.to_string());
    // No agent may repair a webhook configuration, so that failure cannot be asked for under `both`.
    let matrix = MATRIX.replace("objective: diagnose", "objective: both").replace("  - webhook-down\n", "");
    write("library.yaml", &matrix)?;
    write("grants.yaml", GRANTS)?;
    let started = Instant::now();
    let mut command = Command::new(beside_us("harness-cli")?);
    command.current_dir(folder.path()).stdin(Stdio::null()).env("HOME", folder.path());
    command.args(["run", "library.yaml", "--grants", "grants.yaml", "--filter", "agent!=idle", "--format", "json"]);
    let output = command.output().map_err(|error| error.to_string())?;
    let took = started.elapsed();
    let document: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("no result: {error}\n{}", String::from_utf8_lossy(&output.stderr)))?;
    let cases = document["cases"].as_array().ok_or("no cases")?;
    let judged: Vec<&Value> = cases.iter().filter(|case| case["verdict"].is_object()).collect();
    let missed = |column: &str| -> Vec<&str> {
        let failed = judged.iter().filter(|case| case["verdict"][column]["result"] == "fail");
        failed.filter_map(|case| case["failure"].as_str()).collect()
    };
    let columns = ["detection", "localization", "fault_type", "mitigation", "safety"].map(|column| {
        let missed = missed(column);
        let note = if missed.is_empty() { "misses none".to_owned() } else { format!("misses {}", missed.join(", ")) };
        let right = judged.len() - missed.len();
        Measured::of(format!("triage over the library, {column}"), format!("{right}/{}", judged.len()), note)
    });
    let passed = cases.iter().filter(|case| case["outcome"] == "passed").count();
    let whole = Measured::of(
        "triage over the library, cases passed",
        format!("{passed}/{}", cases.len()),
        format!("diagnosis and repair, {} in all", text(took)),
    );
    Ok(std::iter::once(whole).chain(columns).collect())
}
