//! A matrix of a million cases: expanded one by one, in flat memory.

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use tokio::runtime::Runtime;

use crate::measure::{Measured, text};

/// 50 failures x 20 agents x 1000 repeats.
fn million() -> String {
    let mut text = String::from("name: million\nclusters: [{id: local, provisioner: embedded}]\nfailures:\n");
    for failure in 0..50 {
        let _ = writeln!(text, "  - {{id: no-fault, name: use-{failure}}}");
    }
    text.push_str("agents:\n");
    for agent in 0..20 {
        let _ = writeln!(text, "  - {{id: idle, name: agent-{agent}}}");
    }
    text.push_str("execution: {repeats: 1000}\n");
    text
}

/// All of it.
pub(crate) fn measure(_: &Runtime) -> Result<Vec<Measured>, String> {
    let known = matrix::Known {
        failures: vec!["no-fault".into()],
        agents: vec!["idle".into()],
        provisioners: vec!["embedded".into()],
        ..Default::default()
    };
    let source = yaml::Source::new("million.yaml", million());
    let start = Instant::now();
    let matrix = matrix::Matrix::parse(&source, &known).map_err(|diagnostics| diagnostics.to_string())?;
    let parsing = start.elapsed();
    let before = resident_kilobytes();
    let mut peak = before;
    let (mut count, mut length) = (0_u64, 0);
    let start = Instant::now();
    for case in matrix.cases() {
        count += 1;
        length += case.id.as_str().len();
        if count % 100_000 == 0 {
            peak = peak.max(resident_kilobytes());
        }
    }
    let expanding = start.elapsed();
    Ok(vec![
        Measured::times("matrix, parse and validate", vec![parsing]),
        Measured::of(
            "matrix, expand a million cases",
            text(expanding),
            format!(
                "{count} cases, {} MB of ids, memory grew by {} KB",
                length / 1_000_000,
                peak.saturating_sub(before)
            ),
        ),
    ])
}

/// Resident memory of this process; 0 where the system does not say.
fn resident_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
