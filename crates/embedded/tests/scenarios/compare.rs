//! Recorded against replayed.

use std::collections::{BTreeMap, BTreeSet};

use crate::timeline::{Pod, Seen, State};

/// Waits that the kubelet draws at random between once and one and a half times their length, plus the next second.
const JITTERED: [&str; 10] = [
    "Error",
    "OOMKilled",
    "CrashLoopBackOff",
    "RunContainerError",
    "ErrImagePull",
    "ImagePullBackOff",
    "CreateContainerConfigError",
    "Init:Error",
    "Init:CrashLoopBackOff",
    "Completed",
];

/// States that come or not as syncs fall: a probe that was a moment late, another container's start that shows a wait.
fn is_passing(state: &State, lasted: f64) -> bool {
    let (ready, total) = state.ready.split_once('/').unwrap_or(("", ""));
    let partly = state.status == "Running" && ready != total;
    // What an unscheduled or forced deletion shows is gone with the next change.
    let going = state.status == "Terminating" && lasted < 0.1;
    let several =
        total != "1" && lasted < 1.2 && matches!(state.status.as_str(), "Error" | "Running" | "PodInitializing");
    let pulling = lasted < 1.0 && matches!(state.status.as_str(), "ErrImagePull" | "ImagePullBackOff");
    partly && lasted < 3.0 || state.status == "CrashLoopBackOff" || several || pulling || going
}

/// The differences in words; none when they agree.
pub(crate) fn compare(recorded: &Seen, replayed: &Seen) -> Vec<String> {
    let mut differences = Vec::new();
    compare_pods(recorded, replayed, &mut differences);
    for (index, (left, right)) in recorded.answers.iter().zip(&replayed.answers).enumerate() {
        if left != right {
            differences.push(format!("answer {index}: recorded {left}"));
            differences.push(format!("answer {index}: replayed {right}"));
        }
    }
    let names = recorded.statuses.keys().chain(replayed.statuses.keys()).collect::<BTreeSet<_>>();
    // A kind that was not watched cannot be compared.
    let watched = |words: &str| recorded.kinds.contains(words.split(' ').next().unwrap_or_default());
    for name in names.into_iter().filter(|name| watched(name)) {
        let of = |seen: &Seen| seen.statuses.get(name).cloned().unwrap_or_default();
        // What comes in one go here comes step by step there, or the other way round.
        let (left, right) = (of(recorded), of(replayed));
        if left.last() != right.last() || !is_part(&left, &right) && !is_part(&right, &left) {
            differences.push(format!("{name}: recorded {}", of(recorded).join(" -> ")));
            differences.push(format!("{name}: replayed {}", of(replayed).join(" -> ")));
        }
    }
    compare_events(recorded, replayed, &mut differences);
    for (left, right, which) in [(recorded, replayed, "only recorded"), (replayed, recorded, "only replayed")] {
        for condition in left.conditions.difference(&right.conditions).filter(|words| watched(words)) {
            differences.push(format!("condition {which}: {condition}"));
        }
    }
    differences
}

/// Whether all states of `few` are seen in `many`, in the same order.
fn is_part(few: &[String], many: &[String]) -> bool {
    let mut rest = many.iter();
    few.iter().all(|state| rest.any(|other| other == state))
}

fn compare_pods(recorded: &Seen, replayed: &Seen, differences: &mut Vec<String>) {
    let mut groups: BTreeMap<&str, (Vec<&Pod>, Vec<&Pod>)> = BTreeMap::new();
    for pod in &recorded.pods {
        groups.entry(&pod.group).or_default().0.push(pod);
    }
    for pod in &replayed.pods {
        groups.entry(&pod.group).or_default().1.push(pod);
    }
    for (group, (left, mut right)) in groups {
        if left.len() != right.len() {
            differences.push(format!("{group}: {} pods recorded, {} replayed", left.len(), right.len()));
            continue;
        }
        // Which pod of a group meets which fate is chance: each recorded one must find its like.
        for pod in left {
            let results: Vec<Vec<String>> = right.iter().map(|other| compare_pod(pod, other, recorded.end)).collect();
            let best = (0..right.len()).min_by_key(|i| results[*i].len());
            if let Some(best) = best {
                right.remove(best);
                differences.extend(results[best].iter().map(|text| format!("{} ({group}): {text}", pod.name)));
            }
        }
    }
}

/// States with the time that each lasted, without those that are chance.
fn lasting(pod: &Pod, end: f64) -> Vec<(State, f64)> {
    let mut states: Vec<(State, f64)> = Vec::new();
    for (i, state) in pod.states.iter().enumerate() {
        let lasted = pod.states.get(i + 1).map_or(end, |next| next.at) - state.at;
        if is_passing(state, lasted) {
            if let Some(last) = states.last_mut() {
                last.1 += lasted;
                continue;
            }
        }
        match states.last_mut() {
            Some((last, time))
                if (&last.ready, &last.status, last.restarts) == (&state.ready, &state.status, state.restarts) =>
            {
                *time += lasted
            }
            _ => states.push((state.clone(), lasted)),
        }
    }
    states
}

fn shown(state: &State) -> String {
    format!("{} {} r{}", state.ready, state.status, state.restarts)
}

fn compare_pod(recorded: &Pod, replayed: &Pod, end: f64) -> Vec<String> {
    let mut differences = Vec::new();
    let (left, right) = (lasting(recorded, end), lasting(replayed, end));
    let common = left.len().min(right.len());
    for i in 0..common {
        let ((a, a_lasted), (b, b_lasted)) = (&left[i], &right[i]);
        if (&a.ready, &a.status, a.restarts) != (&b.ready, &b.status, b.restarts) {
            let list = |states: &[(State, f64)]| {
                states.iter().map(|(s, _)| format!("{:.1} {}", s.at, shown(s))).collect::<Vec<_>>().join(" -> ")
            };
            differences.push(format!("state {i}: recorded {}, replayed {}", shown(a), shown(b)));
            differences.push(format!("recorded {}", list(&left)));
            differences.push(format!("replayed {}", list(&right)));
            return differences;
        }
        let last = i + 1 == left.len() || i + 1 == right.len();
        let part = if JITTERED.contains(&a.status.as_str()) { 0.5 } else { 0.15 };
        // A pod start took up to four seconds where nine scenarios ran at a time.
        let slack = match a.status.as_str() {
            "ContainerCreating" => 5.0,
            status if status.starts_with("Init:") => 5.0,
            // Where in its period a probe falls is chance, too.
            "Running" => 1.5 + recorded.period,
            // To end a container took up to two seconds more than its grace.
            "Terminating" => 2.5,
            _ => 1.5,
        };
        let allowed = (a_lasted.max(*b_lasted) * part).max(slack);
        // What a write ends, ends when the write was made.
        let together = match (left.get(i + 1), right.get(i + 1)) {
            (Some((a, _)), Some((b, _))) => (a.at - b.at).abs() < 1.5,
            _ => false,
        };
        let allowed = if together { f64::MAX } else { allowed };
        let allowed = if JITTERED.contains(&a.status.as_str()) { allowed.max(6.5) } else { allowed };
        if !last && (a_lasted - b_lasted).abs() > allowed {
            differences.push(format!("{} lasted {a_lasted:.1} s recorded, {b_lasted:.1} s replayed", shown(a)));
        }
    }
    // Jittered waits add up: at the end one may be a few states behind.
    if left.len().abs_diff(right.len()) > 2 {
        differences.push(format!("{} states recorded, {} replayed", left.len(), right.len()));
    }
    compare_details(recorded, replayed, &mut differences);
    differences
}

fn compare_details(recorded: &Pod, replayed: &Pod, differences: &mut Vec<String>) {
    let most = |pod: &Pod| pod.states.iter().map(|s| s.restarts).max().unwrap_or(0);
    let common = most(recorded).min(most(replayed));
    for (left, right, which) in [(recorded, replayed, "only recorded"), (replayed, recorded, "only replayed")] {
        for (restart, words) in left.containers.difference(&right.containers) {
            // The last round may not be complete; a sync may show the wait early, or a short run, or not.
            if *restart < common.max(1) && !words.contains("CrashLoopBackOff") && !words.contains(" running ") {
                differences.push(format!("container state {which}: r{restart} {words}"));
            }
        }
        for words in left.conditions.difference(&right.conditions) {
            differences.push(format!("condition {which}: {words}"));
        }
    }
}

fn compare_events(recorded: &Seen, replayed: &Seen, differences: &mut Vec<String>) {
    for (left, right, which) in [(recorded, replayed, "only recorded"), (replayed, recorded, "only replayed")] {
        for words in left.events.keys() {
            if !right.events.contains_key(words) {
                differences.push(format!("event {which}: {words}"));
            }
        }
    }
    for (words, told) in recorded.events.iter() {
        let Some(other) = replayed.events.get(words) else { continue };
        let allowed = (told.count.max(other.count) * 2 / 5).max(2);
        if told.count.abs_diff(other.count) > allowed.unsigned_abs() {
            differences.push(format!("event {} times recorded, {} replayed: {words}", told.count, other.count));
        }
    }
}
