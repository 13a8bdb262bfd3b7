//! `agents list|show|test`, and the built-in agents

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use api::{AgentDetails, AgentEntry, AgentTest, AgentTested, AgentVisit, AgentVisited, Cancel, Given, Harness, OnLine};
use model::{AnswerRecord, CaseFile, Isolation, Usage};
use report::{Cell, one_line, printable, symbol, table};

use super::{runtime, show};
use crate::args::{Agents, AgentsRun, Output};
use crate::interrupt::{self, Words};
use crate::problem::{Problem, diagnostics};
use crate::progress;
use crate::terminal::{Terminal, complain};

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
        Agents::Run(args) => visit(harness, args),
    }
}

fn entries(agents: &[AgentEntry]) -> String {
    let mut rows = vec![["ID", "EXECUTOR", "SUPPORTS", "READY", "VERIFIED", "DESCRIPTION"].map(Cell::plain).to_vec()];
    for agent in agents {
        let supports: Vec<&str> = agent.supports.iter().map(|objective| objective.as_str()).collect();
        let ready = if agent.missing.is_some() { "no" } else { "yes" };
        let verified = one_line(agent.verified.as_deref().unwrap_or("no: its output was never seen"));
        let description = one_line(agent.missing.as_deref().or(agent.description.as_deref()).unwrap_or_default());
        rows.push(
            [agent.id.clone(), agent.executor.clone(), supports.join(", "), ready.to_owned(), verified, description]
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
        interrupt::listen(canceller, Words::of_a_case(&harness.recover_command()))?;
        Ok::<AgentTested, Problem>(harness.agents_test(test, listeners, cancel).await?)
    })?;
    show(&tested, output, tested_human)?;
    Ok(tested.exit_code)
}

fn visit(harness: &Harness, args: AgentsRun) -> Result<u8, Problem> {
    let AgentsRun { id, namespace, kubeconfig, context, timeout_per_test, answer, args, output, .. } = args;
    let visit = AgentVisit { id, args, kubeconfig, context, namespace, time: timeout_per_test, answer };
    let visited = runtime()?.block_on(async {
        let (canceller, cancel) = Cancel::new();
        interrupt::listen(canceller, Words::plain("Interrupted: ending the agent. Once more to leave at once."))?;
        let on_line: OnLine = Arc::new(|_, line| {
            complain(&printable(line));
            None
        });
        Ok::<AgentVisited, Problem>(harness.agents_run(visit, on_line, cancel).await?)
    })?;
    show(&visited, output, |visited| {
        let mut out = format!("The agent ended: {}\n", one_line(&visited.ended));
        if let Some(why) = &visited.unavailable {
            let _ = writeln!(out, "It could not work: {}", one_line(why));
        }
        out.push_str(&answered(&visited.answer));
        out.push_str(&used(&visited.usage));
        out
    })?;
    Ok(visited.exit_code)
}

fn tested_human(tested: &AgentTested) -> String {
    let mut out = String::new();
    match &tested.given {
        Some(given) => out.push_str(&what_it_was_given(given)),
        None => out.push_str("The agent was not started.\n"),
    }
    let case = &tested.case;
    let _ = writeln!(out, "\n{} {}  {}", symbol(case.outcome), case.outcome, one_line(&case.message));
    out.push_str(&answer_and_usage(case));
    let _ = writeln!(out, "Isolation: {}", isolation(&case.isolation));
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

fn what_it_was_given(given: &Given) -> String {
    let mut out = "Task:\n".to_owned();
    for line in serde_json::to_string_pretty(&given.task).unwrap_or_default().lines() {
        let _ = writeln!(out, "  {}", printable(line));
    }
    let _ = writeln!(out, "\nEnvironment: {}", given.environment.join(", "));
    if !given.landlock {
        let _ = writeln!(out, "\nFiles: all that you may read and write; this machine has no Landlock");
        return out;
    }
    let paths = |paths: &[PathBuf]| {
        let paths: Vec<String> = paths.iter().map(|path| one_line(&path.display().to_string())).collect();
        paths.join("  ")
    };
    let _ = writeln!(out, "\nFiles that it may read, and no others (`sandbox.read` of its preset adds more):");
    let (etc, rest): (Vec<PathBuf>, Vec<PathBuf>) =
        given.sandbox.read.iter().cloned().partition(|path| path.starts_with("/etc"));
    let _ = writeln!(out, "  {}", paths(&rest));
    let _ = writeln!(out, "  and of /etc {} files and folders without secrets", etc.len());
    let _ = writeln!(out, "Folders that it may write to:\n  {}", paths(&given.sandbox.write));
    out
}

fn isolation(isolation: &Isolation) -> String {
    let parts = [
        ("a home of its own", isolation.home),
        ("only the listed environment", isolation.environment),
        ("no process got away", isolation.process_tree),
        ("files hidden by Landlock", isolation.landlock),
    ];
    let parts = parts.map(|(what, enforced)| if enforced { what.to_owned() } else { format!("NOT: {what}") });
    parts.join(", ")
}

/// What the agent handed in and used.
pub(super) fn answer_and_usage(case: &CaseFile) -> String {
    let gate = case.gate;
    format!(
        "{}{}Gate: {} requests, {} mutations, {} denials\n",
        answered(&case.answer),
        used(&case.usage),
        gate.requests,
        gate.mutations,
        gate.denials
    )
}

fn answered(answer: &AnswerRecord) -> String {
    let mut out = String::new();
    match (&answer.parsed, &answer.error) {
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
    out
}

fn used(usage: &Usage) -> String {
    let mut out = String::new();
    let number = |n: Option<u64>| n.map_or("unknown".to_owned(), |n| n.to_string());
    let cost = usage.cost_usd.map_or("unknown".to_owned(), |cost| format!("${cost:.4}"));
    let _ = writeln!(
        out,
        "Usage ({}): {} tokens in ({} from a cache), {} tokens out, {} turns, {} tool calls, cost {cost}{}",
        usage.source,
        number(usage.input_tokens),
        number(usage.cached_input_tokens),
        number(usage.output_tokens),
        number(usage.turns),
        number(usage.tool_calls),
        usage.model.as_deref().map(|model| format!(", {}", one_line(model))).unwrap_or_default(),
    );
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
