//! SQLite and run directories.
