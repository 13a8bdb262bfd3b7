//! `run`

use std::fmt::Write;

use api::{Cancel, Harness, Notice, Plan, RunFinished, RunInput};

use super::{runtime, show};
use crate::args::{Format, Run};
use crate::problem::{Problem, diagnostics};
use crate::terminal::{Terminal, print, print_json};
use crate::{interrupt, progress};

pub(crate) fn run(harness: Harness, args: Run, terminal: Terminal) -> Result<u8, Problem> {
    let input = RunInput {
        matrix: args.matrix,
        filter: args.filter,
        repeat: args.repeat,
        timeout_per_test: args.timeout_per_test,
        fail_fast: args.fail_fast,
        exit_zero: args.exit_zero,
        allow_skipped: args.allow_skipped,
        junit: args.junit,
    };
    if args.dry_run {
        let plan = harness.plan(&input)?;
        diagnostics(&plan.warnings, terminal);
        return show(&plan, args.output, dry_run);
    }
    let listeners = progress::listeners(terminal, args.follow);
    let finished = runtime()?.block_on(async {
        let (canceller, cancel) = Cancel::new();
        interrupt::listen(canceller, "Interrupted: putting everything back. Once more to leave at once.")?;
        let notice = |notice: Notice<'_>| match notice {
            Notice::Matrix(warnings) if !terminal.quiet => diagnostics(warnings, terminal),
            Notice::Matrix(_) => {}
            Notice::Recovered(case) => terminal.say(super::recover::line(case).trim_end()),
        };
        Ok::<RunFinished, Problem>(harness.run(input, notice, listeners, cancel).await?)
    })?;
    for warning in &finished.warnings {
        terminal.say(&format!("warning: {warning}"));
    }
    match args.output.format {
        Format::Json => print_json(&finished.document)?,
        Format::Human => print(&finished.summary(terminal.style()))?,
    }
    Ok(finished.document.exit_code)
}

/// The cases, and what the failures may do: the most that the run can touch.
fn dry_run(plan: &Plan) -> String {
    let mut out = String::new();
    for case in &plan.cases {
        let control = if case.control { " (control)" } else { "" };
        let _ = writeln!(out, "{}{control}", case.id);
    }
    let _ =
        writeln!(out, "\n{} cases; agents get {} in the namespace of their case.", plan.cases.len(), plan.agent_access);
    for failure in &plan.failures {
        let note = if failure.exclusive { ", alone on its cluster" } else { "" };
        let _ = writeln!(out, "\n{} may{note}:", failure.name);
        out.push_str(&super::failures::powers(&failure.capabilities));
    }
    let _ = writeln!(out, "\nNothing was run.");
    out
}
