//! The connection to the database: opened once, migrated, shared behind a lock.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::{StoreError, migrations};

/// How long a call waits for another process that writes.
const BUSY: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Index {
    /// Opens and migrates; also answers whether the database was empty.
    pub(crate) fn open(path: &Path) -> Result<(Self, bool), StoreError> {
        // SQLite gives its -wal and -shm files the mode of the database: made first, private, all three are.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(StoreError::io("open the database", path))?;
        let mut last = None;
        for _ in 0..5 {
            match Self::connect(path) {
                Ok((connection, empty)) => {
                    return Ok((Self { path: path.to_owned(), connection: Mutex::new(connection) }, empty));
                }
                // Two processes that open a new database at once: one migrates, the other finds the tables made.
                Err(error @ StoreError::Database { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(last.unwrap_or_else(|| StoreError::Corrupt { path: path.to_owned() }))
    }

    fn connect(path: &Path) -> Result<(Connection, bool), StoreError> {
        let wrap = |error| StoreError::database(path)(error);
        let mut connection = Connection::open(path).map_err(wrap)?;
        connection.busy_timeout(BUSY).map_err(wrap)?;
        // A deferred transaction that reads and then writes fails at once when another process wrote in between.
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(wrap)?;
        if found > migrations::LATEST {
            return Err(StoreError::Newer { path: path.to_owned(), found, known: migrations::LATEST });
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(wrap)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(wrap)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(wrap)?;
        match migrations::ALL.to_latest(&mut connection) {
            Ok(()) => Ok((connection, found == 0)),
            Err(rusqlite_migration::Error::RusqliteError { err, .. }) => Err(wrap(err)),
            Err(other) => Err(StoreError::Unreadable { path: path.to_owned(), reason: other.to_string() }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(StoreError::database(&self.path))
    }

    /// Writes, all or nothing.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction().map_err(StoreError::database(&self.path))?;
        let value = work(&transaction).map_err(StoreError::database(&self.path))?;
        transaction.commit().map_err(StoreError::database(&self.path))?;
        Ok(value)
    }
}
