//! The tables of the undo journal. Nothing of a case stays when it is closed: all hangs on its row in `cases`.

use rusqlite_migration::M;

use crate::database::Format;

/// Packages and baselines are large and never change; in tables of their own they are not copied when a phase does.
/// Numbers of cases are never used again, so that a handle of a closed case finds nothing.
const FIRST: &str = "
CREATE TABLE cases (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    opened_at TEXT NOT NULL,
    run_id    TEXT NOT NULL,
    run_dir   BLOB NOT NULL,
    case_id   TEXT NOT NULL,
    cluster   TEXT NOT NULL,
    namespace TEXT NOT NULL,
    label     TEXT NOT NULL,
    document  TEXT NOT NULL,
    phase     TEXT NOT NULL,
    state     TEXT,
    leaked    INTEGER NOT NULL
) STRICT;

CREATE TABLE packages (
    id      INTEGER PRIMARY KEY REFERENCES cases (id) ON DELETE CASCADE,
    package BLOB NOT NULL
) STRICT;

CREATE TABLE baselines (
    id       INTEGER PRIMARY KEY REFERENCES cases (id) ON DELETE CASCADE,
    baseline BLOB NOT NULL
) STRICT;

CREATE TABLE entries (
    id     INTEGER NOT NULL REFERENCES cases (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    intent TEXT NOT NULL,
    state  TEXT NOT NULL,
    PRIMARY KEY (id, number)
) STRICT;
";

/// Freed pages are overwritten with zeros, and nothing is spilled to temporary files: before-images hold Secrets.
pub(crate) const FORMAT: Format =
    Format { steps: &[M::up(FIRST)], pragmas: &[("secure_delete", "ON"), ("temp_store", "MEMORY")] };

#[cfg(test)]
mod tests {
    use rusqlite_migration::Migrations;

    #[test]
    fn steps_apply_to_an_empty_database() {
        Migrations::from_slice(super::FORMAT.steps).validate().expect("every step is valid SQL");
    }
}
