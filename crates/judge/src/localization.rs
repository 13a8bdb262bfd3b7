//! Localization: which entries of an answer name a root cause, and which name something else.

use model::{Answer, Column, ColumnResult, NamedObject};
use serde_json::{Value, json};

use crate::owners::{ANY, Family, Identity, names};
use crate::truth::Truth;

/// At most this many entries may name something that is no cause.
const WRONG_ALLOWED: usize = 1;

/// Every root cause must be named, with at most one wrong entry; where nothing is wrong, nothing may be named.
/// Entries of one owner chain count as one, in whatever order they come.
pub(crate) fn column(answer: &Answer, truth: &Truth, family: &Family, namespace: &str, decides: bool) -> Column {
    let reading = Reading::new(answer, truth, family, namespace);
    let (result, because) = reading.result(truth);
    Column { result, decides, because, evidence: reading.evidence(truth) }
}

/// What the entries of an answer mean.
struct Reading {
    /// For each root cause the entry that names it.
    named_by: Vec<Option<String>>,
    /// Chains that are accepted in a root cause's place.
    stand_ins: Vec<Identity>,
    /// Chains that have nothing to do with it.
    wrong: Vec<Identity>,
}

impl Reading {
    fn new(answer: &Answer, truth: &Truth, family: &Family, namespace: &str) -> Self {
        let mut reading = Self { named_by: vec![None; truth.root_causes.len()], stand_ins: vec![], wrong: vec![] };
        for entry in &answer.root_causes {
            let hits = |target: &Identity| hits(entry, target, family, namespace);
            let causes: Vec<usize> =
                (0..truth.root_causes.len()).filter(|number| hits(&truth.root_causes[*number])).collect();
            if causes.is_empty() {
                match truth.also_accept.iter().find(|accepted| hits(accepted)) {
                    Some(accepted) => insert(&mut reading.stand_ins, accepted.clone()),
                    None => insert(&mut reading.wrong, family.root(&family.resolve(entry, namespace))),
                }
            }
            for cause in causes {
                let said = format!("{}/{}", entry.kind.trim(), entry.name.trim());
                let by = &mut reading.named_by[cause];
                // The least, so that the evidence does not depend on the order of entries either.
                *by = Some(by.take().map_or(said.clone(), |before| before.min(said)));
            }
        }
        reading.wrong.sort();
        reading
    }

    fn result(&self, truth: &Truth) -> (ColumnResult, String) {
        let missing: Vec<String> = truth
            .root_causes
            .iter()
            .zip(&self.named_by)
            .filter(|(_, by)| by.is_none())
            .map(|(cause, _)| cause.short())
            .collect();
        let wrong = self.wrong.len();
        if truth.root_causes.is_empty() {
            return match wrong + self.stand_ins.len() {
                0 => (ColumnResult::Pass, "nothing is wrong, and no root cause is named".into()),
                n => (ColumnResult::Fail, format!("nothing is wrong, but {n} root cause(s) are named")),
            };
        }
        if missing.len() > self.stand_ins.len() {
            let named = if wrong == 0 { "nothing else".to_owned() } else { list(&self.wrong) };
            return (
                ColumnResult::Fail,
                format!("{} is not named as a root cause; named: {named}", missing.join(", ")),
            );
        }
        if wrong > WRONG_ALLOWED {
            let because =
                format!("{wrong} entries name no root cause, at most {WRONG_ALLOWED} may: {}", list(&self.wrong));
            return (ColumnResult::Fail, because);
        }
        let aside =
            if wrong == 0 { String::new() } else { format!("; {} is wrong, which is allowed once", list(&self.wrong)) };
        let stand_in = if missing.is_empty() { "" } else { ", by an object that is accepted in its place" };
        (ColumnResult::Pass, format!("every root cause is named{stand_in}{aside}"))
    }

    fn evidence(&self, truth: &Truth) -> Vec<Value> {
        let causes = truth.root_causes.iter().zip(&self.named_by);
        let causes = causes.map(|(cause, by)| json!({"root_cause": cause.to_json(), "named_by": by}));
        let accepted = self.stand_ins.iter().map(|identity| json!({"accepted": identity.to_json()}));
        let wrong = self.wrong.iter().map(|identity| json!({"wrong": identity.to_json()}));
        causes.chain(accepted).chain(wrong).collect()
    }
}

/// Whether an entry names the target, or an object on one owner chain with it.
fn hits(entry: &NamedObject, target: &Identity, family: &Family, namespace: &str) -> bool {
    // An answer that names everything of a kind names nothing.
    entry.name.trim() != ANY
        && (names(entry, target, namespace) || family.one_chain(&family.resolve(entry, namespace), target))
}

fn insert(list: &mut Vec<Identity>, identity: Identity) {
    match list.iter_mut().find(|known| known.same(&identity)) {
        // Of two spellings the lesser is kept, whichever came first.
        Some(known) => *known = identity.min(known.clone()),
        None => list.push(identity),
    }
}

fn list(identities: &[Identity]) -> String {
    identities.iter().map(Identity::short).collect::<Vec<_>>().join(", ")
}
