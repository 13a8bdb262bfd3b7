//! Many cases with the agent that does nothing, through the whole program: how many a second, what one costs, how much of it the
//! harness, and whether memory stays flat. `HARNESS_BENCH_CASES` says how many, 10,000 without it.

use std::collections::HashMap;
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
/// Cases at a time, for the rate.
const PARALLEL: u64 = 2;
/// Cases one after the other, for what one takes: side by side they wait for each other's processor.
const ALONE: u64 = 200;

/// All of it.
pub(crate) fn measure(_: &Runtime) -> Result<Vec<Measured>, String> {
    let asked = std::env::var("HARNESS_BENCH_CASES").ok().and_then(|number| number.parse().ok());
    // Half of each failure.
    let cases: u64 = asked.unwrap_or(CASES).max(2) / 2 * 2;
    let folder = folder(cases, PARALLEL)?;
    let start = Instant::now();
    let Ran { memory, most, .. } = run(folder.path(), cases)?;
    let took = start.elapsed();
    let alone = cases.min(ALONE);
    let quiet = self::folder(alone, 1)?;
    let times = times(quiet.path(), &run(quiet.path(), alone)?.clusters)?;
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
        Measured::times("a case alone, all but the agent's phase and the cluster", times.own),
        Measured::times("a case alone, all but the agent's phase", times.without_agent),
        Measured::times("a case alone, the agent's phase", times.agent),
        Measured::of("cases, resident memory at most", format!("{most} MB"), note),
    ])
}

/// A folder with a matrix of so many cases.
fn folder(cases: u64, parallel: u64) -> Result<tempfile::TempDir, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let matrix = format!(
        "name: many\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [no-fault, oom-killed]\nagents: [idle]\n\
         execution: {{repeats: {}, parallel_tests_per_cluster: {parallel}}}\n",
        cases / 2
    );
    fs::write(folder.path().join("m.yaml"), matrix).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// What was seen of a run from outside.
struct Ran {
    /// Resident memory after each case, kilobytes.
    memory: Vec<u64>,
    /// The most until the end, reports included, kilobytes.
    most: u64,
    /// By case: how long its cluster worked outside the agent's phase.
    clusters: HashMap<String, Duration>,
}

fn run(folder: &Path, cases: u64) -> Result<Ran, String> {
    let mut command = Command::new(beside_us("harness-cli")?);
    command.current_dir(folder).args(["run", "m.yaml", "--exit-zero"]).stdin(Stdio::null()).stdout(Stdio::null());
    // The work of clusters stands in the program's log alone.
    command.env("HARNESS_LOG", "engine::case=debug");
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
    let (mut memory, mut clusters) = (Vec::new(), HashMap::new());
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if line.starts_with('[') {
            memory.push(kilobytes(id, "VmRSS:").unwrap_or_default());
        }
        if let Some((case, work)) = work_of_cluster(&line) {
            clusters.insert(case, work);
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() || memory.len() as u64 != cases {
        return Err(format!("harness-cli ended with {status} after {} of {cases} cases", memory.len()));
    }
    let most = watching.join().map_err(|_| "memory could not be watched")?;
    Ok(Ran { memory, most, clusters })
}

/// `… work of the cluster case=a--b--c all_us=123 agent_us=45`.
fn work_of_cluster(line: &str) -> Option<(String, Duration)> {
    let (_, fields) = line.split_once("work of the cluster ")?;
    let field = |name: &str| fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let micros = |name| field(name)?.parse().map(Duration::from_micros).ok();
    Some((field("case")?.to_owned(), micros("all_us")?.saturating_sub(micros("agent_us")?)))
}

/// A line of `/proc/PID/status`.
pub(crate) fn kilobytes(process: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Of each case, wall time.
#[derive(Default)]
struct Times {
    /// All but the agent's phase and the work of the cluster: what the harness itself takes, and waits.
    own: Vec<Duration>,
    without_agent: Vec<Duration>,
    agent: Vec<Duration>,
}

fn times(folder: &Path, clusters: &HashMap<String, Duration>) -> Result<Times, String> {
    let runs = fs::read_dir(folder.join("results")).map_err(|error| error.to_string())?;
    let run = runs.filter_map(Result::ok).find(|entry| entry.path().is_dir()).ok_or("a run directory")?;
    let files = fs::read_dir(run.path().join("results")).map_err(|error| error.to_string())?;
    let mut all = Times::default();
    for file in files.filter_map(Result::ok) {
        let text = fs::read_to_string(file.path()).map_err(|error| error.to_string())?;
        let case: CaseFile = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let agent = case.phases.iter().filter(|phase| phase.phase == Phase::Agent).map(|phase| phase.duration_ms).sum();
        let without_agent = Duration::from_millis(case.duration_ms.saturating_sub(agent));
        let id = case.id.to_string();
        let cluster = clusters.get(&id).ok_or_else(|| format!("the work of the cluster of {id} is not in the log"))?;
        all.own.push(without_agent.saturating_sub(*cluster));
        all.without_agent.push(without_agent);
        all.agent.push(Duration::from_millis(agent));
    }
    Ok(all)
}
