//! The journal of one case.

use futures::FutureExt;
use futures::future::BoxFuture;
use gate::{Entry, Intent, Journal, JournalError, State};
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::writer::{Needs, Writer};
use super::{to_json, unreadable};

/// The journal of one case. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CaseJournal {
    writer: Writer,
    id: i64,
}

impl CaseJournal {
    pub(super) fn new(writer: Writer, id: i64) -> Self {
        Self { writer, id }
    }

    /// Its number, for [`super::JournalDb::resume`].
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Says where the case is. Not synced.
    ///
    /// # Errors
    /// [`JournalError`] when the journal has ended.
    pub async fn set_phase(&self, phase: &str) -> Result<(), JournalError> {
        let (id, phase) = (self.id, phase.to_owned());
        let sql = "UPDATE cases SET phase = ?2 WHERE id = ?1";
        self.writer.tell(move |db| db.prepare(sql)?.execute(params![id, phase]).map(drop)).await
    }

    /// Saves what `stop` will be given; synced when it resolves.
    ///
    /// # Errors
    /// [`JournalError`]; also when the case is closed.
    pub async fn set_state(&self, state: Option<String>) -> Result<(), JournalError> {
        let id = self.id;
        self.change(Needs::Sync, move |db| change(db, "UPDATE cases SET state = ?2 WHERE id = ?1", params![id, state]))
            .await
    }

    /// Saves what the cluster must look like in the end. Written before anything that is journaled after it.
    ///
    /// # Errors
    /// [`JournalError`]; also when the case is closed.
    pub async fn set_baseline(&self, baseline: Vec<u8>) -> Result<(), JournalError> {
        let id = self.id;
        let sql = "INSERT OR REPLACE INTO baselines SELECT id, ?2 FROM cases WHERE id = ?1";
        self.change(Needs::Commit, move |db| change(db, sql, params![id, baseline])).await
    }

    /// Says that the case could not be put back; synced when it resolves.
    ///
    /// # Errors
    /// [`JournalError`]; also when the case is closed.
    pub async fn mark_leaked(&self) -> Result<(), JournalError> {
        let id = self.id;
        self.change(Needs::Sync, move |db| change(db, "UPDATE cases SET leaked = TRUE WHERE id = ?1", params![id]))
            .await
    }

    /// Ends the case: everything of it is deleted, and overwritten on disk before this resolves. While another process
    /// keeps reading the journal for longer than its writers wait, that is made good by whoever closes or opens next.
    /// Closing twice is no error.
    ///
    /// # Errors
    /// [`JournalError`]: the case is still open.
    pub async fn close(&self) -> Result<(), JournalError> {
        let id = self.id;
        let delete = move |db: &Connection| db.execute("DELETE FROM cases WHERE id = ?", [id]).map(|_| Ok(()));
        self.writer.ask(Needs::Wipe, delete).await
    }

    /// A change of something that must be there.
    async fn change(
        &self,
        needs: Needs,
        mut work: impl FnMut(&Connection) -> rusqlite::Result<bool> + Send + 'static,
    ) -> Result<(), JournalError> {
        let closed = self.closed();
        self.writer.ask(needs, move |db| Ok(if work(db)? { Ok(()) } else { Err(closed.clone()) })).await
    }

    fn closed(&self) -> JournalError {
        JournalError(format!("case number {} is closed", self.id))
    }
}

fn change(db: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<bool> {
    Ok(db.prepare(sql)?.execute(params)? > 0)
}

impl Journal for CaseJournal {
    fn intend(&self, intent: Intent) -> BoxFuture<'_, Result<u64, JournalError>> {
        async move {
            let (id, closed) = (self.id, self.closed());
            let (intent, state) = (to_json(&intent)?, to_json(&State::Intended)?);
            let insert = move |db: &Connection| {
                db.prepare(
                    "INSERT INTO entries
                     SELECT id, coalesce((SELECT max(number) + 1 FROM entries WHERE id = ?1), 0), ?2, ?3
                     FROM cases WHERE id = ?1 RETURNING number",
                )?
                .query_row(params![id, intent, state], |row| row.get(0))
                .optional()
                .map(|number: Option<i64>| number.map(i64::cast_unsigned).ok_or_else(|| closed.clone()))
            };
            self.writer.ask(Needs::Sync, insert).await
        }
        .boxed()
    }

    fn settle(&self, number: u64, state: State) -> BoxFuture<'_, Result<(), JournalError>> {
        async move {
            let (id, number, state) = (self.id, number.cast_signed(), to_json(&state)?);
            let sql = "UPDATE entries SET state = ?3 WHERE id = ?1 AND number = ?2";
            self.writer.tell(move |db| db.prepare(sql)?.execute(params![id, number, state]).map(drop)).await
        }
        .boxed()
    }

    fn entries(&self) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>> {
        async move {
            let (id, closed) = (self.id, self.closed());
            let read = move |db: &Connection| {
                let open: bool =
                    db.query_row("SELECT EXISTS (SELECT 1 FROM cases WHERE id = ?)", [id], |r| r.get(0))?;
                if !open {
                    // Not an empty list: that would read as `nothing was touched`.
                    return Ok(Err(closed.clone()));
                }
                db.prepare("SELECT number, intent, state FROM entries WHERE id = ? ORDER BY number")?
                    .query_map([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .map(|row| row.and_then(entry))
                    .collect::<rusqlite::Result<Vec<_>>>()
                    .map(Ok)
            };
            self.writer.ask(Needs::Commit, read).await
        }
        .boxed()
    }
}

fn entry((id, intent, state): (i64, String, String)) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: id.cast_unsigned(),
        intent: serde_json::from_str(&intent).map_err(unreadable)?,
        state: serde_json::from_str(&state).map_err(unreadable)?,
    })
}
