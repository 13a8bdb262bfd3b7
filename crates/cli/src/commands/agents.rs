//! `agents list|show|test`, and the built-in agents

use std::fmt::Write;
use std::path::Path;

use api::{AgentDetails, AgentEntry, AgentTest, AgentTested, Cancel, Harness};
use model::CaseFile;
use report::{Cell, one_line, printable, symbol, table};

use super::{runtime, show};
use crate::args::{Agents, Output};
use crate::problem::{Problem, diagnostics};
use crate::terminal::{Terminal, complain};
use crate::{interrupt, progress};

pub(crate) fn run(harness: &Harness, command: Agents, terminal: Terminal) -> Result<u8, Problem> {
    match command {
        Agents::List { output } => {
            let list = runtime()?.block_on(harness.agents_list());
            for problem in list.problems {
                diagnostics(&problem.diagnostics, terminal);
            }
            show(&list.agents, output, |agents| entries(agents))
        }
        Agents::Show { id, output } => show(&runtime()?.block_on(harness.agents_show(&id))?, output, details),
        Agents::Test { id, timeout_per_test, output } => {
            test(harness, AgentTest { id, timeout_per_test }, output, terminal)
        }
    }
}

fn entries(agents: &[AgentEntry]) -> String {
    let mut rows = vec![["ID", "EXECUTOR", "SUPPORTS", "READY", "DESCRIPTION"].map(Cell::plain).to_vec()];
    for agent in agents {
        let supports: Vec<&str> = agent.supports.iter().map(|objective| objective.as_str()).collect();
        let ready = if agent.missing.is_some() { "no" } else { "yes" };
        let description = one_line(agent.missing.as_deref().or(agent.description.as_deref()).unwrap_or_default());
        rows.push(
            [agent.id.clone(), agent.executor.clone(), supports.join(", "), ready.to_owned(), description]
                .map(Cell::plain)
                .to_vec(),
        );
    }
    table(&rows, "")
}

fn details(agent: &AgentDetails) -> String {
    let mut out = String::new();
    let ready = agent.missing.as_deref().map_or("yes".to_owned(), |missing| format!("no: {}", one_line(missing)));
    let _ = writeln!(out, "{}, ready: {ready}", agent.id);
    let preset = serde_json::to_string_pretty(&agent.preset).unwrap_or_default();
    preset.lines().for_each(|line| out.push_str(&format!("  {}\n", printable(line))));
    out
}

fn test(harness: &Harness, test: AgentTest, output: Output, terminal: Terminal) -> Result<u8, Problem> {
    let listeners = progress::listeners(terminal, terminal.verbose > 0);
    let tested = runtime()?.block_on(async {
        let (canceller, cancel) = Cancel::new();
        interrupt::listen(canceller, "Interrupted: putting everything back. Once more to leave at once.")?;
        Ok::<AgentTested, Problem>(harness.agents_test(test, listeners, cancel).await?)
    })?;
    show(&tested, output, tested_human)?;
    Ok(tested.exit_code)
}

fn tested_human(tested: &AgentTested) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "Task:");
    let task = tested.task.as_ref().and_then(|task| serde_json::to_string_pretty(task).ok());
    for line in task.as_deref().unwrap_or("none: the agent was not started").lines() {
        let _ = writeln!(out, "  {}", printable(line));
    }
    let _ = writeln!(out, "\nEnvironment: {}", tested.environment.join(", "));
    let case = &tested.case;
    let _ = writeln!(out, "\n{} {}  {}", symbol(case.outcome), case.outcome, one_line(&case.message));
    out.push_str(&answer_and_usage(case));
    for (name, lines) in [("standard output", &tested.stdout), ("standard error", &tested.stderr)] {
        if !lines.is_empty() {
            let _ = writeln!(out, "\nEnd of its {name}:");
            for line in lines {
                let _ = writeln!(out, "  {}", printable(line));
            }
        }
    }
    out
}

/// What the agent handed in and used.
pub(super) fn answer_and_usage(case: &CaseFile) -> String {
    let mut out = String::new();
    match (&case.answer.parsed, &case.answer.error) {
        (Some(answer), _) => {
            let fault = if answer.fault_present { "a fault is present" } else { "nothing is wrong" };
            let kind = answer.fault_type.as_deref().map(|t| format!(", {}", one_line(t))).unwrap_or_default();
            let _ = writeln!(out, "Answer: {fault}{kind}");
            for cause in &answer.root_causes {
                let namespace = cause.namespace.as_deref().map(|n| format!("{n}/")).unwrap_or_default();
                let _ = writeln!(out, "  cause: {}", one_line(&format!("{} {namespace}{}", cause.kind, cause.name)));
            }
            if let Some(explanation) = &answer.explanation {
                let _ = writeln!(out, "  {}", one_line(explanation));
            }
        }
        (None, Some(error)) => {
            let _ = writeln!(out, "Answer: not readable: {}", one_line(error));
        }
        (None, None) => {
            let _ = writeln!(out, "Answer: none");
        }
    }
    let number = |n: Option<u64>| n.map_or("unknown".to_owned(), |n| n.to_string());
    let usage = &case.usage;
    let cost = usage.cost_usd.map_or("unknown".to_owned(), |cost| format!("${cost:.4}"));
    let _ = writeln!(
        out,
        "Usage ({}): {} tokens in, {} tokens out, {} turns, cost {cost}",
        usage.source,
        number(usage.input_tokens),
        number(usage.output_tokens),
        number(usage.turns),
    );
    let gate = case.gate;
    let _ = writeln!(out, "Gate: {} requests, {} mutations, {} denials", gate.requests, gate.mutations, gate.denials);
    out
}

/// The built-in agent: it knows only what any agent is told.
pub(crate) fn triage() -> Result<u8, Problem> {
    let ended = runtime()?.block_on(async {
        let environment = triage::Environment::of_process()?;
        triage::run(environment).await
    });
    match ended {
        Ok(()) => Ok(0),
        Err(error) => {
            complain(&format!("error: {error}"));
            Ok(model::exit_code::INVALID_INPUT)
        }
    }
}

/// Becomes the agent; comes back only when that failed.
pub(crate) fn probe(seen: &Path, command: &[String]) -> Result<u8, Problem> {
    let Some((program, args)) = command.split_first() else { return Ok(model::exit_code::USAGE) };
    let error = api::probe(seen, program, args);
    complain(&format!("error: `{program}` cannot be started: {error}"));
    // What shells say of a command that is not found.
    Ok(127)
}
