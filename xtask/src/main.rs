//! `cargo xtask`: set-up, build, test and benchmark tasks.
//! It has no dependencies, so that it compiles in a moment on a fresh machine, and it never changes the system: what it
//! installs itself lies in `.tools/`, the Rust target excepted.

mod cargo;
mod fuzz;
mod kubectl;
mod languages;
mod outcome;
mod program;
mod rust;
mod tasks;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask <task>

  quickstart        set up what is missing, build, run matrices/quickstart.yaml on the embedded cluster
  test              set up what the tests need, check the format, run all tests, fuzz every target for half a minute
                    (what .ci/run does)
  setup             only set up: the WebAssembly target, C and C++ compilers, two kubectls, zig and componentize-qjs
  check             format, clippy, and cargo-deny where it is installed
  soak [--kills N]  kill the program at every crash point and at N random moments (default 1000)
  fuzz [TARGET...] [--seconds N]
                    fuzz all targets, or these, for N seconds each (default 600)
  bench             build and run the benchmarks; they print numbers and assert nothing
  harness ARGS...   build harness-cli if needed and run it (also: cargo harness ARGS...)

With CI=true, a test that would be skipped for want of a program is an error.";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let task = args.next().map(|task| task.to_string_lossy().into_owned());
    let rest: Vec<_> = args.collect();
    let takes_args = matches!(task.as_deref(), Some("harness" | "bench" | "soak" | "fuzz"));
    if !rest.is_empty() && !takes_args {
        eprintln!("xtask: unexpected argument {:?}\n\n{USAGE}", rest[0]);
        return ExitCode::from(2);
    }
    let result = match task.as_deref() {
        Some("quickstart") => tasks::quickstart(),
        Some("test") => tasks::test(),
        Some("setup") => tasks::setup(),
        Some("check") => tasks::check(),
        Some("soak") => tasks::soak(&rest),
        Some("fuzz") => fuzz::fuzz(&rest),
        Some("bench") => tasks::bench(&rest),
        Some("harness") => tasks::harness(&rest),
        Some("help" | "-h" | "--help") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("xtask: there is no task {other:?}\n\n{USAGE}");
            return ExitCode::from(2);
        }
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    outcome::exit_code(result)
}
