//! `report.md`: the run for people who were not there.

use std::fmt::Write;

use model::{CaseFile, Class, Column, ColumnResult, Outcome, Rule, UsageSource};

use crate::groups::{COLUMNS, Group, by_cluster, columns};
use crate::rates::{Asked, cut_short, flaky, met, rates};
use crate::summary::{run_totals, totals};
use crate::text::{denied_request, duration, one_line, printable, symbol};
use crate::{View, floor};

/// The report as Markdown. Text from outside cannot change its structure.
pub fn markdown(view: View<'_>) -> String {
    let mut out = String::new();
    heading(&mut out, view);
    acceptance(&mut out, view);
    pass_rates(&mut out, view.cases);
    for group in by_cluster(view.cases) {
        let _ = writeln!(out, "\n## Cluster {}\n", escape(&group.title()));
        outcomes(&mut out, view, &group);
        tallies(&mut out, &group);
        usage(&mut out, &group);
    }
    not_steady(&mut out, view.cases);
    not_passed(&mut out, view.cases);
    leaks(&mut out, view.cases);
    cases(&mut out, view.cases);
    out
}

fn heading(out: &mut String, view: View<'_>) {
    let run = view.run;
    let _ = writeln!(out, "# {} · run {}\n", escape(&run.matrix), run.run_id);
    let _ = writeln!(out, "**{}**\n", totals(&run_totals(view)));
    if let Some(how) = cut_short(run, view.cases) {
        let _ = writeln!(out, "**^ {}.**\n", escape(&how));
    }
    for left in &run.left {
        let _ = writeln!(out, "**A cluster could not be removed: {}**\n", escape(left));
    }
    let finished = run.finished_at.map_or("not finished".to_owned(), |at| format!("{at:.0}"));
    let mut facts = vec![
        ("Started", format!("{:.0}", run.started_at)),
        ("Finished", finished),
        ("Exit code", run.exit_code.map_or("none".to_owned(), |code| code.to_string())),
        ("Matrix digest", run.matrix_digest.clone()),
        ("Prompt digest", run.prompt_digest.clone()),
        ("Program", format!("{}, scoring {}, taxonomy {}", run.harness_version, run.scoring, run.taxonomy)),
    ];
    facts.extend(run.git_commit.iter().map(|commit| ("Commit", commit.clone())));
    for cluster in &run.clusters {
        let version = cluster.version.as_deref().map(|v| format!(", Kubernetes {v}")).unwrap_or_default();
        facts.push(("Cluster", format!("{} ({}){version}", cluster.id, cluster.kind)));
    }
    for failure in &run.failures {
        let renamed = if failure.name == failure.id { String::new() } else { format!(" as {}", failure.name) };
        facts.push(("Failure", format!("{}{renamed} {}, {}", failure.id, failure.version, failure.digest)));
    }
    for (name, value) in facts {
        let _ = writeln!(out, "- {name}: {}", escape(&value));
    }
}

fn acceptance(out: &mut String, view: View<'_>) {
    let Some(acceptance) = &view.run.acceptance else { return };
    let _ = writeln!(out, "\n## Accept: {}\n", met(acceptance.met));
    if !acceptance.parts.is_empty() {
        let heads = ["", "asked of", "asked", "found", "result", "because"];
        row(out, heads.map(str::to_owned).into_iter());
        row(out, std::iter::repeat_n("---".to_owned(), heads.len()));
    }
    for part in &acceptance.parts {
        let Asked { of, asked, found } = Asked::of(part);
        let result = met(part.met).to_owned();
        let cells = [part.rule.as_str(), &of, &asked, &found, &result, &part.because].map(escape);
        row(out, cells.into_iter());
    }
    for note in &acceptance.notes {
        let _ = writeln!(out, "\n{}", escape(note));
    }
}

fn pass_rates(out: &mut String, cases: &[CaseFile]) {
    let rates = rates(cases);
    if rates.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## Pass rates\n");
    let heads = ["clusters", "agent", "passed", "pass rate", "95 % interval", "unjudged", "not witnessed by the host"];
    row(out, heads.map(str::to_owned).into_iter());
    row(out, std::iter::repeat_n("---".to_owned(), heads.len()));
    for rate in rates {
        let cells = [
            rate.kind.to_string(),
            rate.agent.to_string(),
            format!("{}/{}", rate.share.passed, rate.share.judged),
            rate.rate(),
            rate.interval(),
            rate.unjudged.to_string(),
            rate.unwitnessed.to_string(),
        ];
        row(out, cells.into_iter());
    }
    let _ = writeln!(
        out,
        "\nOf the judged cases whose failure the host witnessed; Wilson's interval. Kinds of clusters are not mixed."
    );
}

fn not_steady(out: &mut String, cases: &[CaseFile]) {
    let flaky = flaky(cases);
    if flaky.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## Flaky\n");
    for (what, how) in flaky {
        let _ = writeln!(out, "- {}: {}", escape(&what), escape(&how));
    }
}

fn not_passed(out: &mut String, cases: &[CaseFile]) {
    let others: Vec<&CaseFile> = cases.iter().filter(|case| !case.control && case.outcome != Outcome::Passed).collect();
    if others.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## What did not pass\n");
    let heads = ["case", "outcome", "class", "rule", "reason"];
    row(out, heads.map(str::to_owned).into_iter());
    row(out, std::iter::repeat_n("---".to_owned(), heads.len()));
    for case in others {
        let outcome = format!("{} {}", symbol(case.outcome), case.outcome);
        let class = case.class.map_or("-", Class::as_str);
        let rule = case.rule.map_or("-", Rule::as_str);
        row(out, [case.id.as_str(), &outcome, class, rule, &case.message].map(escape).into_iter());
    }
}

fn outcomes(out: &mut String, view: View<'_>, group: &Group<'_>) {
    let floor = floor::of_group(view.run, group);
    let heads: Vec<String> = group
        .agents
        .iter()
        .map(|agent| if agent.control { format!("{} (control)", agent.id) } else { agent.id.to_string() })
        .collect();
    let heads: Vec<String> = heads.into_iter().chain(floor.as_ref().map(|_| "the floor".to_owned())).collect();
    row(out, std::iter::once("failure".to_owned()).chain(heads.iter().cloned()));
    row(out, std::iter::repeat_n("---".to_owned(), heads.len() + 1));
    for (number, failure) in group.failures.iter().enumerate() {
        let cells = group.agents.iter().map(|agent| {
            let parts = group.cell(failure, agent.id);
            let single = parts.len() == 1 && parts[0].1 == 1;
            let part = |(outcome, count): &(model::Outcome, usize)| {
                let count = if single { String::new() } else { format!("{count} ") };
                escape(&format!("{} {count}{outcome}", symbol(*outcome)))
            };
            parts.iter().map(part).collect::<Vec<_>>().join(", ")
        });
        let floor = floor.iter().map(|floor| escape(&floor[number]));
        row(out, std::iter::once(escape(failure.as_str())).chain(cells).chain(floor));
    }
    if floor.is_some() {
        let _ = writeln!(
            out,
            "\nThe floor: what the built-in rules (`triage`) miss of it on an embedded cluster, as measured; an agent must beat \
             them."
        );
    }
}

fn tallies(out: &mut String, group: &Group<'_>) {
    let tallies = group.tallies();
    if !tallies.iter().any(|(_, tallies)| tallies.iter().any(|tally| tally.judged > 0)) {
        return;
    }
    let _ = writeln!(out, "\nRight, of the witnessed cases that were judged on it:\n");
    row(out, std::iter::once("agent".to_owned()).chain(COLUMNS.iter().map(|name| escape(name))));
    row(out, std::iter::repeat_n("---".to_owned(), COLUMNS.len() + 1));
    for (agent, tallies) in tallies {
        row(out, std::iter::once(agent.to_string()).chain(tallies.iter().map(ToString::to_string)));
    }
}

fn usage(out: &mut String, group: &Group<'_>) {
    let _ = writeln!(
        out,
        "\nWhat the agents asked and used, all cases together, the cost with that of attempts that were made again:\n"
    );
    let heads = ["agent", "requests", "mutations", "denials", "tokens in", "tokens out", "cost"];
    row(out, heads.map(str::to_owned).into_iter());
    row(out, std::iter::repeat_n("---".to_owned(), heads.len()));
    for agent in &group.agents {
        let own: Vec<&&CaseFile> = group.cases.iter().filter(|case| case.agent == *agent.id).collect();
        let gate = |pick: fn(&CaseFile) -> u64| own.iter().map(|case| pick(case)).fold(0u64, u64::saturating_add);
        let known = own.iter().filter(|case| case.usage.source != UsageSource::Unknown).count();
        let whole = |pick: fn(&CaseFile) -> Option<u64>| {
            let sum = own.iter().filter_map(|case| pick(case)).fold(0u64, u64::saturating_add);
            of_known(sum.to_string(), known, own.len())
        };
        let costs: Vec<f64> = own.iter().filter_map(|case| case.spent_usd()).collect();
        let (cost, priced) = (costs.iter().sum::<f64>(), costs.len());
        row(
            out,
            [
                agent.id.to_string(),
                gate(|case| case.gate.requests).to_string(),
                gate(|case| case.gate.mutations).to_string(),
                gate(|case| case.gate.denials).to_string(),
                whole(|case| case.usage.input_tokens),
                whole(|case| case.usage.output_tokens),
                of_known(format!("${cost:.4}"), priced, own.len()),
            ]
            .into_iter(),
        );
    }
}

/// A sum says over how many cases it goes, where it does not go over all.
fn of_known(sum: String, known: usize, all: usize) -> String {
    match known {
        0 => "unknown".to_owned(),
        _ if known == all => sum,
        _ => format!("{sum} (of {known}/{all} cases)"),
    }
}

fn leaks(out: &mut String, cases: &[CaseFile]) {
    if cases.iter().all(|case| case.leaks.is_empty()) {
        return;
    }
    let _ = writeln!(out, "\n## Leaks\n");
    for case in cases {
        for leak in &case.leaks {
            let _ = writeln!(out, "- {}: {}: {}", escape(case.id.as_str()), escape(&leak.what), escape(&leak.object));
        }
    }
}

fn cases(out: &mut String, cases: &[CaseFile]) {
    let _ = writeln!(out, "\n## Cases");
    for case in cases {
        let control = if case.control { ", control" } else { "" };
        let class = case.class.map(|class| format!(", {class}")).unwrap_or_default();
        let outcome = escape(&format!("{} {}", symbol(case.outcome), case.outcome));
        let _ = writeln!(out, "\n### {outcome}: {}\n", escape(case.id.as_str()));
        let kind = case.cluster_kind;
        let _ = writeln!(out, "{kind}{class}{control}, {}", duration(case.duration_ms));
        if !case.message.is_empty() {
            let _ = writeln!(out, "\n{}", escape(&case.message));
        }
        let _ = writeln!(out);
        let witness = case.witness.as_ref().map_or("none", |witness| witness.kind.as_str());
        let isolation = enforced(case);
        let _ = writeln!(out, "- witness: {witness}; gated: {}; isolation: {isolation}", yes(case.gated));
        if let Some(verdict) = &case.verdict {
            for (name, column) in COLUMNS.iter().zip(columns(verdict)).filter(|(_, c)| shown(c)) {
                let decides = if column.decides { ", decides" } else { "" };
                let because = escape(&column.because);
                let _ = writeln!(out, "- {}: {}{decides}: {because}", escape(name), column.result);
            }
        }
        for denied in &case.denied {
            let times = if denied.times > 1 { format!(", {} times", denied.times) } else { String::new() };
            let what = escape(&denied_request(denied));
            let _ = writeln!(out, "- denied to the {}{times}: {what}", denied.party);
            if !denied.allow_with.is_empty() {
                // Indented by four and a bullet: code, whatever stands in it.
                let _ = writeln!(out);
                let lines = denied.allow_with.lines().map(printable);
                lines.for_each(|line| out.push_str(&format!("      {line}\n")));
                let _ = writeln!(out);
            }
        }
        if let Some(error) = &case.answer.error {
            let _ = writeln!(out, "- answer: {}", escape(error));
        }
        if let Some(explanation) = case.answer.parsed.as_ref().and_then(|answer| answer.explanation.as_ref()) {
            let _ = writeln!(out, "- the agent said: {}", escape(explanation));
        }
    }
}

fn shown(column: &Column) -> bool {
    column.decides || column.result != ColumnResult::None
}

fn enforced(case: &CaseFile) -> String {
    let all = [
        (case.isolation.home, "home"),
        (case.isolation.environment, "environment"),
        (case.isolation.process_tree, "process tree"),
        (case.isolation.landlock, "landlock"),
    ];
    let names: Vec<&str> = all.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn row(out: &mut String, cells: impl Iterator<Item = String>) {
    let _ = writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "));
}

/// Text as one line of Markdown that means itself.
fn escape(text: &str) -> String {
    let line = one_line(text);
    let mut escaped = String::with_capacity(line.len());
    let mut before = ' ';
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let in_word = before.is_alphanumeric() && chars.peek().is_some_and(|next| next.is_alphanumeric());
        let special = matches!(c, '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '#' | '&' | '~' | '!');
        // Inside a word an underscore means itself, and people search for `timed_out`.
        if special || (c == '_' && !in_word) {
            escaped.push('\\');
        }
        escaped.push(c);
        before = c;
    }
    escaped
}
