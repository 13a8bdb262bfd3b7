//! For the tests of this crate what `harness-cli` is for the engine: the program that the stages of starting a process
//! are. As `harness PLACE SCRIPT` it is a harness that runs a shell script, for tests that kill one; started as anything
//! else it prints its arguments; as `quiet SCRIPT ARGUMENT...` it hides them, prints them, and runs the script.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use executor::{ProcessSpec, process};

fn main() -> ExitCode {
    if let Some(code) = executor::stage() {
        return ExitCode::from(code);
    }
    let args: Vec<String> =
        executor::arguments().into_iter().skip(1).filter_map(|arg| arg.into_string().ok()).collect();
    match args.as_slice() {
        [first, _, ..] if first == "quiet" => quiet(&args[1..]),
        [first, place, script] if first == "harness" => harness(place, script),
        _ => {
            println!("{}", args.join(" "));
            ExitCode::SUCCESS
        }
    }
}

/// Becomes itself without arguments, then runs a shell script that looks at this.
fn quiet(args: &[String]) -> ExitCode {
    if std::env::args_os().len() > 1 {
        let failed = executor::hide_arguments("harness-cli");
        eprintln!("{failed:?}");
        return ExitCode::FAILURE;
    }
    println!("{}", args[1..].join("|"));
    let status = std::process::Command::new("/bin/sh").args(["-c", &args[0]]).status();
    status.ok().and_then(|status| u8::try_from(status.code()?).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn harness(place: &str, script: &str) -> ExitCode {
    let Ok(own) = std::env::current_exe() else { return ExitCode::FAILURE };
    let spec = ProcessSpec {
        args: vec!["-c".to_owned(), script.to_owned()],
        env: std::env::vars().filter(|(name, _)| name == "PATH").collect(),
        places: vec![PathBuf::from(place)],
        on_line: Arc::new(|_, line: &str| {
            println!("{line}");
            None
        }),
        ..ProcessSpec::new(own, "/bin/sh", "/", Instant::now() + Duration::from_secs(60))
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(process::run(spec, std::future::pending()));
    ExitCode::SUCCESS
}
