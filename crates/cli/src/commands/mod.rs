//! One module per command. Each calls the facade and prints what comes back.

mod agents;
mod cluster;
mod failures;
mod fitness;
mod logs;
mod matrix;
mod recover;
mod run;
mod runs;

use api::{Config, Harness, Overrides};
use clap::CommandFactory;
use serde::Serialize;

use crate::args::{Cli, Cluster, Command, Format, Global, Output};
use crate::problem::Problem;
use crate::terminal::{Terminal, print, print_json};

/// Runs the command; what comes back is the exit code.
pub(crate) fn run(cli: Cli, terminal: Terminal) -> Result<u8, Problem> {
    let harness = |grants| harness(&cli.global, grants);
    match cli.command {
        Command::Run(args) => run::run(harness(args.grants.clone())?, *args, terminal),
        Command::Validate { matrix, output } => matrix::validate(&harness(None)?, &matrix, output, terminal),
        Command::List { matrix, choice, output } => {
            matrix::list(&harness(None)?, &matrix, &choice.take(), output, terminal)
        }
        Command::Failures(command) => failures::run(&harness(command.grants())?, command, terminal),
        Command::Agents(command) => agents::run(&harness(command.grants())?, command, terminal),
        Command::Runs(command) => runs::run(&harness(None)?, command, terminal),
        Command::Recover(args) => recover::run(&harness(args.grants.clone())?, args, terminal),
        Command::Cluster(Cluster::Up { kubeconfig }) => cluster::up(kubeconfig, terminal),
        Command::Schema { name } => {
            print_json(&api::schema(&name)?)?;
            Ok(0)
        }
        Command::Completions { shell } => completions(shell),
        Command::Triage => agents::triage(),
        Command::Idle => {
            triage::idle();
            Ok(0)
        }
    }
}

fn harness(global: &Global, grants: Option<std::path::PathBuf>) -> Result<Harness, Problem> {
    let config = Config::load(Overrides {
        config: global.config.clone(),
        results_dir: global.results_dir.clone(),
        failures_dirs: global.failures_dir.clone(),
        agents_dirs: global.agents_dir.clone(),
        grants,
    })?;
    Ok(Harness::new(config))
}

/// The runtime of commands that do several things at once.
fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn completions(shell: clap_complete::Shell) -> Result<u8, Problem> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "harness-cli", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(0)
}

/// Prints a result in the format that was asked for.
fn show<T: Serialize>(value: &T, output: Output, human: impl FnOnce(&T) -> String) -> Result<u8, Problem> {
    match output.format {
        Format::Json => print_json(value)?,
        Format::Human => print(&human(value))?,
    }
    Ok(0)
}
