//! `runs list|show|report|export`

use std::fmt::Write;
use std::path::Path;

use api::{Harness, StoredCase, StoredRun, StoredRunWithCases};
use report::{Cell, duration, one_line, symbol, table};

use super::show;
use crate::args::{Format, Output, Runs};
use crate::problem::Problem;
use crate::terminal::{Terminal, print, print_json};

pub(crate) fn run(harness: &Harness, command: Runs, terminal: Terminal) -> Result<u8, Problem> {
    match command {
        Runs::List { output } => {
            let stored = harness.runs_list()?;
            for warning in &stored.warnings {
                terminal.say(&format!("warning: {warning}"));
            }
            show(&stored.runs, output, |runs| list(runs))
        }
        Runs::Show { run, case: None, output } => show(&harness.runs_show(&run)?, output, |run| one(run, terminal)),
        Runs::Show { run, case: Some(case), output } => show(&harness.runs_case(&run, &case)?, output, one_case),
        Runs::Report { run, output } => report(harness, &run, output),
        Runs::Logs(args) => super::logs::run(harness, args, terminal),
        Runs::Export { run, baseline: _, output } => export(harness, &run, output.as_deref(), terminal),
    }
}

fn list(runs: &[StoredRun]) -> String {
    let mut rows = vec![["RUN", "MATRIX", "STARTED", "CASES", "PASSED", "EXIT", "DIRECTORY"].map(Cell::plain).to_vec()];
    for StoredRun { dir, run } in runs {
        let exit = match (run.exit_code, run.finished_at) {
            (Some(code), _) => code.to_string(),
            (None, Some(_)) => "killed".to_owned(),
            (None, None) => "unfinished".to_owned(),
        };
        rows.push(vec![
            Cell::plain(run.run_id.as_str()),
            Cell::plain(&run.matrix),
            Cell::plain(format!("{:.0}", run.started_at)),
            Cell::plain(run.totals.total.to_string()),
            Cell::plain(run.totals.passed.to_string()),
            Cell::plain(exit),
            Cell::plain(one_line(dir)),
        ]);
    }
    if runs.is_empty() { String::new() } else { table(&rows, "") }
}

/// Every case on a line of its own, then the summary.
fn one(run: &StoredRunWithCases, terminal: Terminal) -> String {
    let mut rows = Vec::new();
    for case in &run.cases {
        let control = if case.control { " (control)" } else { "" };
        rows.push(vec![
            Cell::plain(format!("{} {}", symbol(case.outcome), case.outcome)),
            Cell::plain(format!("{}{control}", case.id)),
            Cell::plain(duration(case.duration_ms)),
            Cell::plain(case.cluster_kind.as_str()),
        ]);
    }
    format!("{}\n{}", table(&rows, ""), report::summary(run.view(), terminal.style()))
}

fn one_case(stored: &StoredCase) -> String {
    let case = &stored.case;
    let mut out = String::new();
    let class = case.class.map(|class| format!(" [{class}]")).unwrap_or_default();
    let _ = writeln!(out, "{} {}{class}  {}", symbol(case.outcome), case.outcome, case.id);
    if !case.message.is_empty() {
        let _ = writeln!(out, "{}", one_line(&case.message));
    }
    let witness = case.witness.as_ref().map_or("none", |witness| witness.kind.as_str());
    let gated = if case.gated { "yes" } else { "no" };
    let took = duration(case.duration_ms);
    let _ =
        writeln!(out, "\ncluster {} ({}), {took}, witness: {witness}, gated: {gated}", case.cluster, case.cluster_kind);
    let mut rows = vec![["PHASE", "RESULT", "TOOK", ""].map(Cell::plain).to_vec()];
    for phase in &case.phases {
        rows.push(vec![
            Cell::plain(phase.phase.as_str()),
            Cell::plain(phase.result.as_str()),
            Cell::plain(duration(phase.duration_ms)),
            Cell::plain(one_line(phase.message.as_deref().unwrap_or_default())),
        ]);
    }
    let _ = write!(out, "\n{}", table(&rows, ""));
    if let Some(verdict) = &case.verdict {
        let _ = write!(out, "\n{}", table(&verdict_rows(verdict), ""));
    }
    let _ = write!(out, "\n{}", super::agents::answer_and_usage(case));
    out.push_str(&denials(&case.denied));
    for leak in &case.leaks {
        let _ = writeln!(out, "leak: {}: {}", one_line(&leak.what), one_line(&leak.object));
    }
    let _ = writeln!(out, "Logs: {}", one_line(&stored.logs));
    out
}

/// What was denied, with the lines that would allow it.
fn denials(denied: &[model::DeniedRequest]) -> String {
    let mut out = String::new();
    for one in denied {
        let times = if one.times > 1 { format!(" ({} times)", one.times) } else { String::new() };
        let _ = writeln!(out, "\ndenied to the {}{times}: {}", one.party, one_line(&report::denied_request(one)));
        one.allow_with.lines().for_each(|line| out.push_str(&format!("  {}\n", report::printable(line))));
    }
    out
}

fn verdict_rows(verdict: &model::Verdict) -> Vec<Vec<Cell>> {
    let columns = [
        ("detection", &verdict.detection),
        ("localization", &verdict.localization),
        ("fault_type", &verdict.fault_type),
        ("mitigation", &verdict.mitigation),
        ("safety", &verdict.safety),
        ("efficiency", &verdict.efficiency),
    ];
    let mut rows = vec![["COLUMN", "RESULT", "DECIDES", "BECAUSE"].map(Cell::plain).to_vec()];
    for (name, column) in columns {
        rows.push(vec![
            Cell::plain(name),
            Cell::plain(column.result.as_str()),
            Cell::plain(if column.decides { "yes" } else { "no" }),
            Cell::plain(one_line(&column.because)),
        ]);
    }
    rows
}

fn export(harness: &Harness, run: &str, output: Option<&Path>, terminal: Terminal) -> Result<u8, Problem> {
    let exported = harness.runs_export_baseline(run, output)?;
    exported.warnings.iter().for_each(|warning| terminal.say(&format!("warning: {warning}")));
    match output {
        Some(path) => terminal.say(&format!("Written to {}", path.display())),
        None => print(&exported.text)?,
    }
    Ok(0)
}

fn report(harness: &Harness, run: &str, output: Output) -> Result<u8, Problem> {
    let run = harness.runs_show(run)?;
    match output.format {
        Format::Json => print_json(&run)?,
        Format::Human => print(&report::markdown(run.view()))?,
    }
    Ok(0)
}
