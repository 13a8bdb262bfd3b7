//! How often agents passed, by kind of cluster, with intervals; and what was not steady.

use std::collections::BTreeMap;

use model::{AcceptPart, AcceptRule, CaseFile, ClusterKind, Id, Outcome, RunFile, Status, StopReason, exit_code};

use crate::baseline::counts;
use crate::statistics::Share;

/// One agent on one kind of cluster.
pub(crate) struct Rate<'a> {
    pub(crate) kind: ClusterKind,
    pub(crate) agent: &'a Id,
    /// Of the cases that count.
    pub(crate) share: Share,
    /// Cases without a verdict.
    pub(crate) unjudged: u64,
    /// Cases with a verdict on a failure that the host did not see itself: they are in no statistics.
    pub(crate) unwitnessed: u64,
}

impl Rate<'_> {
    /// `0.75`
    pub(crate) fn rate(&self) -> String {
        self.share.rate().map_or("-".to_owned(), |rate| format!("{rate:.2}"))
    }

    /// `0.51 to 0.91`
    pub(crate) fn interval(&self) -> String {
        self.share.wilson().map_or("-".to_owned(), |found| format!("{:.2} to {:.2}", found.low, found.high))
    }
}

/// The rates of agents that are no controls, in the order in which they first come. Kinds of clusters are never mixed.
pub(crate) fn rates(cases: &[CaseFile]) -> Vec<Rate<'_>> {
    let mut rates: Vec<Rate<'_>> = Vec::new();
    for case in cases.iter().filter(|case| !case.control) {
        let found = rates.iter().position(|rate| rate.kind == case.cluster_kind && *rate.agent == case.agent);
        let at = found.unwrap_or_else(|| {
            let new = Rate {
                kind: case.cluster_kind,
                agent: &case.agent,
                share: Share::default(),
                unjudged: 0,
                unwitnessed: 0,
            };
            rates.push(new);
            rates.len() - 1
        });
        let rate = &mut rates[at];
        rate.unjudged += u64::from(case.status == Status::None);
        if counts(case) {
            rate.share.judged += 1;
            rate.share.passed += u64::from(case.status == Status::Pass);
        } else {
            rate.unwitnessed += u64::from(case.status != Status::None);
        }
    }
    rates.sort_by_key(|rate| rate.kind);
    rates
}

/// What gave different answers to the same question: the case or combination, and how.
pub(crate) fn flaky(cases: &[CaseFile]) -> Vec<(String, String)> {
    let mut repeats: BTreeMap<(&Id, ClusterKind, &Id, &Id), (Share, &CaseFile)> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.status != Status::None) {
        let key = (&case.cluster, case.cluster_kind, &case.failure, &case.agent);
        let (share, _) = repeats.entry(key).or_insert((Share::default(), case));
        share.judged += 1;
        share.passed += u64::from(case.status == Status::Pass);
    }
    let mut found = Vec::new();
    for case in cases {
        let key = (&case.cluster, case.cluster_kind, &case.failure, &case.agent);
        if let Some((share, first)) = repeats.get(&key)
            && first.id == case.id
            && (1..share.judged).contains(&share.passed)
        {
            let what = format!("{}--{}--{}", case.cluster, case.failure, case.agent);
            found.push((what, format!("{} of its {} judged repeats passed", share.passed, share.judged)));
        }
        if case.attempt > 1 {
            let before: Vec<&str> = case.earlier.iter().map(|attempt| attempt.message.as_str()).collect();
            let how = format!("{} on attempt {}, after {}", case.outcome, case.attempt, before.join("; "));
            found.push((case.id.to_string(), how));
        }
    }
    found
}

/// By what a run was cut short, where it was, and what that left out.
pub(crate) fn cut_short(run: &RunFile, cases: &[CaseFile]) -> Option<String> {
    let how = match (run.stopped, run.exit_code) {
        (Some(StopReason::FailFast), _) => "The run stopped at a case that did not pass",
        (Some(StopReason::MaxCost), _) => "The run stopped because its cost had reached `max_cost_usd`",
        (_, Some(exit_code::SIGINT)) => "The run was interrupted by SIGINT",
        (_, Some(exit_code::SIGTERM)) => "The run was interrupted by SIGTERM",
        _ if is_interrupted(run, cases) => "The run was interrupted",
        _ => return None,
    };
    Some(format!("{how}; {} of its cases had not begun", run.not_run))
}

/// Whether a signal, or the end of the program, cut the run short.
pub(crate) fn is_interrupted(run: &RunFile, cases: &[CaseFile]) -> bool {
    let by_signal = matches!(run.exit_code, Some(exit_code::SIGINT | exit_code::SIGTERM));
    let stopped = run.stopped == Some(StopReason::Interrupted);
    by_signal || stopped || cases.iter().any(|case| case.outcome == Outcome::Interrupted)
}

/// `min_pass_rate` of `claude (embedded)`, asked `at least 0.80`, found `0.75`.
pub(crate) struct Asked {
    pub(crate) of: String,
    pub(crate) asked: String,
    pub(crate) found: String,
}

impl Asked {
    pub(crate) fn of(part: &AcceptPart) -> Self {
        let of = match (&part.agent, part.cluster_kind) {
            (Some(agent), Some(kind)) => format!("{agent} ({kind})"),
            (Some(agent), None) => agent.to_string(),
            _ => "the run".to_owned(),
        };
        let bound = if part.rule == AcceptRule::MinPassRate { "at least" } else { "at most" };
        let found = part.found.map_or("nothing".to_owned(), |found| format!("{found:.2}"));
        Self { of, asked: format!("{bound} {:.2}", part.asked), found }
    }
}

/// A word with its sign.
pub(crate) fn met(yes: bool) -> &'static str {
    if yes { "✓ met" } else { "✗ not met" }
}
