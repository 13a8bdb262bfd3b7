//! `failures test`: each failure as it is done, then what is to be changed.

use std::fmt::Write;
use std::time::Duration;

use api::{Cancel, FailureTested, FailuresTest, FitnessCheck, FitnessStep, FitnessVerdict, Harness, Proof, Told};
use report::{Cell, duration, one_line, table};

use super::{runtime, show};
use crate::args;
use crate::interrupt;
use crate::problem::Problem;
use crate::terminal::Terminal;

pub(super) fn test(harness: &Harness, args: args::FailuresTest, terminal: Terminal) -> Result<u8, Problem> {
    let args::FailuresTest { ids, kubeconfig, context, seed, parallel, quick, output, .. } = args;
    let runtime = runtime()?;
    let (canceller, cancel) = Cancel::new();
    runtime
        .block_on(async { interrupt::listen(canceller, interrupt::Words::of_a_case(&harness.recover_command())) })?;
    let tell = move |told: Told<'_>| {
        terminal.say(&match told {
            Told::Step(step) => progress(step),
            Told::Tested(FailureTested { fitness, .. }) => {
                format!("{} {} ({})", verdict(fitness.verdict), fitness.id, duration(fitness.duration_ms))
            }
        });
    };
    let test = FailuresTest { ids, kubeconfig, context, seed, parallel, quick };
    let (tested, code) = harness.failures_test(&test, tell, &cancel)?;
    show(&tested, output, |tested| human(tested, quick))?;
    Ok(code)
}

fn progress(step: &FitnessStep) -> String {
    let time = |time: &Duration| duration(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    match step {
        FitnessStep::Planned { failure, cases, side_by_side, expected } => {
            let side_by_side = side_by_side.min(cases);
            format!("{failure}: {cases} cases, {side_by_side} at a time; likely less than {}", time(expected))
        }
        FitnessStep::Slow { failure, case, phase, elapsed } => {
            format!("      SLOW  {failure}: {case}  {} {} so far", phase.as_str(), time(elapsed))
        }
        FitnessStep::Done { failure, case, took } => format!("  {failure}: {case} done in {}", time(took)),
    }
}

fn verdict(verdict: FitnessVerdict) -> &'static str {
    match verdict {
        FitnessVerdict::Fit => "fit",
        FitnessVerdict::Unfit => "UNFIT",
        FitnessVerdict::Untested => "untested",
        FitnessVerdict::Leak => "LEAK",
    }
}

fn human(tested: &[FailureTested], quick: bool) -> String {
    let mut out = String::new();
    if let [one] = tested {
        out.push_str(&checks(&one.fitness.checks));
        out.push('\n');
    } else {
        let mut rows = vec![["ID", "RESULT", "CHECKS", "SKIPPED", "CLUSTER"].map(Cell::plain).to_vec()];
        for one in tested {
            let fitness = &one.fitness;
            let skipped = fitness.checks.iter().filter(|check| check.result == Proof::Skipped);
            let skipped: Vec<&str> = skipped.map(|check| check.name.as_str()).collect();
            let cells = [
                fitness.id.clone(),
                verdict(fitness.verdict).to_owned(),
                fitness.checks.len().to_string(),
                skipped.join(", "),
                cluster(one),
            ];
            rows.push(cells.map(|text| Cell::plain(one_line(&text))).to_vec());
        }
        out.push_str(&table(&rows, ""));
    }
    for one in tested {
        for instruction in &one.instructions {
            let _ = writeln!(out, "{}", one_line(instruction));
        }
    }
    let fit = tested.iter().filter(|one| one.fitness.verdict == FitnessVerdict::Fit).count();
    let place = tested.iter().map(cluster).find(|place| !place.is_empty()).unwrap_or_else(|| "no cluster".into());
    let partly = if quick { ", wrong fixes left out" } else { "" };
    let _ = writeln!(out, "{fit} of {} fit{partly}; proved on: {place}", tested.len());
    out
}

fn cluster(one: &FailureTested) -> String {
    match &one.fitness.cluster {
        Some(proved) => format!("{} cluster, Kubernetes {}", proved.kind, proved.version),
        None => String::new(),
    }
}

fn checks(checks: &[FitnessCheck]) -> String {
    let mut rows = Vec::new();
    for check in checks {
        let result = match check.result {
            Proof::Pass => "pass",
            Proof::Fail => "FAIL",
            Proof::Skipped => "skipped",
        };
        rows.push([result, &check.name, &check.because].map(|text| Cell::plain(one_line(text))).to_vec());
    }
    table(&rows, "")
}
