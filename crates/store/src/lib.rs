//! Where runs are kept: one directory per run, complete on its own, SQLite as the index over all of them, and the undo
//! journal of the cases that are not over. Responsible for layout, atomic files, migrations and queries; it decides
//! nothing about cases. Called by engine (writing) and api (reading). Every call that is not async blocks: async callers
//! use a thread of their own.

mod atomic;
mod database;
mod error;
mod import;
mod index;
mod journal;
mod layout;
mod migrations;
mod query;
mod reopen;
mod rows;
mod run_lock;
mod tail;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use atomic::{write_atomically, write_where_asked};
pub use error::StoreError;
pub use journal::{CaseJournal, CaseOpening, JournalDb, OpenCase};
pub use layout::RunDir;
pub use query::RunRecord;
pub use run_lock::RunLock;
pub use tail::{EventTail, Tail};
pub use writer::RunWriter;

use index::Index;

/// The results folder: its database and its run directories. Cheap to clone; clones share one connection.
#[derive(Clone, Debug)]
pub struct Store {
    results: PathBuf,
    index: Arc<Index>,
    unreadable: Arc<[StoreError]>,
}

impl Store {
    /// Opens the results folder, makes it where it is missing, and brings its database up to date. A folder that has
    /// run directories but no database gets one made from them.
    pub fn open(results: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(results).map_err(StoreError::io("create", results))?;
        let path = layout::database(results);
        let (index, empty) = Index::open(&path)?;
        let unreadable = if empty { import::all(&index, results)? } else { Vec::new() };
        Ok(Self { results: results.to_owned(), index: Arc::new(index), unreadable: unreadable.into() })
    }

    /// Opens the results folder for reading; none when nothing was ever run there. Writes nothing in that case.
    pub fn open_existing(results: &Path) -> Result<Option<Self>, StoreError> {
        let has_runs = || std::fs::read_dir(results).is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(is_run)));
        if layout::database(results).exists() || has_runs() { Self::open(results).map(Some) } else { Ok(None) }
    }

    /// The results folder.
    pub fn results(&self) -> &Path {
        &self.results
    }

    /// Run directories that could not be read while the database was made from them.
    pub fn unreadable(&self) -> &[StoreError] {
        &self.unreadable
    }
}

fn is_run(entry: std::fs::DirEntry) -> bool {
    entry.path().join(layout::RUN_FILE).is_file()
}
