//! `run`

use std::fmt::Write;

use api::{Cancel, ClusterPlan, Harness, Notice, Plan, RunFinished, RunInput};
use report::{one_line, printable};

use super::{runtime, show};
use crate::args::{Format, Run};
use crate::problem::{Problem, diagnostics};
use crate::terminal::{Terminal, complain, print, print_json};
use crate::{interrupt, progress};

pub(crate) fn run(harness: Harness, args: Run, terminal: Terminal) -> Result<u8, Problem> {
    let input = RunInput {
        matrix: args.matrix,
        choice: args.choice.take(),
        repeat: args.repeat,
        retries: args.retries,
        parallel_clusters: args.parallel_clusters,
        timeout_per_test: args.timeout_per_test,
        fail_fast: args.fail_fast,
        exit_zero: args.exit_zero,
        allow_skipped: args.allow_skipped,
        junit: args.junit,
    };
    if args.dry_run {
        let plan = harness.plan(&input)?;
        diagnostics(&plan.warnings, terminal);
        show(&plan, args.output, dry_run)?;
        return Ok(if plan.refused().is_some() { model::exit_code::INVALID_INPUT } else { model::exit_code::OK });
    }
    let listeners = progress::listeners(terminal, args.follow);
    let finished = runtime()?.block_on(async {
        let (canceller, cancel) = Cancel::new();
        interrupt::listen(canceller, interrupt::Words::of_a_case(&harness.recover_command()))?;
        let notice = |notice: Notice<'_>| match notice {
            Notice::Matrix(warnings) if !terminal.quiet => diagnostics(warnings, terminal),
            Notice::Matrix(_) => {}
            Notice::Recovered(case) => terminal.say(super::recover::line(case).trim_end()),
            Notice::Removed(cluster) => terminal.say(super::recover::cluster_line(cluster).trim_end()),
        };
        Ok::<RunFinished, Problem>(harness.run(input, notice, listeners, cancel).await?)
    })?;
    for warning in &finished.warnings {
        terminal.say(&format!("warning: {warning}"));
    }
    let exit_code = finished.exit_code();
    let printed = match args.output.format {
        Format::Json => print_json(&finished.into_document()),
        Format::Human => print(&finished.summary(terminal.style())),
    };
    if let Err(error) = printed {
        // The run is what it is, and its report is in its directory.
        complain(&format!("error: standard output: {error}"));
    }
    Ok(exit_code)
}

/// The cases, and the most that the run can touch.
fn dry_run(plan: &Plan) -> String {
    let mut out = String::new();
    for case in &plan.cases {
        let control = if case.control { " (control)" } else { "" };
        let _ = writeln!(out, "{}{control}", case.id);
    }
    let cases = if plan.cases.len() == 1 { "1 case".to_owned() } else { format!("{} cases", plan.cases.len()) };
    let _ = writeln!(out, "\n{cases}.\n\nClusters:");
    plan.clusters.iter().for_each(|cluster| out.push_str(&in_words(cluster)));
    for failure in &plan.failures {
        let _ = writeln!(out, "\n== Failure {} ({})", failure.name, failure.digest);
        out.push_str(&super::failures::blast_radius(&failure.blast_radius));
        out.push_str(&super::failures::not_granted(&failure.not_granted));
    }
    let _ = writeln!(out, "\n== Agents; the matrix gives them {}", one_line(&plan.agent_access));
    for agent in &plan.agents {
        let (program, access) = (one_line(&agent.program), one_line(&agent.access));
        let sandbox = if agent.require_sandbox { ", only in a sandbox" } else { "" };
        let _ = writeln!(out, "{} on {}: {access}{sandbox}; runs {program} on this machine", agent.name, agent.cluster);
        out.push_str(&super::failures::not_granted(agent.not_granted.as_slice()));
    }
    let _ = match plan.refused() {
        Some(_) => writeln!(out, "\nNothing was run, and nothing would be: a cluster is refused."),
        None => writeln!(out, "\nNothing was run."),
    };
    out
}

/// The program `kind` is run, and it runs containers.
fn made_for_the_run(cluster: &ClusterPlan) -> String {
    let from = cluster.template.as_deref().map(|template| format!(", from {}", one_line(template))).unwrap_or_default();
    let by = if cluster.provisioner == "kind" { ", by the program kind on this machine" } else { "" };
    format!("  {}: made for the run ({}{from}){by}\n", cluster.id, cluster.provisioner)
}

fn in_words(cluster: &ClusterPlan) -> String {
    let mut out = match (&cluster.context, &cluster.server) {
        (Some(context), Some(server)) => {
            format!("  {}: exists already, {} (context {})\n", cluster.id, one_line(server), one_line(context))
        }
        _ => made_for_the_run(cluster),
    };
    if !cluster.limits.is_empty() {
        let limits: Vec<String> = cluster.limits.iter().map(|(what, most)| format!("{what} {most}")).collect();
        let _ = writeln!(out, "    cases may use at most {}", one_line(&limits.join(", ")));
    }
    if let Some(refused) = &cluster.refused {
        let _ = writeln!(out, "    refused:");
        refused.lines().for_each(|line| out.push_str(&format!("    {}\n", printable(line))));
    }
    out
}
