//! Fuzzing with libFuzzer: the targets of `crates/fuzz` in one program, built with coverage in every crate, and run for so
//! many seconds each, two side by side. Inputs that lead somewhere new are kept in `target/fuzz/`, findings too.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::cargo;
use crate::outcome::{Failure, Outcome};
use crate::program;

/// How rustc is told to count which edges are taken and what is compared, as cargo-fuzz does; all of it is in stable rustc.
/// Overflow and assertions are checked, in dependencies too.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
     -Cdebug-assertions -Coverflow-checks";

/// A folder of seeds for each target.
const SEEDS: &str = "crates/fuzz/seeds";

/// Files of the repository that are what a target reads, besides its own seeds.
const ALSO: [(&str, &[&str]); 3] = [
    ("metadata", &["failures"]),
    ("matrices", &["matrices", "agents"]),
    ("output", &["crates/executor/tests/run/samples"]),
];

/// Seconds for each target in a test run.
const BRIEFLY: u32 = 30;
/// Seconds for each target when people ask for it.
const LONGER: u32 = 600;
/// Longer inputs find nothing that shorter ones do not.
const MAX_LENGTH: u32 = 4096;
/// Seconds that one input may take, and megabytes that the process may have: more is a finding.
const TIMEOUT: u32 = 5;
const MEMORY: u32 = 1024;
/// Targets side by side.
const SIDE_BY_SIDE: usize = 2;

/// `fuzz [TARGET...] [--seconds N]`.
pub(crate) fn fuzz(args: &[OsString]) -> Outcome {
    let (names, seconds) = read(args)?;
    run(&names, seconds)
}

/// Every target, as long as a test run has time for.
pub(crate) fn briefly() -> Outcome {
    run(&targets()?, BRIEFLY)
}

/// The names of all targets: a test holds the folders of seeds against them.
fn targets() -> Result<Vec<String>, Failure> {
    let entries =
        fs::read_dir(cargo::root().join(SEEDS)).map_err(|error| Failure::Message(format!("{SEEDS}: {error}")))?;
    let mut names: Vec<String> =
        entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn read(args: &[OsString]) -> Result<(Vec<String>, u32), Failure> {
    let (all, mut names, mut seconds) = (targets()?, Vec::new(), LONGER);
    let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let number = args.next().unwrap_or_default();
            seconds = number
                .parse()
                .map_err(|_| Failure::Message(format!("--seconds takes a whole number, not {number:?}")))?;
        } else if all.contains(&arg) {
            names.push(arg);
        } else {
            return Err(Failure::Message(format!("there is no fuzz target {arg:?}; there are {}", all.join(", "))));
        }
    }
    Ok((if names.is_empty() { all } else { names }, seconds))
}

/// A C++ compiler builds libFuzzer.
pub(crate) fn check_cpp_compiler() -> Result<(), String> {
    let named = std::env::var("CXX").ok();
    let compiler = named.as_deref().and_then(|cxx| cxx.split_whitespace().next()).unwrap_or("c++");
    if Path::new(compiler).exists() || program::find(compiler).is_some() {
        return Ok(());
    }
    Err(format!(
        "a C++ compiler is needed to build libFuzzer, and {compiler:?} is not there.\n  \
         Debian and Ubuntu: apt-get install build-essential; Fedora: dnf install gcc-c++"
    ))
}

fn run(names: &[String], seconds: u32) -> Outcome {
    let binary = build()?;
    let mut failed = Vec::new();
    let mut waiting = names.iter();
    let mut running: Vec<(&str, Child)> = Vec::new();
    loop {
        while running.len() < SIDE_BY_SIDE
            && let Some(name) = waiting.next()
        {
            running.push((name, start(&binary, name, seconds)?));
        }
        if running.is_empty() {
            break;
        }
        // All that run together have the same time, so whichever is waited for first makes little of a difference.
        let (name, mut child) = running.remove(0);
        let status = child.wait().map_err(|error| Failure::Message(format!("{name}: {error}")))?;
        if !status.success() {
            failed.push(name);
        }
        report(name, status.success());
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Message(advice(&failed))) }
}

/// For the machine that this runs on, named, so that build scripts and macros are built without coverage.
fn build() -> Result<PathBuf, Failure> {
    check_cpp_compiler()?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let about = program::output(Command::new(rustc).arg("-vV"))?;
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or_else(|| Failure::Message("rustc does not say what it runs on".into()))?;
    let mut command = cargo::cargo();
    command.args(["build", "--release", "--workspace", "--target", host]);
    command.args(["--features", "harness-fuzz/libfuzzer", "--bin", "harness-fuzz"]);
    program::run(command.env("RUSTFLAGS", FLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    Ok(cargo::target_dir().join(host).join("release/harness-fuzz"))
}

fn folder(name: &str) -> PathBuf {
    cargo::target_dir().join("fuzz").join(name)
}

fn log(name: &str) -> PathBuf {
    folder(name).join("log")
}

fn start(binary: &Path, name: &str, seconds: u32) -> Result<Child, Failure> {
    let trouble = |error: std::io::Error| Failure::Message(format!("{}: {error}", folder(name).display()));
    fs::create_dir_all(folder(name).join("corpus")).map_err(trouble)?;
    let log = fs::File::create(log(name)).map_err(trouble)?;
    eprintln!("xtask: fuzzing {name} for {seconds} s");
    let mut command = Command::new(binary);
    command.current_dir(cargo::root()).env("HARNESS_FUZZ_TARGET", name);
    command.arg(folder(name).join("corpus")).arg(Path::new(SEEDS).join(name));
    command.args(ALSO.iter().filter(|(target, _)| *target == name).flat_map(|(_, folders)| *folders));
    command.arg(format!("-artifact_prefix={}/", folder(name).display()));
    for (option, value) in [
        ("max_total_time", seconds),
        ("max_len", MAX_LENGTH),
        ("timeout", TIMEOUT),
        ("rss_limit_mb", MEMORY),
        ("print_final_stats", 1),
    ] {
        command.arg(format!("-{option}={value}"));
    }
    let output = Stdio::from(log.try_clone().map_err(trouble)?);
    command.stdin(Stdio::null()).stdout(output).stderr(Stdio::from(log));
    command.spawn().map_err(trouble)
}

/// How much was tried; of a finding, what libFuzzer and the law say of it.
fn report(name: &str, well: bool) {
    let text = fs::read(log(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    if well {
        let tried = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        let covered = text.lines().rev().find_map(|line| line.split_once("cov: ")?.1.split(' ').next());
        let (tried, covered) = (tried.unwrap_or("?").trim(), covered.unwrap_or("?"));
        eprintln!("xtask: {name}: {tried} inputs, {covered} edges, no finding");
        return;
    }
    let tells = ["panicked at", "ERROR: libFuzzer", "SUMMARY", "Test unit written"];
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if tells.iter().any(|tell| line.contains(tell)) {
            eprintln!("  {line}");
            if line.contains("panicked at") {
                lines.by_ref().take(2).for_each(|line| eprintln!("  {}", line.chars().take(1000).collect::<String>()));
            }
        }
    }
}

fn advice(failed: &[&str]) -> String {
    let mut text = String::from("fuzzing has found something:");
    for name in failed {
        let files = fs::read_dir(folder(name)).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
        let is_finding = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            ["crash-", "timeout-", "oom-", "slow-unit-"].iter().any(|kind| file.starts_with(kind))
        };
        let found: Vec<String> = files.filter(is_finding).map(|path| format!("\n    {}", path.display())).collect();
        text.push_str(&format!("\n  {name} ({}):{}", log(name).display(), found.concat()));
    }
    text.push_str(
        "\n  Copy the input to crates/fuzz/seeds/TARGET/ under a name that says what it was: \
         `cargo test --workspace --test seeds` then fails until it is mended.",
    );
    text
}
