//! Opening a SQLite file: private, WAL, migrated, and told apart from damage and from newer versions.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use rusqlite_migration::{M, Migrations};

use crate::StoreError;

/// How long a call waits for another process that writes.
pub(crate) const BUSY: Duration = Duration::from_secs(20);

/// What a database looks like, and how it is written.
#[derive(Debug)]
pub(crate) struct Format {
    /// The numbered steps from an empty database to the current one. A published step is never edited: a change is a
    /// new step at the end.
    pub(crate) steps: &'static [M<'static>],
    /// Pragmas of each connection, before anything is written.
    pub(crate) pragmas: &'static [(&'static str, &'static str)],
}

impl Format {
    /// The format that this program writes.
    pub(crate) const fn latest(&self) -> i64 {
        self.steps.len() as i64
    }
}

/// Opens and migrates; also answers whether the database was empty.
pub(crate) fn open(path: &Path, format: &Format) -> Result<(Connection, bool), StoreError> {
    // SQLite gives its -wal and -shm files the mode of the database: made first, private, all three are.
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::io("open the database", path))?;
    let mode = file.metadata().map_err(StoreError::io("look at", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(mode & 0o600)).map_err(StoreError::io("make private", path))?;
    }
    let mut last = None;
    for _ in 0..5 {
        match connect(path, format) {
            Ok(opened) => return Ok(opened),
            // Two processes that open a new database at once: one migrates, the other finds the tables made.
            Err(error @ StoreError::Database { .. }) => last = Some(error),
            Err(error) => return Err(error),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(last.unwrap_or_else(|| StoreError::Corrupt { path: path.to_owned() }))
}

fn connect(path: &Path, format: &Format) -> Result<(Connection, bool), StoreError> {
    let wrap = |error| StoreError::database(path)(error);
    let mut connection = Connection::open(path).map_err(wrap)?;
    connection.busy_timeout(BUSY).map_err(wrap)?;
    // A deferred transaction that reads and then writes fails at once when another process wrote in between.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(wrap)?;
    if found > format.latest() {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: format.latest() });
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(wrap)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(wrap)?;
    for (name, value) in format.pragmas {
        connection.pragma_update(None, name, value).map_err(wrap)?;
    }
    match Migrations::from_slice(format.steps).to_latest(&mut connection) {
        Ok(()) => Ok((connection, found == 0)),
        Err(rusqlite_migration::Error::RusqliteError { err, .. }) => Err(wrap(err)),
        Err(other) => Err(StoreError::Unreadable { path: path.to_owned(), reason: other.to_string() }),
    }
}
