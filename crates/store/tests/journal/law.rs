//! Random operations against a model.

use gate::{Entry, Journal, State};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use store::{JournalDb, OpenCase};

use crate::{Contents, contents, intent, opening};

#[derive(Clone, Debug)]
enum Operation {
    Begin,
    Intend(String),
    Settle(usize, State),
    Phase(String),
    State(Option<String>),
    Baseline(Vec<u8>),
    Leaked,
    Close,
    /// Another handle takes over without a word from the first, as after a kill.
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let state = prop_oneof![
        Just(State::Refused),
        Just(State::Unknown),
        any::<Option<String>>().prop_map(|text| State::Done { after: text.map(|text| json!({ "after": text })) }),
    ];
    prop_oneof![
        2 => Just(Operation::Begin),
        6 => any::<String>().prop_map(Operation::Intend),
        5 => (any::<usize>(), state).prop_map(|(which, state)| Operation::Settle(which, state)),
        2 => any::<String>().prop_map(Operation::Phase),
        2 => any::<Option<String>>().prop_map(Operation::State),
        1 => prop::collection::vec(any::<u8>(), 0..5000).prop_map(Operation::Baseline),
        1 => Just(Operation::Leaked),
        1 => Just(Operation::Close),
        1 => Just(Operation::Reopen),
    ]
}

/// Does it to the model. Whether it is durable once it resolves.
fn model(contents: &mut Contents, case: i64, operation: &Operation) -> bool {
    let Some((open, entries)) = contents.get_mut(&case) else { return true };
    match operation {
        Operation::Intend(content) => {
            let id = entries.last().map_or(0, |last: &Entry| last.id + 1);
            entries.push(Entry { id, intent: intent("a", content), state: State::Intended });
        }
        Operation::Settle(which, state) => {
            if let Some(entry) = entries.get_mut(*which) {
                entry.state = state.clone();
            }
        }
        Operation::Phase(phase) => open.phase.clone_from(phase),
        Operation::State(state) => open.state.clone_from(state),
        Operation::Baseline(bytes) => open.baseline = Some(bytes.clone()),
        Operation::Leaked => open.leaked = true,
        Operation::Close => {
            contents.remove(&case);
        }
        Operation::Begin | Operation::Reopen => {}
    }
    !matches!(operation, Operation::Settle(..) | Operation::Phase(_))
}

async fn check(operations: Vec<(usize, Operation)>) -> Result<(), TestCaseError> {
    let results = tempfile::tempdir().expect("a folder");
    let mut journal = JournalDb::open(results.path()).expect("opens");
    let mut cases: Vec<i64> = Vec::new();
    let mut now = Contents::new();
    // What a process that takes over may find: the last durable state, or that with some of what followed.
    let mut possible = vec![now.clone()];
    for (which, operation) in operations {
        match &operation {
            Operation::Begin => {
                let opening = opening(&format!("case-{}", cases.len()));
                let id = journal.begin(opening.clone()).await.expect("begins").id();
                prop_assert!(cases.last().is_none_or(|last| *last < id), "numbers are never used again");
                cases.push(id);
                let open = OpenCase {
                    id,
                    opened_at: Timestamp::UNIX_EPOCH,
                    opening,
                    phase: String::new(),
                    state: None,
                    baseline: None,
                    leaked: false,
                };
                now.insert(id, (open, Vec::new()));
                possible = vec![now.clone()];
                continue;
            }
            Operation::Reopen => {
                let other = JournalDb::open(results.path()).expect("opens while another is open");
                let found = contents(&other).await;
                prop_assert!(possible.contains(&found), "{found:#?}\nis none of\n{possible:#?}");
                prop_assert_eq!(&contents(&journal).await, &now);
                possible = vec![now.clone()];
                journal = other;
                continue;
            }
            _ => {}
        }
        let Some(id) = cases.get(which % cases.len().max(1)).copied() else { continue };
        let operation = match operation {
            // An entry that is there, where there is one.
            Operation::Settle(which, state) => {
                let count = now.get(&id).map_or(0, |(_, entries)| entries.len());
                Operation::Settle(which % count.max(1), state)
            }
            other => other,
        };
        let case = journal.resume(id);
        let done = match operation.clone() {
            Operation::Intend(content) => case.intend(intent("a", &content)).await.map(drop),
            Operation::Settle(which, state) => case.settle(which as u64, state).await,
            Operation::Phase(phase) => case.set_phase(&phase).await,
            Operation::State(state) => case.set_state(state).await,
            Operation::Baseline(bytes) => case.set_baseline(bytes).await,
            Operation::Leaked => case.mark_leaked().await,
            Operation::Close => case.close().await,
            Operation::Begin | Operation::Reopen => Ok(()),
        };
        let told = matches!(operation, Operation::Settle(..) | Operation::Phase(_) | Operation::Close);
        prop_assert_eq!(done.is_ok(), told || now.contains_key(&id), "{:?}: {:?}", operation, done);
        if model(&mut now, id, &operation) {
            possible.clear();
        }
        possible.push(now.clone());
    }
    prop_assert_eq!(&contents(&journal).await, &now);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_journal_is_what_was_done_to_it(operations in prop::collection::vec((any::<usize>(), operation()), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(check(operations))?;
    }
}
