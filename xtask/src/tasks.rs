//! The tasks that people and CI call.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::cargo;
use crate::fuzz;
use crate::kubectl::{self, Kubectl, Kubectls};
use crate::languages::{self, Languages};
use crate::outcome::{Failure, Outcome};
use crate::program;
use crate::rust;

const INSTALL_KUBECTL: &str = "https://kubernetes.io/docs/tasks/tools/";

/// Sets up everything, kubectl and the tools of the examples included.
pub(crate) fn setup() -> Outcome {
    set_up_build()?;
    fuzz::check_cpp_compiler()?;
    let kubectls = set_up_kubectl()?;
    let languages = set_up_languages()?;
    eprintln!("xtask: the WebAssembly target, a C and a C++ compiler are there");
    for path in kubectls.paths() {
        eprintln!("xtask: kubectl for the tests is {}", path.display());
    }
    for bin in &languages.bins {
        eprintln!("xtask: for failures in C and JavaScript, put on PATH: {}", bin.display());
    }
    Ok(())
}

/// Builds the program and runs the quickstart matrix; the exit code is the program's.
pub(crate) fn quickstart() -> Outcome {
    set_up_build()?;
    cargo::build("harness-cli")?;
    let mut command = built("harness-cli");
    program::run(command.current_dir(cargo::root()).args(["run", "matrices/quickstart.yaml"]))
}

/// Format, every test of the workspace, then every fuzz target for half a minute. Clippy is not among them: it would compile all dependencies a second time.
pub(crate) fn test() -> Outcome {
    set_up_build()?;
    fuzz::check_cpp_compiler()?;
    let kubectls = set_up_kubectl()?;
    let languages = set_up_languages()?;
    check_format()?;
    let mut command = cargo::cargo();
    command.args(["test", "--release", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    command.env("ZIG_GLOBAL_CACHE_DIR", languages::zig_cache());
    program::run(with_tools(&mut command, &kubectls, &languages)?)?;
    program::run(cargo::cargo().args(["test", "--release", "--workspace", "--quiet", "--doc"]))?;
    fuzz::briefly()
}

/// Kills the program again and again; prints how many kills hit what, and stops at the first that was not recovered from.
pub(crate) fn soak(args: &[OsString]) -> Outcome {
    let kills = match args {
        [] => 1000,
        [flag, number] if flag == "--kills" => number
            .to_str()
            .and_then(|number| number.parse::<u32>().ok())
            .ok_or_else(|| Failure::Message(format!("--kills takes a number, not {number:?}")))?,
        _ => return Err(Failure::Message("soak takes nothing but --kills N".into())),
    };
    set_up_build()?;
    let kubectls = set_up_kubectl()?;
    cargo::build("harness-cli")?;
    let mut command = cargo::cargo();
    command.args(["test", "--release", "--workspace", "--test", "e2e", "--"]);
    command.args(["kills::soak", "--exact", "--ignored", "--nocapture"]).env("HARNESS_SOAK_KILLS", kills.to_string());
    program::run(with_tools(&mut command, &kubectls, &Languages::default())?)
}

/// Format, clippy, cargo-deny.
pub(crate) fn check() -> Outcome {
    set_up_build()?;
    check_format()?;
    program::run(cargo::cargo().args(["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    if program::find("cargo-deny").is_none() {
        eprintln!("xtask: cargo-deny is not installed, so licences and advisories were not checked");
        eprintln!("       (cargo install --locked cargo-deny)");
        return Ok(());
    }
    program::run(cargo::cargo().args(["deny", "check"]))
}

/// Runs the benchmarks.
pub(crate) fn bench(args: &[OsString]) -> Outcome {
    set_up_build()?;
    // The benchmarks start harness-cli as a whole process too.
    cargo::build("harness-cli")?;
    cargo::build("bench")?;
    program::run(built("bench").current_dir(cargo::root()).args(args))
}

/// Runs harness-cli where the caller is.
pub(crate) fn harness(args: &[OsString]) -> Outcome {
    set_up_build()?;
    cargo::build("harness-cli")?;
    program::run(built("harness-cli").args(args))
}

fn built(bin: &str) -> Command {
    let mut command = Command::new(cargo::built(bin));
    cargo::forget_package(&mut command);
    command
}

fn set_up_build() -> Outcome {
    rust::check_c_compiler()?;
    Ok(rust::ensure_target()?)
}

fn set_up_kubectl() -> Result<Kubectls, Failure> {
    let kubectls = kubectl::ensure();
    match &kubectls.first {
        Kubectl::Pinned(_) => {}
        Kubectl::Found(path, reason) => {
            eprintln!("xtask: the tests use {}, which is not the pinned version:\n  {reason}", path.display());
        }
        Kubectl::Missing(reason) => {
            let message = format!(
                "there is no kubectl:\n  {reason}\n  Install one ({INSTALL_KUBECTL}) and run this again; until then the \
                 tests of `cluster up` with kubectl\n  and of the script failure (matrices/legacy.yaml) are skipped."
            );
            if in_ci() {
                return Err(Failure::Message(message));
            }
            eprintln!("xtask: {message}");
        }
    }
    if let Err(reason) = &kubectls.second {
        let message = format!("the tests have no second version of kubectl:\n  {reason}");
        if in_ci() {
            return Err(Failure::Message(message));
        }
        eprintln!("xtask: {message}");
    }
    Ok(kubectls)
}

fn set_up_languages() -> Result<Languages, Failure> {
    let languages = languages::ensure();
    if languages.missing.is_empty() {
        return Ok(languages);
    }
    let missing = languages.missing.join("\n  ");
    let message = format!("the tests of failures in C and JavaScript cannot all be run:\n  {missing}");
    if in_ci() {
        return Err(Failure::Message(message));
    }
    eprintln!("xtask: {message}\n  They are skipped until then.");
    Ok(languages)
}

/// The tests find kubectls by a variable (several as in PATH), agents and scripts in the tests find the first by PATH; compilers
/// are found by PATH.
fn with_tools<'a>(
    command: &'a mut Command,
    kubectls: &Kubectls,
    languages: &Languages,
) -> Result<&'a mut Command, Failure> {
    let path = match kubectls.first.path() {
        Some(path) => with_first(path)?,
        None => std::env::var_os("PATH").unwrap_or_default(),
    };
    command.env("PATH", languages.path(&path)?);
    let paths = kubectls.paths();
    if paths.is_empty() {
        return Ok(command.env_remove("HARNESS_TEST_KUBECTL"));
    }
    let list =
        std::env::join_paths(paths).map_err(|error| Failure::Message(format!("HARNESS_TEST_KUBECTL: {error}")))?;
    Ok(command.env("HARNESS_TEST_KUBECTL", list))
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// rustfmt over the workspace and over the guests, which are a workspace of their own.
fn check_format() -> Outcome {
    if program::output(cargo::cargo().args(["fmt", "--version"])).is_err() {
        let message = "rustfmt is not installed (rustup component add rustfmt), so the format was not checked";
        if in_ci() {
            return Err(Failure::Message(message.into()));
        }
        eprintln!("xtask: {message}");
        return Ok(());
    }
    program::run(cargo::cargo().args(["fmt", "--all", "--check"]))?;
    program::run(cargo::cargo().args(["fmt", "--all", "--check", "--manifest-path", "guests/Cargo.toml"]))
}

/// PATH with the folder of this program first.
fn with_first(program: &Path) -> Result<OsString, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = program.parent().map(Path::to_path_buf).into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).map_err(|error| Failure::Message(format!("PATH: {error}")))
}
