//! The whole program, as people start it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use tokio::runtime::Runtime;

use crate::measure::{Measured, repeat};

const CASES: u32 = 40;

/// All of it. `idle` never answers, so its cases fail: what counts here is how fast they come.
pub(crate) fn measure(_: &Runtime) -> Result<Vec<Measured>, String> {
    let program = beside_us("harness-cli")?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let run = |args: &[&str], codes: &[i32]| run(&program, folder.path(), args, codes);

    let version = repeat(10, || run(&["--version"], &[0]))?;
    // The first one fills the cache of compiled components.
    run(&["failures", "run", "oom-killed", "--hold", "0s"], &[0])?;
    let single = repeat(5, || run(&["failures", "run", "oom-killed", "--hold", "0s"], &[0]))?;
    let matrix = format!(
        "name: idle\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [oom-killed]\nagents: [idle]\n\
         objective: diagnose\nexecution: {{repeats: {CASES}}}\n"
    );
    fs::write(folder.path().join("idle.yaml"), matrix).map_err(|error| error.to_string())?;
    let start = Instant::now();
    run(&["run", "idle.yaml"], &[10])?;
    let per_second = f64::from(CASES) / start.elapsed().as_secs_f64();
    Ok(vec![
        Measured::times("process, harness-cli --version", version),
        Measured::times("process, failures run oom-killed --hold 0s", single),
        Measured::of("process, run: cases per second with idle", format!("{per_second:.1}"), format!("{CASES} cases")),
    ])
}

fn run(program: &Path, folder: &Path, args: &[&str], codes: &[i32]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.current_dir(folder).args(args).stdin(Stdio::null()).env("HOME", folder);
    let output = command.output().map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.code().is_some_and(|code| codes.contains(&code)) {
        return Ok(());
    }
    Err(format!(
        "harness-cli {} ended with {}\n{}",
        args.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}

pub(crate) fn beside_us(name: &str) -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let program = own.with_file_name(name);
    if program.exists() { Ok(program) } else { Err(format!("{} is not there: build it first", program.display())) }
}
