//! `harness-cli`: the command line over crate api. It parses, prints and maps to exit codes; it decides nothing else.

mod args;
mod commands;
mod interrupt;
mod problem;
mod progress;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use terminal::{Talk, Terminal, complain};

/// A run makes and drops JSON objects without end: a quarter of the samples of its profile were in the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What Rust programs exit with after a panic; not in the contract, because it should not be seen.
const BUG: u8 = 101;

fn main() -> ExitCode {
    // Before anything else: the stages of starting an agent are this program, too.
    if let Some(code) = api::stage() {
        return ExitCode::from(code);
    }
    std::panic::set_hook(Box::new(explain_panic));
    let code = std::panic::catch_unwind(|| {
        let cli = Cli::parse_from(api::arguments());
        if cli.command.runs_others()
            && let Err(error) = api::hide_arguments("harness-cli")
        {
            complain(&format!("warning: agents can read this command line: {error}"));
        }
        let terminal = Terminal::new(cli.global.color, cli.global.quiet, cli.global.verbose);
        log(cli.global.verbose, terminal);
        commands::run(cli, terminal).unwrap_or_else(|problem| {
            problem.show(terminal);
            problem.exit_code()
        })
    });
    ExitCode::from(code.unwrap_or(BUG))
}

/// A panic in a case ends that case as an error; here it only gets words that a user can act on.
fn explain_panic(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map(|at| format!(" ({}:{})", at.file(), at.line())).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("no message");
    complain(&format!(
        "This is a bug in the harness{place}: {message}\nPlease report it with the command that you ran."
    ));
}

/// The program's own log, on standard error, for those who ask for it.
fn log(verbose: u8, terminal: Terminal) {
    let filter = match verbose {
        // What goes wrong in a case stands in its record; that requests fail on the way there is for those who ask.
        0 | 1 => "warn,kube_client=off,kube_runtime=off,gate=error",
        2 => "info,hyper=warn,kube=warn,wasmtime=warn,cranelift=warn",
        _ => "debug,hyper=info,kube=info,wasmtime=warn,cranelift=warn",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("HARNESS_LOG").unwrap_or_else(|_| filter.into());
    // A second subscriber cannot be there: this is the only place that sets one.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Talk)
        .with_ansi(terminal.stderr_color)
        .try_init();
}
