//! Many cases with the agent that does nothing, through the whole program: how many a second, what one costs, and whether
//! memory stays flat. `HARNESS_BENCH_CASES` says how many, 10,000 without it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use model::{CaseFile, Phase};
use tokio::runtime::Runtime;

use crate::measure::{Measured, text};
use crate::processes::beside_us;

const CASES: u64 = 10_000;
/// Cases at a time.
const PARALLEL: u64 = 2;

/// All of it.
pub(crate) fn measure(_: &Runtime) -> Result<Vec<Measured>, String> {
    let asked = std::env::var("HARNESS_BENCH_CASES").ok().and_then(|number| number.parse().ok());
    // Half of each failure.
    let cases: u64 = asked.unwrap_or(CASES).max(2) / 2 * 2;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let matrix = format!(
        "name: many\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [no-fault, oom-killed]\nagents: [idle]\n\
         execution: {{repeats: {}, parallel_tests_per_cluster: {PARALLEL}}}\n",
        cases / 2
    );
    fs::write(folder.path().join("m.yaml"), matrix).map_err(|error| error.to_string())?;
    let start = Instant::now();
    let (memory, most) = run(folder.path(), cases)?;
    let took = start.elapsed();
    let (overheads, agents) = times(folder.path())?;
    let rate = cases as f64 / took.as_secs_f64();
    let resident = |share: f64| {
        let at = (memory.len().saturating_sub(1)) as f64 * share;
        format!("{} MB", memory.get(at as usize).copied().unwrap_or_default() / 1024)
    };
    let note = format!("after a tenth {}, a half {}, all {}", resident(0.1), resident(0.5), resident(1.0));
    let most = most / 1024;
    Ok(vec![
        Measured::of(
            "cases, idle, a second",
            format!("{rate:.1}"),
            format!("{cases} in {}, {PARALLEL} at a time", text(took)),
        ),
        Measured::times("cases, all but the agent's phase", overheads),
        Measured::times("cases, the agent's phase", agents),
        Measured::of("cases, resident memory at most", format!("{most} MB"), note),
    ])
}

/// Resident memory, kilobytes: after each case, and the most until the end, reports included.
fn run(folder: &Path, cases: u64) -> Result<(Vec<u64>, u64), String> {
    let mut command = Command::new(beside_us("harness-cli")?);
    command.current_dir(folder).args(["run", "m.yaml", "--exit-zero"]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(|error| format!("harness-cli: {error}"))?;
    let stderr = child.stderr.take().ok_or("stderr is piped")?;
    let id = child.id();
    let watching = std::thread::spawn(move || {
        let mut most = 0;
        // A process that has ended has no memory.
        while let Some(peak) = kilobytes(id, "VmHWM:") {
            most = peak.max(most);
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let mut memory = Vec::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if line.starts_with('[') {
            memory.push(kilobytes(id, "VmRSS:").unwrap_or_default());
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() || memory.len() as u64 != cases {
        return Err(format!("harness-cli ended with {status} after {} of {cases} cases", memory.len()));
    }
    let most = watching.join().map_err(|_| "memory could not be watched")?;
    Ok((memory, most))
}

/// A line of `/proc/PID/status`.
fn kilobytes(process: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Of each case: everything but the agent's phase, which is the harness and the embedded cluster; and the agent's phase.
fn times(folder: &Path) -> Result<(Vec<Duration>, Vec<Duration>), String> {
    let runs = fs::read_dir(folder.join("results")).map_err(|error| error.to_string())?;
    let run = runs.filter_map(Result::ok).find(|entry| entry.path().is_dir()).ok_or("a run directory")?;
    let files = fs::read_dir(run.path().join("results")).map_err(|error| error.to_string())?;
    let mut all = (Vec::new(), Vec::new());
    for file in files.filter_map(Result::ok) {
        let text = fs::read_to_string(file.path()).map_err(|error| error.to_string())?;
        let case: CaseFile = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let agent = case.phases.iter().filter(|phase| phase.phase == Phase::Agent).map(|phase| phase.duration_ms).sum();
        all.0.push(Duration::from_millis(case.duration_ms.saturating_sub(agent)));
        all.1.push(Duration::from_millis(agent));
    }
    Ok(all)
}
