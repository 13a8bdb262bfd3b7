//! The undo journal on disk, `journal.db`: what every unfinished case of every run has touched, and what another process
//! needs to put it back. Several processes may use it at a time. It holds Secrets, so it is private, and what belongs to a
//! case is wiped when the case is closed.

mod case;
mod tables;
mod writer;

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gate::JournalError;
use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use case::CaseJournal;

use crate::{StoreError, database, layout};
use writer::{Needs, Writer};

/// How long opening waits for others to let go of the WAL, which may hold what a killed process had deleted.
const PATIENCE: Duration = Duration::from_millis(500);

/// The journal of a results folder. Cheap to clone: clones share one connection and one thread.
#[derive(Clone, Debug)]
pub struct JournalDb {
    writer: Writer,
}

/// What is known of a case before anything is touched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseOpening {
    /// The run.
    pub run_id: String,
    /// Its directory; a run whose [`crate::RunLock`] is held there is alive.
    pub run_dir: PathBuf,
    /// The case.
    pub case_id: String,
    /// The cluster, as grants name it.
    pub cluster: String,
    /// The namespace of the case.
    pub namespace: String,
    /// Value of the gate's label; the name of the run's Lease.
    pub label: String,
    /// What the engine needs to recover it; only the engine reads it.
    pub document: Value,
    /// The failure's package.
    pub package: Vec<u8>,
}

/// A case that nobody has closed: it is under way, or its process was killed, or it could not be put back.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenCase {
    /// Its number in the journal; never used again.
    pub id: i64,
    /// Wall time.
    pub opened_at: Timestamp,
    /// As it was begun.
    pub opening: CaseOpening,
    /// The last phase that was set.
    pub phase: String,
    /// What the failure last saved.
    pub state: Option<String>,
    /// The last baseline.
    pub baseline: Option<Vec<u8>>,
    /// It could not be put back.
    pub leaked: bool,
}

impl JournalDb {
    /// Opens the journal of a results folder, and makes folder and journal where they are missing. Blocks.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged journal is never replaced.
    pub fn open(results: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(results).map_err(StoreError::io("create", results))?;
        let path = layout::journal(results);
        let is_new = !path.exists();
        let (connection, _) = database::open(&path, &tables::FORMAT).map_err(|error| match error {
            StoreError::Corrupt { path } => StoreError::JournalDamaged { path },
            other => other,
        })?;
        if is_new {
            // A journal that is synced in a folder that is not is lost with the machine.
            File::open(results).and_then(|folder| folder.sync_all()).map_err(StoreError::io("sync", results))?;
        }
        let wrap = |error| StoreError::database(&path)(error);
        connection.busy_timeout(PATIENCE).map_err(wrap)?;
        writer::truncate(&connection);
        connection.busy_timeout(database::BUSY).map_err(wrap)?;
        let writer = Writer::start(connection, path.clone()).map_err(StoreError::io("start a thread for", &path))?;
        Ok(Self { writer })
    }

    /// Opens the journal where there is one. Makes nothing. Blocks.
    ///
    /// # Errors
    /// As [`JournalDb::open`].
    pub fn open_existing(results: &Path) -> Result<Option<Self>, StoreError> {
        if layout::journal(results).exists() { Self::open(results).map(Some) } else { Ok(None) }
    }

    /// Begins a case. When it resolves, the case survives the end of the machine.
    ///
    /// # Errors
    /// [`JournalError`]: nothing may be touched then.
    pub async fn begin(&self, opening: CaseOpening) -> Result<CaseJournal, JournalError> {
        let document = to_json(&opening.document)?;
        let opened_at = Timestamp::now().to_string();
        let id = self.writer.ask(Needs::Sync, move |db| {
            db.prepare(
                "INSERT INTO cases (opened_at, run_id, run_dir, case_id, cluster, namespace, label, document, phase, leaked)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', FALSE)",
            )?
            .execute(params![
                opened_at,
                opening.run_id,
                opening.run_dir.as_os_str().as_bytes(),
                opening.case_id,
                opening.cluster,
                opening.namespace,
                opening.label,
                document,
            ])?;
            let id = db.last_insert_rowid();
            db.execute("INSERT INTO packages VALUES (?, ?)", params![id, opening.package])?;
            Ok(Ok(id))
        });
        Ok(self.resume(id.await?))
    }

    /// Every case that nobody has closed, in the order in which they were begun: also those of runs that are alive.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn unfinished(&self) -> Result<Vec<OpenCase>, JournalError> {
        let rows = self.writer.ask(Needs::Commit, |db| {
            db.prepare(
                "SELECT id, opened_at, run_id, run_dir, case_id, cluster, namespace, label, document, phase, state, leaked,
                    package, baseline
                 FROM cases LEFT JOIN packages USING (id) LEFT JOIN baselines USING (id) ORDER BY id",
            )?
            .query_map([], |row| Ok(open_case(row)))?
            .map(|row| row.and_then(|read| read))
            .collect::<rusqlite::Result<Vec<_>>>()
            .map(Ok)
        });
        rows.await
    }

    /// The journal of a case, by its number.
    pub fn resume(&self, id: i64) -> CaseJournal {
        CaseJournal::new(self.writer.clone(), id)
    }

    /// How many transactions were synced by this process; what was asked at the same time shares one.
    pub fn syncs(&self) -> u64 {
        self.writer.syncs()
    }
}

fn open_case(row: &Row<'_>) -> rusqlite::Result<OpenCase> {
    let run_dir: Vec<u8> = row.get("run_dir")?;
    Ok(OpenCase {
        id: row.get("id")?,
        opened_at: row.get::<_, String>("opened_at")?.parse().map_err(unreadable)?,
        opening: CaseOpening {
            run_id: row.get("run_id")?,
            run_dir: PathBuf::from(OsStr::from_bytes(&run_dir)),
            case_id: row.get("case_id")?,
            cluster: row.get("cluster")?,
            namespace: row.get("namespace")?,
            label: row.get("label")?,
            document: serde_json::from_str(&row.get::<_, String>("document")?).map_err(unreadable)?,
            package: row.get("package")?,
        },
        phase: row.get("phase")?,
        state: row.get("state")?,
        baseline: row.get("baseline")?,
        leaked: row.get("leaked")?,
    })
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

fn to_json(value: &impl Serialize) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|error| JournalError(format!("cannot be written as JSON: {error}")))
}
