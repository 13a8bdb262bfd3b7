//! What can go wrong with stored runs. Each error names the file that it is about.

use std::io;
use std::path::{Path, PathBuf};

/// A failure to store or to find something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("the database `{}` cannot be used: {source}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// The file is not a database, or a damaged one.
    #[error(
        "`{}` is damaged or is no SQLite database. Move it away: the next run makes a new one from the run directories",
        path.display()
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
    },
    /// The undo journal is not a database, or a damaged one.
    #[error(
        "the undo journal `{}` is damaged or is no SQLite database, so what unfinished cases did to clusters is not known. \
         Look at those clusters (`recover --orphans` finds what was made in them), then move the file away",
        path.display()
    )]
    JournalDamaged {
        /// The journal.
        path: PathBuf,
    },
    /// A process writes this run.
    #[error("the run in `{}` is still under way in another process", .0.display())]
    RunIsLive(PathBuf),
    /// A later version of the program wrote it.
    #[error(
        "the database `{}` was written by a newer version of the program (format {found}, this version knows {known}). \
         Use that version, or another --results-dir",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// A stored document does not have the form that it should have.
    #[error("`{}` cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file, or the database that holds the document.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The name of the matrix cannot be part of a directory name.
    #[error("`{0}` cannot name a run directory: {1}")]
    Name(String, model::IdError),
    /// `latest` was asked for, and there is no run.
    #[error("there is no run yet in `{}`", .0.display())]
    NoRuns(PathBuf),
    /// No run has this id or prefix.
    #[error("no run is called `{selector}`. `runs list` shows what there is; `latest` is the newest")]
    RunNotFound {
        /// What was asked for.
        selector: String,
    },
    /// Several runs begin so.
    #[error("`{selector}` is not unique, these runs begin so: {}", matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        selector: String,
        /// The runs.
        matches: Vec<String>,
    },
    /// The run has no such case.
    #[error("run {run} has no case `{case}`. It has: {}", known.join(", "))]
    CaseNotFound {
        /// The run.
        run: String,
        /// What was asked for.
        case: String,
        /// Some of the cases that there are.
        known: Vec<String>,
    },
}

impl StoreError {
    /// Wraps an I/O error with what was tried.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Wraps a SQLite error, and tells damage from the rest.
    pub(crate) fn database(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => Self::Corrupt { path },
            _ => Self::Database { path, source },
        }
    }

    /// Wraps a JSON error.
    pub(crate) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Unreadable { path, reason: error.to_string() }
    }
}
