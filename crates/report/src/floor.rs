//! The floor that agents must beat: what the built-in rules (`triage`) get wrong of each failure of the library on an embedded
//! cluster. Measured by a test of the whole program, which demands that `floor.json` is current (`HARNESS_BLESS=1` writes it).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use model::{ClusterKind, ColumnResult, RunFile};

use crate::groups::{COLUMNS, Group, columns};

static FLOOR: LazyLock<BTreeMap<String, Vec<String>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../floor.json")).unwrap_or_default());

/// For each failure of a group the columns that the built-in rules miss, of those that its cases were judged on. None where
/// none of its failures was measured, or the cluster is of another kind than the one that it was measured on.
pub(crate) fn of_group(run: &RunFile, group: &Group<'_>) -> Option<Vec<String>> {
    if group.kind != ClusterKind::Embedded {
        return None;
    }
    let found: Vec<Option<String>> = group
        .failures
        .iter()
        .map(|name| {
            let written = run.failures.iter().find(|failure| failure.name == **name);
            let missed = FLOOR.get(written.map_or(name.as_str(), |failure| failure.id.as_str()))?;
            let judged = judged(group, name.as_str());
            let missed: Vec<&str> = missed.iter().map(String::as_str).filter(|name| judged.contains(name)).collect();
            Some(if missed.is_empty() { "misses nothing".to_owned() } else { format!("misses {}", missed.join(", ")) })
        })
        .collect();
    let any = found.iter().any(Option::is_some);
    any.then(|| found.into_iter().map(|floor| floor.unwrap_or_else(|| "not measured".to_owned())).collect())
}

/// The columns that any case of the failure was judged on.
fn judged(group: &Group<'_>, failure: &str) -> Vec<&'static str> {
    let verdicts =
        group.cases.iter().filter(|case| case.failure.as_str() == failure).filter_map(|case| case.verdict.as_ref());
    let verdicts: Vec<_> = verdicts.map(columns).collect();
    let some = |number: usize| verdicts.iter().any(|all| all[number].result != ColumnResult::None);
    (0..COLUMNS.len()).filter(|number| some(*number)).map(|number| COLUMNS[number]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_of_columns_that_there_are() {
        assert!(FLOOR.len() >= 30, "{}", FLOOR.len());
        for (failure, missed) in FLOOR.iter() {
            assert!(missed.iter().all(|name| COLUMNS.contains(&name.as_str())), "{failure}: {missed:?}");
        }
        assert!(FLOOR.values().any(|missed| !missed.is_empty()), "the rules miss some");
    }
}
