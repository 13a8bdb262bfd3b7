//! `recover`

use std::fmt::Write;

use api::{Harness, LeftCluster, OrphanReport, Orphans, RecoverInput, RecoverReport, RecoveredCase};

use report::printable;

use super::{runtime, show};
use crate::args::{Format, Recover};
use crate::problem::Problem;
use crate::terminal::Terminal;

pub(crate) fn run(harness: &Harness, args: Recover, terminal: Terminal) -> Result<u8, Problem> {
    // The document comes at the end; people who wait for it hear of each case as it is done.
    let live = args.output.format == Format::Json;
    let tell = |case: &RecoveredCase| {
        if live {
            terminal.say(line(case).trim_end());
        }
    };
    let orphans = if args.orphans { Orphans::Remove } else { Orphans::List };
    let input = RecoverInput { run: args.run, orphans, kubeconfig: args.kubeconfig };
    let report = runtime()?.block_on(harness.recover(input, tell))?;
    for warning in &report.warnings {
        terminal.say(&format!("warning: {warning}"));
    }
    show(&report, args.output, human)?;
    Ok(report.exit_code)
}

/// One case in a line, and what it left under it.
pub(super) fn line(case: &RecoveredCase) -> String {
    let RecoveredCase { run, case, cluster, result, left } = case;
    let what = match *result {
        "put_back" => "everything is as it was before it",
        "live" => "its run is still at work and was left alone",
        "leaked" => "this is not as it was:",
        _ => "it could not be put back, and is tried again by the next run or `recover`:",
    };
    let mut out = format!("{case} of run {run} on {cluster}: {what}\n");
    for one in left {
        let _ = writeln!(out, "  {one}");
    }
    out
}

/// One cluster in a line.
pub(super) fn cluster_line(cluster: &LeftCluster) -> String {
    let name = printable(&cluster.name);
    match (cluster.result, &cluster.why) {
        ("removed", _) => format!("kind cluster {name} was left by a run that was killed, and is removed\n"),
        ("unclaimed", _) => format!(
            "kind cluster {name} was not made by you on this machine, and was left alone; if no run needs it: kind delete \
             cluster --name {name}\n"
        ),
        (_, why) => printable(why.as_deref().unwrap_or("a cluster is left")) + "\n",
    }
}

fn human(report: &RecoverReport) -> String {
    let mut out: String = report.cases.iter().map(line).collect();
    for run in &report.runs {
        let _ = writeln!(out, "run {run} had no end: what it had begun and not judged is interrupted");
    }
    out.extend(report.clusters.iter().map(cluster_line));
    for orphan in &report.orphans {
        let OrphanReport { cluster, label, lease, objects, removed, left } = orphan;
        let untouched = removed.is_empty() && left.is_empty();
        let what = match (*lease, untouched) {
            ("held", _) => "of a run that is alive",
            (_, true) => "of a run that is dead; `recover --orphans` removes them",
            (_, false) => "of a run that is dead",
        };
        let _ = writeln!(out, "{cluster}: {} objects with label {label}, {what} (Lease {lease})", objects.len());
        for one in objects.iter().filter(|_| untouched) {
            let _ = writeln!(out, "  {one}");
        }
        for one in removed {
            let _ = writeln!(out, "  removed {one}");
        }
        for one in left {
            let _ = writeln!(out, "  left {one}");
        }
    }
    if out.is_empty() { "There is nothing to recover.\n".to_owned() } else { out }
}
