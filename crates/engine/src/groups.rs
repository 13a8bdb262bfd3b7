//! Cases that stand and fall together: those of one failure on one cluster. A control that passes shows that the failure
//! can be passed without any work, and then no agent is judged by it. Pure.

use std::collections::BTreeMap;

use model::{CaseFile, CaseId, Outcome};

/// What is kept of a case until its group is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: CaseId,
    agent: String,
    control: bool,
    outcome: Outcome,
}

impl From<&CaseFile> for Member {
    fn from(case: &CaseFile) -> Self {
        Self { id: case.id.clone(), agent: case.agent.to_string(), control: case.control, outcome: case.outcome }
    }
}

/// A group whose last case has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complete {
    pub(crate) failure: String,
    members: Vec<Member>,
}

impl Complete {
    /// The control that passed, and the cases that therefore prove nothing.
    pub(crate) fn void(&self) -> Option<(&str, impl Iterator<Item = &CaseId>)> {
        let control = self.members.iter().find(|case| case.control && case.outcome == Outcome::Passed)?;
        let judged = self.members.iter().filter(|case| !case.control && is_verdict(case.outcome));
        Some((&control.agent, judged.map(|case| &case.id)))
    }
}

/// The groups of a run that is over.
pub(crate) fn groups_of(cases: &[CaseFile]) -> Vec<Complete> {
    let mut groups: BTreeMap<(&str, &str), Vec<Member>> = BTreeMap::new();
    for case in cases {
        groups.entry((case.cluster.as_str(), case.failure.as_str())).or_default().push(Member::from(case));
    }
    let complete = |((_, failure), members): ((&str, &str), _)| Complete { failure: failure.to_owned(), members };
    groups.into_iter().map(complete).collect()
}

/// Whether the agent was judged.
pub(crate) fn is_verdict(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Passed | Outcome::Failed | Outcome::TimedOut)
}

#[derive(Debug, Default)]
struct Group {
    running: usize,
    members: Vec<Member>,
}

/// The groups that are not complete yet; those of one cluster begin one after another.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// The one that begins cases now, by the number of the cluster.
    open: BTreeMap<usize, String>,
    groups: BTreeMap<(usize, String), Group>,
}

impl Groups {
    /// A case of this failure begins on this cluster.
    pub(crate) fn begins(&mut self, cluster: usize, failure: &str) {
        self.open.insert(cluster, failure.to_owned());
        self.groups.entry((cluster, failure.to_owned())).or_default().running += 1;
    }

    /// It has ended.
    pub(crate) fn ended(&mut self, cluster: usize, case: &CaseFile) {
        let group = self.groups.entry((cluster, case.failure.to_string())).or_default();
        group.running = group.running.saturating_sub(1);
        group.members.push(Member::from(case));
    }

    /// Takes out the groups to which nothing more is added: no case of theirs runs, and their cluster has gone on.
    pub(crate) fn complete(&mut self) -> Vec<Complete> {
        let open = &self.open;
        let over = |(cluster, failure): &(usize, String), group: &mut Group| {
            group.running == 0 && open.get(cluster).is_none_or(|now| now != failure)
        };
        self.groups.extract_if(.., over).map(completed).collect()
    }

    /// All that are left, at the end of the run.
    pub(crate) fn rest(self) -> Vec<Complete> {
        self.groups.into_iter().map(completed).collect()
    }
}

fn completed(((_, failure), group): ((usize, String), Group)) -> Complete {
    Complete { failure, members: group.members }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn case(failure: &str, agent: &str, control: bool, outcome: Outcome) -> CaseFile {
        let class = (outcome != Outcome::Passed).then_some(model::Class::Agent);
        serde_json::from_value(json!({
            "schema": 1, "id": format!("local--{failure}--{agent}"), "cluster": "local", "cluster_kind": "embedded",
            "failure": failure, "agent": agent, "repeat": 1, "attempt": 1, "control": control, "outcome": outcome,
            "class": class, "status": outcome.status(class), "message": "",
            "started_at": "2026-11-21T10:00:00Z", "finished_at": "2026-11-21T10:00:01Z", "duration_ms": 1000,
            "phases": [], "witness": null, "gated": true,
            "isolation": {"home": true, "environment": true, "process_tree": true, "landlock": false},
            "answer": {"parsed": null, "error": null}, "verdict": null,
            "usage": {"source": "unknown", "input_tokens": null, "output_tokens": null, "turns": null, "cost_usd": null},
            "gate": {"requests": 0, "mutations": 0, "denials": 0}, "leaks": [], "artifacts": []
        }))
        .expect("a case file")
    }

    #[test]
    fn a_control_that_passes_voids_the_verdicts_of_its_group_alone() {
        let mut groups = Groups::default();
        for failure in ["a", "b"] {
            for _ in 0..3 {
                groups.begins(0, failure);
            }
        }
        groups.ended(0, &case("a", "x", false, Outcome::Passed));
        groups.ended(0, &case("a", "broken", false, Outcome::Error));
        assert_eq!(groups.complete(), [], "the control still runs");
        groups.ended(0, &case("a", "idle", true, Outcome::Passed));
        let complete = groups.complete();
        assert_eq!(complete.len(), 1);
        let (control, void) = complete[0].void().expect("a control passed");
        assert_eq!((control, void.map(CaseId::as_str).collect::<Vec<_>>()), ("idle", vec!["local--a--x"]));
        groups.ended(0, &case("b", "x", false, Outcome::Passed));
        groups.ended(0, &case("b", "y", false, Outcome::Failed));
        groups.ended(0, &case("b", "idle", true, Outcome::Failed));
        assert_eq!(groups.complete(), [], "more of it may begin");
        let rest = groups.rest();
        assert!(rest.len() == 1 && rest[0].void().is_none());
    }

    #[test]
    fn clusters_have_groups_of_their_own() {
        let mut groups = Groups::default();
        groups.begins(0, "a");
        groups.begins(1, "a");
        groups.ended(0, &case("a", "idle", true, Outcome::Passed));
        groups.begins(0, "b");
        assert_eq!(groups.complete().len(), 1);
        groups.ended(1, &case("a", "x", false, Outcome::Passed));
        assert!(groups.rest().iter().all(|group| group.failure == "b" || group.void().is_none()));
    }
}
