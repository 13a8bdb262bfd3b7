//! What a finished run is worth: the exit code, by `accept` of the matrix where there is one.

use std::collections::BTreeMap;

use matrix::Accept;
use model::{CaseFile, Class, Outcome, exit_code};

use crate::{Interrupt, RunOptions};

/// The exit code of a run, in the contract's order of precedence: leak, interruption, failed, unjudged, fine.
pub(crate) fn exit_code_of(
    cases: &[CaseFile],
    accept: Option<&Accept>,
    options: &RunOptions,
    interrupt: Option<Interrupt>,
) -> u8 {
    if cases.iter().any(|case| !case.leaks.is_empty()) {
        return exit_code::LEAK;
    }
    if let Some(interrupt) = interrupt {
        return interrupt.exit_code();
    }
    let counted: Vec<&CaseFile> = cases.iter().filter(|case| !case.control).collect();
    let code = match accept {
        Some(accept) if accepted(&counted, accept) => exit_code::OK,
        Some(_) => exit_code::FAILED,
        None if counted.iter().any(|case| failed(case)) => exit_code::FAILED,
        None if counted.iter().any(|case| unjudged(case, options.allow_skipped)) => exit_code::UNJUDGED,
        None => exit_code::OK,
    };
    if options.exit_zero { exit_code::OK } else { code }
}

fn failed(case: &CaseFile) -> bool {
    case.outcome == Outcome::Failed || (case.outcome == Outcome::TimedOut && case.class == Some(Class::Agent))
}

fn unjudged(case: &CaseFile, allow_skipped: bool) -> bool {
    match case.outcome {
        Outcome::Passed | Outcome::Failed => false,
        Outcome::TimedOut => case.class != Some(Class::Agent),
        Outcome::Skipped => !allow_skipped,
        Outcome::Invalid | Outcome::Error | Outcome::Interrupted => true,
    }
}

/// Whether each agent passes often enough, and enough could be judged.
fn accepted(cases: &[&CaseFile], accept: &Accept) -> bool {
    let mut agents: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut lost = 0_u32;
    for case in cases {
        if unjudged(case, false) {
            lost += 1;
            continue;
        }
        let (passed, judged) = agents.entry(case.agent.as_str()).or_default();
        *passed += u32::from(case.outcome == Outcome::Passed);
        *judged += 1;
    }
    let rate = |part: u32, whole: u32| f64::from(part) / f64::from(whole.max(1));
    let whole = u32::try_from(cases.len()).unwrap_or(u32::MAX);
    let enough = accept.max_unjudged.is_none_or(|most| rate(lost, whole) <= most);
    let least = accept.min_pass_rate.unwrap_or(1.0);
    enough && agents.values().all(|(passed, judged)| rate(*passed, *judged) >= least)
}
