//! `failures list|show|inspect|new|build|test|run`

use std::fmt::Write;
use std::path::Path;

use api::{
    BlastRadius, Cancel, Capabilities, FailureDetails, FailureEntry, FailureRun, Harness, Held, Inspection, NotGranted,
};
use report::{Cell, one_line, printable, table};
use serde_json::Value;

use super::{runtime, show};
use crate::args::{Failures, FailuresRun, Output};
use crate::interrupt;
use crate::problem::{Problem, diagnostics};
use crate::terminal::{Terminal, print};

pub(crate) fn run(harness: &Harness, command: Failures, terminal: Terminal) -> Result<u8, Problem> {
    match command {
        Failures::List { output } => {
            let list = harness.failures_list();
            for problem in list.problems {
                diagnostics(&problem.diagnostics, terminal);
            }
            show(&list.failures, output, |failures| entries(failures))
        }
        Failures::Show { id, output } => show(&harness.failures_show(&id)?, output, details),
        Failures::Inspect { file, grants, output } => inspect(&file, grants, output),
        Failures::New { id, lang, dir } => {
            let made = harness.failures_new(&id, lang, dir.as_deref())?;
            print(&format!("{}\n", made.folder.display()))?;
            for command in &made.next {
                terminal.say(&format!("next: {command}"));
            }
            Ok(0)
        }
        Failures::Build { dir, output } => {
            let tell = |line: &str| terminal.say(line);
            show(&harness.failures_build(&dir, tell)?, output, |built| format!("{}\n", built.file.display()))
        }
        Failures::Test(args) => super::fitness::test(harness, args, terminal),
        Failures::Run(args) => hold(harness, args, terminal),
    }
}

fn entries(failures: &[FailureEntry]) -> String {
    let mut rows = vec![["ID", "VERSION", "KIND", "SEVERITY", "ORIGIN", "NAME"].map(Cell::plain).to_vec()];
    for failure in failures {
        rows.push(
            [&failure.id, &failure.version, &failure.kind, &failure.severity, &failure.origin, &failure.name]
                .map(|text| Cell::plain(one_line(text)))
                .to_vec(),
        );
    }
    table(&rows, "")
}

fn details(failure: &FailureDetails) -> String {
    let metadata = &failure.metadata;
    let text = |key: &str| metadata[key].as_str().unwrap_or_default();
    let mut out = String::new();
    let _ = writeln!(out, "{} {}: {}", failure.id, text("version"), one_line(text("name")));
    let _ = writeln!(out, "{}\n", one_line(text("description")));
    let mut rows = Vec::new();
    let mut fact = |name: &str, value: String| rows.push(vec![Cell::plain(name), Cell::plain(one_line(&value))]);
    fact("kind", failure.kind.clone());
    fact("origin", failure.origin.clone());
    fact("digest", failure.digest.clone());
    fact("severity", text("severity").to_owned());
    fact("expected", text("expected_duration").to_owned());
    fact("fault type", metadata["ground_truth"]["fault_type"].as_str().unwrap_or("not declared").to_owned());
    fact("symptoms", names(&metadata["symptoms"]));
    fact("health", names(&metadata["health"]));
    for (name, schema) in metadata["params"]["properties"].as_object().into_iter().flatten() {
        fact("parameter", format!("{name} = {}", schema["default"]));
    }
    out.push_str(&table(&rows, ""));
    let _ = writeln!(out);
    out.push_str(&blast_radius(&failure.blast_radius));
    out.push_str(&not_granted(&failure.not_granted));
    out
}

/// The most that a failure can touch.
pub(super) fn blast_radius(blast: &BlastRadius) -> String {
    let mut out = String::new();
    let mut list = |title: &str, lines: &[String], none: &str| {
        let _ = writeln!(out, "{title}:");
        lines.iter().for_each(|line| out.push_str(&format!("  {}\n", one_line(line))));
        if lines.is_empty() {
            let _ = writeln!(out, "  {none}");
        }
    };
    list("May ask of the cluster", &blast.may, "nothing");
    list("Unsafe", &blast.hazards, "nothing");
    let more = "and what its code makes, within the rules above".to_owned();
    let with_more = |lines: &[String]| {
        let mut lines = lines.to_vec();
        lines.extend((!blast.complete).then(|| more.clone()));
        lines
    };
    list("Objects", &with_more(&blast.objects), "none");
    list("Images", &with_more(&blast.images), "none");
    if !blast.from_seed.is_empty() {
        list("Chosen anew in each case; above stand the defaults", &blast.from_seed, "nothing");
    }
    list("Runs on this machine", &blast.on_this_machine, "nothing: its code has no files, programs or network");
    if blast.exclusive {
        let _ = writeln!(out, "It changes the cluster for everybody on it, and shares it with no other case.");
    }
    out
}

/// What nobody has granted, with the lines to add; the same lines once, with every cluster.
pub(super) fn not_granted(all: &[NotGranted]) -> String {
    let mut by_lines: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in all {
        match by_lines.iter_mut().find(|(lines, _)| *lines == one.lines) {
            Some((_, clusters)) => clusters.push(&one.cluster),
            None => by_lines.push((&one.lines, vec![&one.cluster])),
        }
    }
    let mut out = String::new();
    for (lines, clusters) in by_lines {
        let (place, lines) = lines.split_once('\n').unwrap_or((lines, ""));
        let _ = writeln!(out, "Declared and not granted on {}; {place}:", one_line(&clusters.join(", ")));
        lines.lines().for_each(|line| out.push_str(&format!("  {}\n", printable(line))));
    }
    out
}

fn names(list: &Value) -> String {
    let names: Vec<&str> = list.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What capabilities allow, one line a rule.
fn powers(capabilities: &Capabilities) -> String {
    let mut out = String::new();
    for rule in &capabilities.rules {
        let _ = writeln!(out, "  {}", one_line(&api::rule_in_words(rule)));
    }
    for name in &capabilities.unsafe_ {
        let _ = writeln!(out, "  unsafe: {name}");
    }
    if out.is_empty() { "  nothing beyond its workload\n".to_owned() } else { out }
}

fn inspect(file: &Path, grants: bool, output: Output) -> Result<u8, Problem> {
    let inspection = api::failures_inspect(file)?;
    if grants {
        print(&api::grants_stanza(&inspection)?)?;
        return Ok(0);
    }
    show(&inspection, output, inspected)
}

fn inspected(inspection: &Inspection) -> String {
    let mut rows = Vec::new();
    let mut fact = |name: &str, value: &str| rows.push(vec![Cell::plain(name), Cell::plain(one_line(value))]);
    fact("file", &inspection.path.to_string_lossy());
    fact("size", &format!("{} bytes", inspection.size));
    fact("digest", &inspection.digest);
    fact("world", inspection.world);
    inspection.imports.iter().for_each(|import| fact("import", import));
    inspection.foreign_imports.iter().for_each(|import| fact("not offered", import));
    inspection.exports.iter().for_each(|export| fact("export", export));
    inspection.files.iter().for_each(|(name, size)| fact("contains", &format!("{name} ({size} bytes)")));
    inspection.problems.iter().for_each(|problem| fact("problem", problem));
    let facts = table(&rows, "");
    let Some(metadata) = &inspection.parsed else {
        let why = if inspection.metadata.is_some() {
            "Its metadata cannot be used."
        } else {
            "It carries no metadata: it was never packed by `harness-cli failures build`."
        };
        return format!("{facts}\n{why}\n");
    };
    let title = format!("{} {}: {}", metadata.id, metadata.version, one_line(&metadata.name));
    let description = one_line(&metadata.description);
    format!("{title}\n{description}\n\n{facts}\nIt may:\n{}", powers(&metadata.capabilities))
}

fn hold(harness: &Harness, args: FailuresRun, terminal: Terminal) -> Result<u8, Problem> {
    let FailuresRun { id, params, hold, kubeconfig, context, .. } = args;
    let run = FailureRun { id, params, hold, kubeconfig, context };
    let code = runtime()?.block_on(async {
        let (canceller, cancel) = Cancel::new();
        interrupt::listen(canceller, interrupt::Words::of_a_case(&harness.recover_command()))?;
        Ok::<u8, Problem>(harness.failures_run(run, |held| tell(held, terminal), cancel).await?)
    })?;
    Ok(code)
}

fn tell(held: Held, terminal: Terminal) {
    match held {
        Held::Prepared(namespace) => terminal.say(&format!("Healthy in namespace {namespace}.")),
        Held::Induced => terminal.say("Induced; waiting for its symptoms."),
        Held::Witnessed(witness) => {
            for symptom in witness.symptoms {
                let object = symptom.object.unwrap_or_default();
                terminal.say(&format!("Symptom {} seen at {}.", one_line(&symptom.name), one_line(&object)));
            }
            terminal.say(&format!("Witnessed; health broken: {}.", one_line(&witness.health_broken.join(", "))));
        }
        Held::Ready(path) => {
            // The line is for scripts that wait for it; when nobody reads it, the hold goes on all the same.
            let _ = print(&format!("KUBECONFIG={path}\n"));
        }
        Held::StopFailed(error) => terminal.say(&one_line(&error)),
        Held::Remark(remark) => terminal.say(&one_line(&remark)),
        Held::PutBack(leaks) if leaks.is_empty() => terminal.say("Everything is put back."),
        Held::PutBack(leaks) => {
            for leak in leaks {
                terminal.say(&format!("Left behind: {} ({})", one_line(&leak.object), one_line(&leak.what)));
            }
        }
    }
}
