//! What the journal does besides keeping: privacy, wiping, group commit, errors, locks.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use futures::future::join_all;
use futures::poll;
use gate::{Journal, State};
use rusqlite::Connection;
use serde_json::json;
use store::{CaseOpening, JournalDb, RunLock, StoreError};

use crate::{holding, intent, opening};

const FILES: [&str; 3] = ["journal.db", "journal.db-wal", "journal.db-shm"];

#[tokio::test]
async fn its_files_are_private_from_the_start_and_made_so_again() {
    let results = tempfile::tempdir().expect("a folder");
    let mode = |name: &str| fs::metadata(results.path().join(name)).expect(name).permissions().mode() & 0o777;
    {
        let journal = JournalDb::open(results.path()).expect("opens");
        journal.begin(opening("a")).await.expect("begins");
        assert_eq!(FILES.map(mode), [0o600; 3]);
    }
    fs::set_permissions(results.path().join("journal.db"), Permissions::from_mode(0o644)).expect("widened");
    let journal = JournalDb::open(results.path()).expect("opens");
    journal.begin(opening("b")).await.expect("begins");
    assert_eq!(FILES.map(mode), [0o600; 3]);
}

#[tokio::test]
async fn nothing_of_a_closed_case_stays_on_disk() {
    let results = tempfile::tempdir().expect("a folder");
    let journal = JournalDb::open(results.path()).expect("opens");
    let other = journal.begin(opening("other")).await.expect("begins");
    // Another process that has the journal open keeps SQLite from removing the WAL by itself.
    let process = Connection::open(results.path().join("journal.db")).expect("opens");
    let count = |table: &str| -> i64 {
        process.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("counted")
    };
    let secret = "correct-horse-battery-staple";
    let case = journal
        .begin(CaseOpening {
            document: json!({ "in": secret }),
            package: secret.as_bytes().repeat(3000),
            ..opening("secret")
        })
        .await
        .expect("begins");
    for (turn, size) in [1, 10, 4000, 40].into_iter().enumerate() {
        let number = case.intend(intent(&format!("s-{turn}"), &secret.repeat(size))).await.expect("written");
        other.intend(intent("o", &"y".repeat(size))).await.expect("written");
        case.settle(number, State::Done { after: Some(json!({"data": secret.repeat(size)})) }).await.expect("queued");
        case.set_state(Some(secret.repeat(size))).await.expect("written");
        case.set_baseline(secret.as_bytes().repeat(size)).await.expect("written");
    }
    assert!(!holding(results.path(), secret.as_bytes()).is_empty(), "it is there before");
    assert_eq!((count("cases"), count("packages"), count("baselines")), (2, 2, 1));

    case.close().await.expect("closed");
    assert_eq!(holding(results.path(), secret.as_bytes()), [""; 0]);
    assert_eq!((count("cases"), count("packages"), count("baselines"), count("entries")), (1, 1, 0, 4));
    assert_eq!(other.entries().await.expect("read").len(), 4, "the other case is untouched");

    case.close().await.expect("closing again is no error");
    for refused in [case.intend(intent("late", "")).await.map(drop), case.entries().await.map(drop)] {
        let error = refused.expect_err("the case is closed").to_string();
        assert!(error.contains("is closed"), "{error}");
    }
}

#[test]
fn what_a_killed_process_had_deleted_is_wiped_when_the_journal_is_opened() {
    let results = tempfile::tempdir().expect("a folder");
    drop(JournalDb::open(results.path()).expect("opens"));
    let secret = "correct-horse-battery-staple";
    let killed = Connection::open(results.path().join("journal.db")).expect("opens");
    killed
        .execute_batch(&format!(
            "PRAGMA secure_delete=ON; PRAGMA foreign_keys=ON;
             INSERT INTO cases (id, opened_at, run_id, run_dir, case_id, cluster, namespace, label, document, phase, leaked)
             VALUES (9, '', '', x'', '', '', '', '', '{secret}', '', FALSE);
             DELETE FROM cases;"
        ))
        .expect("written");
    // Closed properly, SQLite would wipe it.
    std::mem::forget(killed);
    assert_eq!(holding(results.path(), secret.as_bytes()), ["journal.db-wal"]);
    JournalDb::open(results.path()).expect("opens");
    assert_eq!(holding(results.path(), secret.as_bytes()), [""; 0]);
}

#[tokio::test]
async fn what_is_written_at_the_same_time_shares_a_sync() {
    let results = tempfile::tempdir().expect("a folder");
    let journal = JournalDb::open(results.path()).expect("opens");
    let case = journal.begin(opening("a")).await.expect("begins");
    let before = journal.syncs();
    // While another process writes, all of them come to wait.
    let process = Connection::open(results.path().join("journal.db")).expect("opens");
    process.execute_batch("BEGIN IMMEDIATE").expect("begun");
    let mut waiting: Vec<_> = (0..100).map(|turn| case.intend(intent(&format!("s-{turn}"), "x"))).collect();
    for future in &mut waiting {
        assert!(poll!(future).is_pending());
    }
    process.execute_batch("COMMIT").expect("ended");
    let numbers: Vec<u64> = join_all(waiting).await.into_iter().map(|number| number.expect("written")).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "in the order in which they were asked");
    assert_eq!(journal.syncs() - before, 1, "one sync for all");

    for number in numbers {
        case.settle(number, State::Refused).await.expect("queued");
    }
    assert!(case.entries().await.expect("read").iter().all(|entry| entry.state == State::Refused));
    assert_eq!(journal.syncs() - before, 1, "what need not survive the machine is not synced");
}

#[tokio::test]
async fn an_error_of_the_database_is_told_and_what_nobody_waits_for_is_tried_again() {
    let results = tempfile::tempdir().expect("a folder");
    let journal = JournalDb::open(results.path()).expect("opens");
    let case = journal.begin(opening("a")).await.expect("begins");
    let number = case.intend(intent("s", "x")).await.expect("written");
    let process = Connection::open(results.path().join("journal.db")).expect("opens");
    process.execute_batch("ALTER TABLE entries RENAME TO gone").expect("broken");
    case.settle(number, State::Refused).await.expect("queued");
    let error = case.intend(intent("t", "x")).await.expect_err("not written").to_string();
    assert!(error.contains("journal.db") && error.contains("no such table"), "{error}");
    process.execute_batch("ALTER TABLE gone RENAME TO entries").expect("repaired");
    let entries = case.entries().await.expect("read");
    assert_eq!((entries.len(), &entries[0].state), (1, &State::Refused));
}

#[test]
fn a_damaged_journal_is_never_replaced() {
    let results = tempfile::tempdir().expect("a folder");
    assert!(JournalDb::open_existing(results.path()).expect("no error").is_none());
    let path = results.path().join("journal.db");
    assert!(!path.exists(), "looking makes nothing");
    let damage = "this is no database, but long enough to have a header. ".repeat(40);
    fs::write(&path, &damage).expect("written");
    let error = JournalDb::open(results.path()).expect_err("refused");
    assert!(matches!(error, StoreError::JournalDamaged { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(&path).expect("there"), damage);
}

#[test]
fn a_run_is_written_by_one_process_at_a_time_and_its_children_do_not_hold_it() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(!RunLock::is_held(dir.path()));
    let lock = RunLock::acquire(dir.path()).expect("free");
    assert!(RunLock::is_held(dir.path()));
    assert!(matches!(RunLock::acquire(dir.path()), Err(StoreError::RunIsLive(_))));
    let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("started");
    drop(lock);
    let held = RunLock::is_held(dir.path());
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(!held, "a child has inherited the lock");
    assert!(fs::read_dir(dir.path()).expect("there").next().is_none(), "no file is left");
}
