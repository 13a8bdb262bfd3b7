//! A run held against a baseline: per agent and kind of cluster, over the combinations that both have judged.

use std::collections::{BTreeMap, BTreeSet};

use model::{AcceptPart, AcceptRule, Baseline, CaseFile, ClusterKind, FailureRecord};
use report::{Combination, Share, shares};

/// How many combinations a note names.
const NAMED: usize = 20;

/// What came of the comparison.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    pub(crate) parts: Vec<AcceptPart>,
    pub(crate) notes: Vec<String>,
}

/// Each combination weighs the same in an agent's rate, however often it was run then and now: else another number of
/// repeats alone could look like a drop.
pub(crate) fn drops(cases: &[CaseFile], failures: &[FailureRecord], baseline: &Baseline, most: f64) -> Drops {
    let mut before: BTreeMap<Combination, Share> = BTreeMap::new();
    for entry in &baseline.entries {
        let share = before.entry(Combination::of_entry(entry)).or_default();
        share.passed = share.passed.saturating_add(entry.passed);
        share.judged = share.judged.saturating_add(entry.judged);
    }
    let now = shares(cases, failures);
    let ran: BTreeSet<Combination> =
        cases.iter().filter(|case| !case.control).filter_map(|case| Combination::of_case(case, failures)).collect();
    let mut drops = Drops::default();
    let mut pairs: BTreeMap<(String, ClusterKind), Vec<(Share, Share)>> = BTreeMap::new();
    let (mut new, mut changed, mut unjudged) = (Vec::new(), Vec::new(), Vec::new());
    for combination in &ran {
        match (before.get(combination), now.get(combination)) {
            (Some(then), Some(now)) => {
                let agent = (combination.agent.clone(), combination.cluster_kind);
                pairs.entry(agent).or_default().push((*then, *now));
            }
            (Some(_), None) => unjudged.push(combination),
            (None, _) if before.keys().any(|then| then.is_near(combination)) => changed.push(combination),
            (None, _) => new.push(combination),
        }
    }
    let agents: BTreeSet<(String, ClusterKind)> =
        ran.iter().map(|combination| (combination.agent.clone(), combination.cluster_kind)).collect();
    for agent in agents {
        let known = |combination: &&Combination| combination.agent == agent.0 && combination.cluster_kind == agent.1;
        match pairs.get(&agent) {
            Some(pairs) => drops.parts.push(compared(&agent, pairs, most)),
            // The baseline knows the agent, and yet says nothing of it any more: that is not "no worse".
            None if changed.iter().chain(&unjudged).any(known) => {
                drops.parts.push(part(&agent, most, None, false, NOTHING.into()))
            }
            None => {}
        }
    }
    let of = |what: &str, which: &[&Combination]| note(&baseline.run_id, what, which);
    drops.notes.extend(of("are new since the baseline, so they were not compared", &new));
    drops.notes.extend(of(
        "have another package or other parameters than in the baseline, so they were not compared",
        &changed,
    ));
    drops.notes.extend(of("were not judged in this run, so they were not compared with the baseline", &unjudged));
    drops
}

const NOTHING: &str =
    "nothing of it can be compared with the baseline: see the notes, and export a new one if failures changed";

fn compared(agent: &(String, ClusterKind), pairs: &[(Share, Share)], most: f64) -> AcceptPart {
    let mean = |pick: fn(&(Share, Share)) -> Share| {
        pairs.iter().filter_map(|pair| pick(pair).rate()).sum::<f64>() / pairs.len() as f64
    };
    let sum = |pick: fn(&(Share, Share)) -> Share| {
        pairs.iter().map(pick).fold(Share::default(), |all, one| Share {
            passed: all.passed.saturating_add(one.passed),
            judged: all.judged.saturating_add(one.judged),
        })
    };
    let (then, now) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (all_then, all_now) = (sum(|pair| pair.0), sum(|pair| pair.1));
    // Rates are quotients: a drop of exactly what is allowed must not fail by its last bit.
    let drop = ((then - now) * 1e9).round() / 1e9;
    let chance = match all_then.less(all_now) {
        Some(interval) if interval.low <= 0.0 && drop > 0.0 => {
            format!("; so few cases leave it open: 95 % interval {:.2} to {:.2}", interval.low, interval.high)
        }
        Some(interval) => format!("; 95 % interval {:.2} to {:.2}", interval.low, interval.high),
        None => String::new(),
    };
    let because = format!(
        "{now:.2} ({} of {}) now, {then:.2} ({} of {}) in the baseline, over {} failures that both judged{chance}",
        all_now.passed,
        all_now.judged,
        all_then.passed,
        all_then.judged,
        pairs.len()
    );
    part(agent, most, Some(drop), drop <= most, because)
}

fn part(agent: &(String, ClusterKind), asked: f64, found: Option<f64>, met: bool, because: String) -> AcceptPart {
    AcceptPart {
        rule: AcceptRule::MaxDrop,
        agent: agent.0.parse().ok(),
        cluster_kind: Some(agent.1),
        asked,
        found,
        met,
        because,
    }
}

fn note(run: &model::RunId, what: &str, which: &[&Combination]) -> Option<String> {
    let named: Vec<String> = which.iter().take(NAMED).map(|one| one.in_words()).collect();
    let more = which.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!which.is_empty()).then(|| format!("{} {what} ({run}): {}{more}", which.len(), named.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn case(agent: &str, failure: &str, outcome: &str) -> CaseFile {
        let passed = outcome == "passed";
        let (class, status) = match outcome {
            "passed" => (None, "pass"),
            "failed" => (Some("agent"), "fail"),
            _ => (Some("test"), "none"),
        };
        serde_json::from_value(json!({
            "schema": 1, "id": format!("local--{failure}--{agent}"), "cluster": "local", "cluster_kind": "embedded",
            "failure": failure, "agent": agent, "repeat": 1, "attempt": 1, "control": false, "outcome": outcome,
            "class": class, "status": status, "message": if passed { "" } else { "why" },
            "started_at": "2026-11-21T10:00:00Z", "finished_at": "2026-11-21T10:00:01Z", "duration_ms": 1000,
            "phases": [], "witness": {"kind": "host", "symptoms": [], "health_broken": []}, "gated": true,
            "isolation": {"home": true, "environment": true, "process_tree": true, "landlock": true},
            "answer": model::AnswerRecord::default(), "verdict": null, "usage": model::Usage::default(),
            "gate": model::GateCounts::default(), "leaks": [], "artifacts": [],
        }))
        .expect("a case")
    }

    fn failures(digest: &str) -> Vec<FailureRecord> {
        let record = |name: &str| {
            let value = json!({"name": name, "id": name, "digest": digest, "version": "1.0.0"});
            serde_json::from_value(value).expect("a record")
        };
        ["oom", "crash", "image", "other"].map(record).to_vec()
    }

    fn baseline(entries: &[(&str, &str, u64, u64)]) -> Baseline {
        let entries: Vec<_> = entries
            .iter()
            .map(|(agent, failure, passed, judged)| {
                json!({"agent": agent, "cluster_kind": "embedded", "failure": failure, "digest": "sha256:1",
                       "passed": passed, "judged": judged})
            })
            .collect();
        let value = json!({"schema": 1, "run_id": "abcd1234", "matrix": "m", "harness_version": "0", "scoring": 1,
                           "prompt_digest": "sha256:2", "entries": entries});
        serde_json::from_value(value).expect("a baseline")
    }

    #[test]
    fn an_agent_may_not_drop_by_more() {
        let baseline = baseline(&[("a", "oom", 3, 3), ("a", "crash", 3, 3), ("b", "oom", 0, 3)]);
        let cases = [case("a", "oom", "passed"), case("a", "crash", "failed"), case("b", "oom", "passed")];
        let found = drops(&cases, &failures("sha256:1"), &baseline, 0.4);
        let told: Vec<_> = found.parts.iter().map(|part| (part.found, part.met)).collect();
        assert_eq!(told, [(Some(0.5), false), (Some(-1.0), true)]);
        let because = &found.parts[0].because;
        assert!(because.starts_with("0.50 (1 of 2) now, 1.00 (6 of 6) in the baseline, over 2 failures"), "{because}");
        assert!(because.contains("so few cases leave it open"), "{because}");
        assert!(drops(&cases, &failures("sha256:1"), &baseline, 0.5).parts.iter().all(|part| part.met));
        assert!(found.notes.is_empty(), "{:?}", found.notes);
    }

    #[test]
    fn more_repeats_alone_are_no_drop() {
        let baseline = baseline(&[("a", "oom", 1, 1), ("a", "crash", 0, 1)]);
        let repeated: Vec<CaseFile> = std::iter::repeat_n(case("a", "crash", "failed"), 9).collect();
        let cases = [vec![case("a", "oom", "passed")], repeated].concat();
        let found = drops(&cases, &failures("sha256:1"), &baseline, 0.0);
        assert_eq!(found.parts.iter().map(|part| (part.found, part.met)).collect::<Vec<_>>(), [(Some(0.0), true)]);
    }

    #[test]
    fn only_like_is_compared_with_like_and_the_rest_is_named() {
        let baseline = baseline(&[("a", "oom", 1, 1), ("a", "crash", 1, 1)]);
        let mut changed = failures("sha256:1");
        changed[0].digest = "sha256:9".to_owned();
        let cases = [
            case("a", "oom", "failed"),
            case("a", "crash", "passed"),
            case("a", "other", "failed"),
            case("c", "oom", "failed"),
        ];
        let found = drops(&cases, &changed, &baseline, 0.0);
        assert_eq!(found.parts.len(), 1, "{:?}", found.parts);
        assert!(found.parts[0].met, "the changed failure is not the same task");
        assert!(
            found.notes[0].starts_with("2 are new") && found.notes[0].contains("a x other (embedded), c x oom"),
            "{:?}",
            found.notes
        );
        assert!(
            found.notes[1].contains("another package") && found.notes[1].contains("a x oom (embedded)"),
            "{:?}",
            found.notes
        );
        // All that the baseline knows of the agent was changed, or could not be judged: nobody can say that it holds.
        let found = drops(&cases[..1], &changed, &baseline, 1.0);
        assert_eq!(found.parts.iter().map(|part| (part.found, part.met)).collect::<Vec<_>>(), [(None, false)]);
        let found = drops(&[case("a", "crash", "invalid")], &failures("sha256:1"), &baseline, 1.0);
        assert!(!found.parts[0].met && found.notes[0].contains("were not judged in this run"), "{found:?}");
    }
}
