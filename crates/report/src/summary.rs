//! The terminal summary: tables, what did not pass and why, totals, where the report lies.

use std::fmt::Write;

use model::{CaseFile, Outcome, Totals};

use crate::View;
use crate::groups::{COLUMNS, Group, by_cluster};
use crate::rates::{Asked, cut_short, flaky, met, rates};
use crate::table::{Cell, colored, table, widths};
use crate::text::{duration, one_line, symbol};

/// How a summary is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// With ANSI colours.
    pub color: bool,
    /// Columns of the terminal; a table that is wider becomes one line a case.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 100 }
    }
}

/// How many cases are explained before the summary points at the report.
const EXPLAINED: usize = 50;

/// The summary of a run, ending in a line end.
pub fn summary(view: View<'_>, style: Style) -> String {
    let mut out = String::new();
    let run = view.run;
    let took = run.finished_at.map_or("not finished".to_owned(), |end| {
        duration(u64::try_from(end.duration_since(run.started_at).as_millis()).unwrap_or(0))
    });
    line(&mut out, &format!("{}  run {}  {} cases  {took}", run.matrix, run.run_id, view.cases.len()));
    for group in by_cluster(view.cases) {
        line(&mut out, "");
        line(&mut out, &group.title());
        out.push_str(&table(&outcomes(&group, style), "  "));
        let tallies = columns(&group);
        if tallies.len() > 1 {
            line(&mut out, "");
            out.push_str(&table(&tallies, "  "));
        }
    }
    pass_rates(&mut out, view.cases);
    explain(&mut out, view, style);
    not_steady(&mut out, view.cases);
    acceptance(&mut out, view);
    line(&mut out, "");
    for left in &run.left {
        line(&mut out, &format!("A cluster could not be removed: {}", one_line(left)));
    }
    if let Some(how) = cut_short(run, view.cases) {
        line(&mut out, &format!("{how}."));
    }
    line(&mut out, &totals(&run_totals(view)));
    line(&mut out, &format!("Report: {}/report.md", one_line(view.dir)));
    out
}

/// Totals of the cases that are shown: those of a run that was cut off are not in its file.
pub(crate) fn run_totals(view: View<'_>) -> Totals {
    let mut totals = Totals::default();
    for case in view.cases {
        totals.add(case.outcome, case.control, !case.leaks.is_empty());
    }
    totals
}

/// `3 passed, 1 failed, 2 controls; 0 leaked`; what is zero is left out, but for `passed`.
pub(crate) fn totals(totals: &Totals) -> String {
    let named = [
        (totals.failed, "failed"),
        (totals.timed_out, "timed_out"),
        (totals.invalid, "invalid"),
        (totals.error, "error"),
        (totals.skipped, "skipped"),
        (totals.interrupted, "interrupted"),
        (totals.leaked, "leaked"),
    ];
    let mut text = format!("{} passed", totals.passed);
    for (count, word) in named.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, ", {count} {word}");
    }
    match totals.control {
        0 => {}
        1 => text.push_str("; 1 control"),
        n => {
            let _ = write!(text, "; {n} controls");
        }
    }
    text
}

/// `✓ passed` for one case, `✓ 2 passed, ✗ 1 failed` for repeats.
fn ended(outcomes: &[(Outcome, usize)], style: Style) -> Cell {
    let single = outcomes.len() == 1 && outcomes[0].1 == 1;
    let mut cell = Cell::plain("");
    for (index, (outcome, count)) in outcomes.iter().enumerate() {
        cell.push_plain(if index == 0 { "" } else { ", " });
        let count = if single { String::new() } else { format!("{count} ") };
        cell.push(*outcome, &format!("{} {count}{outcome}", symbol(*outcome)), style);
    }
    cell
}

/// Failure x agent; where that is too wide for the terminal, a line for each pair.
fn outcomes(group: &Group<'_>, style: Style) -> Vec<Vec<Cell>> {
    let head = |agent: &crate::groups::Agent<'_>| {
        Cell::plain(if agent.control { format!("{} (control)", agent.id) } else { agent.id.to_string() })
    };
    let mut rows = vec![std::iter::once(Cell::plain("")).chain(group.agents.iter().map(head)).collect()];
    for failure in &group.failures {
        let cells = group.agents.iter().map(|agent| ended(&group.cell(failure, agent.id), style));
        rows.push(std::iter::once(Cell::plain(failure.to_string())).chain(cells).collect());
    }
    if widths(&rows).iter().map(|width| width + 2).sum::<usize>() <= style.width {
        return rows;
    }
    let pairs = group.failures.iter().flat_map(|failure| group.agents.iter().map(move |agent| (failure, agent)));
    pairs
        .map(|(failure, agent)| {
            let cell = ended(&group.cell(failure, agent.id), style);
            vec![Cell::plain(failure.to_string()), head(agent), cell]
        })
        .collect()
}

/// Agent x column of the verdict, with a heading row; only the heading where no agent was judged.
fn columns(group: &Group<'_>) -> Vec<Vec<Cell>> {
    let tallies = group.tallies();
    let asked = |index: usize| tallies.iter().any(|(_, tallies)| tallies[index].judged > 0);
    let shown: Vec<usize> = (0..COLUMNS.len()).filter(|index| asked(*index)).collect();
    let mut rows: Vec<Vec<Cell>> = vec![
        std::iter::once(Cell::plain("right")).chain(shown.iter().map(|index| Cell::plain(COLUMNS[*index]))).collect(),
    ];
    for (agent, tallies) in tallies.iter().filter(|_| !shown.is_empty()) {
        let cells = shown.iter().map(|index| Cell::plain(tallies[*index].to_string()));
        rows.push(std::iter::once(Cell::plain(agent.to_string())).chain(cells).collect());
    }
    rows
}

/// Per agent and kind of cluster, with intervals.
fn pass_rates(out: &mut String, cases: &[CaseFile]) {
    let rates = rates(cases);
    if !rates.iter().any(|rate| rate.share.judged > 0) {
        return;
    }
    let heads = ["pass rate", "passed", "rate", "95 % interval", "unjudged"];
    let mut rows = vec![heads.map(Cell::plain).to_vec()];
    for rate in &rates {
        rows.push(vec![
            Cell::plain(format!("{} ({})", rate.agent, rate.kind)),
            Cell::plain(format!("{}/{}", rate.share.passed, rate.share.judged)),
            Cell::plain(rate.rate()),
            Cell::plain(rate.interval()),
            Cell::plain(rate.unjudged.to_string()),
        ]);
    }
    line(out, "");
    out.push_str(&table(&rows, ""));
}

fn not_steady(out: &mut String, cases: &[CaseFile]) {
    let flaky = flaky(cases);
    if !flaky.is_empty() {
        line(out, "");
    }
    for (what, how) in flaky.iter().take(EXPLAINED) {
        line(out, &format!("flaky: {what}: {}", one_line(how)));
    }
    if flaky.len() > EXPLAINED {
        line(out, &format!("… and {} more, see the report", flaky.len() - EXPLAINED));
    }
}

/// What the matrix asked of the run as a whole.
fn acceptance(out: &mut String, view: View<'_>) {
    let Some(acceptance) = &view.run.acceptance else { return };
    line(out, "");
    line(out, &format!("accept: {}", met(acceptance.met)));
    for part in &acceptance.parts {
        let Asked { of, asked, found } = Asked::of(part);
        let text = format!("{}  {} of {of}: {found}, asked {asked}: {}", met(part.met), part.rule, part.because);
        line(out, &format!("  {}", one_line(&text)));
    }
    for note in &acceptance.notes {
        line(out, &format!("  {}", one_line(note)));
    }
}

/// Why cases did not pass, and what was left behind.
fn explain(out: &mut String, view: View<'_>, style: Style) {
    let open: Vec<&CaseFile> = view.cases.iter().filter(|case| wants_explanation(case)).collect();
    if !open.is_empty() {
        line(out, "");
    }
    for case in open.iter().take(EXPLAINED) {
        let head = colored(case.outcome, &format!("{} {}", symbol(case.outcome), case.outcome), style);
        let control = if case.control { " (control)" } else { "" };
        let class = case.class.map(|class| format!(" [{class}]")).unwrap_or_default();
        let text = format!("{head}  {}{control}{class}  {}", case.id, one_line(&case.message));
        line(out, text.trim_end());
        for leak in &case.leaks {
            line(out, &format!("    {}: {}", one_line(&leak.what), one_line(&leak.object)));
        }
    }
    if open.len() > EXPLAINED {
        line(out, &format!("… and {} more, see the report", open.len() - EXPLAINED));
    }
}

/// Everything that did not pass; of controls, which should not pass, what neither failed nor ran out of time.
fn wants_explanation(case: &CaseFile) -> bool {
    let expected = if case.control {
        matches!(case.outcome, Outcome::Failed | Outcome::TimedOut | Outcome::Skipped)
    } else {
        case.outcome == Outcome::Passed
    };
    !expected || !case.leaks.is_empty()
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
