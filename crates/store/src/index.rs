//! The connection to the index: opened once, migrated, shared behind a lock.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::{StoreError, database, migrations};

#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Index {
    /// Opens and migrates; also answers whether the database was empty.
    pub(crate) fn open(path: &Path) -> Result<(Self, bool), StoreError> {
        let (connection, empty) = database::open(path, &migrations::FORMAT)?;
        Ok((Self { path: path.to_owned(), connection: Mutex::new(connection) }, empty))
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
