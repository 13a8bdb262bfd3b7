//! The undo journal: what syncing costs, alone and shared by many writers.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use gate::{Intent, Journal, MemoryJournal, ObjectKey};
use model::Party;
use serde_json::json;
use store::{CaseOpening, JournalDb};
use tokio::runtime::Runtime;

use crate::measure::{Measured, text};

/// Entries that one after another asks for.
const ALONE: usize = 200;
/// Writers at a time, and the entries of each.
const TOGETHER: (usize, usize) = (64, 30);

/// All of it.
pub(crate) fn measure(runtime: &Runtime) -> Result<Vec<Measured>, String> {
    // Beside the program and not in a temporary folder, which may be in memory and sync nothing.
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = here.parent().ok_or("a program lies in a folder")?;
    let results = tempfile::tempdir_in(folder).map_err(|error| error.to_string())?;
    let journal = JournalDb::open(results.path()).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let case = journal.begin(opening()).await.map_err(|error| error.to_string())?;
        let synced = alone(&case).await?;
        let unsynced = alone(&MemoryJournal::default()).await?;
        let before = journal.syncs();
        let start = Instant::now();
        let writers = (0..TOGETHER.0).map(|_| entries(&case, TOGETHER.1));
        try_join_all(writers).await?;
        let together = start.elapsed();
        let count = TOGETHER.0 * TOGETHER.1;
        let syncs = journal.syncs() - before;
        let start = Instant::now();
        case.close().await.map_err(|error| error.to_string())?;
        Ok(vec![
            Measured::of("journal, an entry, synced", text(synced), per_second(1, synced)),
            Measured::of("journal, an entry, in memory", text(unsynced), per_second(1, unsynced)),
            Measured::of(
                "journal, synced to in memory",
                format!("{:.0} x", synced.as_secs_f64() / unsynced.as_secs_f64()),
                "latency of one writer; a create, update or patch waits for one entry",
            ),
            Measured::of(
                format!("journal, {} writers at a time", TOGETHER.0),
                text(together / u32::try_from(count).unwrap_or(u32::MAX)),
                format!("{}, {:.1} entries a sync", per_second(count, together), count as f64 / syncs as f64),
            ),
            Measured::of("journal, close a case", text(start.elapsed()), format!("{} entries wiped", count + ALONE)),
        ])
    })
}

fn per_second(count: usize, time: Duration) -> String {
    format!("{:.0} entries/s", count as f64 / time.as_secs_f64())
}

/// The median time of an entry.
async fn alone(journal: &impl Journal) -> Result<Duration, String> {
    let mut times = Vec::with_capacity(ALONE);
    for _ in 0..ALONE {
        let start = Instant::now();
        entries(journal, 1).await?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[ALONE / 2])
}

async fn entries(journal: &impl Journal, count: usize) -> Result<(), String> {
    for _ in 0..count {
        let number = journal.intend(intent()).await.map_err(|error| error.to_string())?;
        journal.settle(number, gate::State::Refused).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A case that does nothing else.
pub(crate) fn opening() -> CaseOpening {
    CaseOpening {
        run_id: "00000000".into(),
        run_dir: ".".into(),
        case_id: "a--b--c".into(),
        cluster: "a".into(),
        namespace: "c-00000".into(),
        label: "x".into(),
        document: json!({}),
        package: Vec::new(),
    }
}

/// A Deployment's size, about two kilobytes.
fn intent() -> Intent {
    Intent {
        party: Party::Agent,
        verb: "patch".into(),
        subresource: String::new(),
        key: ObjectKey {
            group: "apps".into(),
            version: "v1".into(),
            resource: "deployments".into(),
            namespace: "shop".into(),
            name: "checkout".into(),
        },
        before: Some(json!({"spec": {"template": "x".repeat(2000)}})),
        nonce: None,
        irreversible: false,
    }
}
