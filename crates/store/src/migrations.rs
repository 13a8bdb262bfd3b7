//! The tables of the index. A case column must stay derivable from the case file.

use rusqlite_migration::M;

use crate::database::Format;

/// Times are RFC 3339 in UTC with exactly three digits after the second, so that they sort as text.
const FIRST: &str = "
CREATE TABLE runs (
    run_id          TEXT PRIMARY KEY,
    dir             TEXT NOT NULL,
    matrix          TEXT NOT NULL,
    matrix_digest   TEXT NOT NULL,
    harness_version TEXT NOT NULL,
    scoring         INTEGER NOT NULL,
    taxonomy        INTEGER NOT NULL,
    started_at      TEXT NOT NULL,
    finished_at     TEXT,
    exit_code       INTEGER,
    git_commit      TEXT,
    document        TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_start ON runs (started_at);

CREATE TABLE cases (
    run_id        TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    case_id       TEXT NOT NULL,
    position      INTEGER NOT NULL,
    cluster       TEXT NOT NULL,
    cluster_kind  TEXT NOT NULL,
    failure       TEXT NOT NULL,
    agent         TEXT NOT NULL,
    repeat        INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    control       INTEGER NOT NULL,
    outcome       TEXT NOT NULL,
    class         TEXT,
    status        TEXT NOT NULL,
    message       TEXT NOT NULL,
    started_at    TEXT NOT NULL,
    finished_at   TEXT NOT NULL,
    duration_ms   INTEGER NOT NULL,
    witness       TEXT,
    gated         INTEGER NOT NULL,
    requests      INTEGER NOT NULL,
    mutations     INTEGER NOT NULL,
    denials       INTEGER NOT NULL,
    usage_source  TEXT NOT NULL,
    input_tokens  INTEGER,
    output_tokens INTEGER,
    turns         INTEGER,
    cost_usd      REAL,
    document      TEXT NOT NULL,
    PRIMARY KEY (run_id, case_id)
) STRICT;
CREATE INDEX cases_by_failure ON cases (failure, agent, outcome);

CREATE TABLE phases (
    run_id      TEXT NOT NULL,
    case_id     TEXT NOT NULL,
    position    INTEGER NOT NULL,
    phase       TEXT NOT NULL,
    started_at  TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    result      TEXT NOT NULL,
    message     TEXT,
    PRIMARY KEY (run_id, case_id, position),
    FOREIGN KEY (run_id, case_id) REFERENCES cases (run_id, case_id) ON DELETE CASCADE
) STRICT;

CREATE TABLE verdict_columns (
    run_id   TEXT NOT NULL,
    case_id  TEXT NOT NULL,
    name     TEXT NOT NULL,
    result   TEXT NOT NULL,
    decides  INTEGER NOT NULL,
    because  TEXT NOT NULL,
    PRIMARY KEY (run_id, case_id, name),
    FOREIGN KEY (run_id, case_id) REFERENCES cases (run_id, case_id) ON DELETE CASCADE
) STRICT;

CREATE TABLE leaks (
    run_id   TEXT NOT NULL,
    case_id  TEXT NOT NULL,
    position INTEGER NOT NULL,
    object   TEXT NOT NULL,
    what     TEXT NOT NULL,
    PRIMARY KEY (run_id, case_id, position),
    FOREIGN KEY (run_id, case_id) REFERENCES cases (run_id, case_id) ON DELETE CASCADE
) STRICT;
";

/// The index over all runs. It can be made again, so it need not be synced at each commit.
pub(crate) const FORMAT: Format = Format { steps: &[M::up(FIRST)], pragmas: &[("synchronous", "NORMAL")] };

#[cfg(test)]
mod tests {
    use rusqlite_migration::Migrations;

    #[test]
    fn steps_apply_to_an_empty_database() {
        Migrations::from_slice(super::FORMAT.steps).validate().expect("every step is valid SQL");
    }
}
