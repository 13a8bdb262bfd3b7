//! Group commit. One thread owns the connection; it takes whatever waits in a bounded queue into one transaction, syncs
//! it once, and only then answers. So many writers at a time cost one sync, and nobody blocks the async runtime.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gate::JournalError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

/// How many tasks may wait before senders have to.
const QUEUE: usize = 256;
/// How many tasks one transaction takes. What follows it does not wait for ever for a busy one before it.
const BATCH: usize = 256;

/// What a task needs of the transaction that it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// That it is committed at some time: it survives the end of this process, though not that of the machine.
    Commit,
    /// That it is on disk before it is answered.
    Sync,
    /// That, besides, what it deleted is on no disk any more.
    Wipe,
}

/// Work inside a transaction. An outer error is the database's and fails the whole transaction; an inner one is the
/// caller's own. It is called again when a transaction has failed and it waits for no answer.
trait Task: Send {
    fn apply(&mut self, db: &Connection) -> rusqlite::Result<()>;
    fn answer(&mut self, failed: Option<&JournalError>);
    fn is_awaited(&self) -> bool;
}

struct Ask<T, W> {
    work: W,
    outcome: Option<Result<T, JournalError>>,
    reply: Option<oneshot::Sender<Result<T, JournalError>>>,
}

impl<T: Send, W> Task for Ask<T, W>
where
    W: FnMut(&Connection) -> rusqlite::Result<Result<T, JournalError>> + Send,
{
    fn apply(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.outcome = Some((self.work)(db)?);
        Ok(())
    }

    fn answer(&mut self, failed: Option<&JournalError>) {
        let outcome = failed.map(|error| Err(error.clone())).or_else(|| self.outcome.take());
        if let (Some(reply), Some(outcome)) = (self.reply.take(), outcome) {
            // Whoever asked may have gone; what was asked is done all the same.
            let _ = reply.send(outcome);
        }
    }

    fn is_awaited(&self) -> bool {
        self.reply.is_some()
    }
}

struct Message {
    task: Box<dyn Task>,
    needs: Needs,
}

/// The sending end; cheap to clone. The thread ends with the last one.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    sender: mpsc::Sender<Message>,
    syncs: Arc<AtomicU64>,
    path: Arc<PathBuf>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("needs", &self.needs).finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn start(connection: Connection, path: PathBuf) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = Self { sender, syncs: Arc::default(), path: Arc::new(path) };
        let thread = Thread {
            connection,
            path: Arc::clone(&writer.path),
            syncs: Arc::clone(&writer.syncs),
            late: Vec::new(),
            unwiped: false,
        };
        std::thread::Builder::new().name("journal".into()).spawn(move || thread.run(receiver))?;
        Ok(writer)
    }

    /// How many synced transactions there were.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Sends work and waits for its outcome, as durable as it needs to be.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        needs: Needs,
        work: impl FnMut(&Connection) -> rusqlite::Result<Result<T, JournalError>> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.send(needs, Ask { work, outcome: None, reply: Some(reply) }).await?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Sends work that nobody waits for. What is asked later sees it.
    pub(crate) async fn tell(
        &self,
        mut work: impl FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), JournalError> {
        self.send(Needs::Commit, Ask { work: move |db: &Connection| work(db).map(Ok), outcome: None, reply: None })
            .await
    }

    async fn send(&self, needs: Needs, task: impl Task + 'static) -> Result<(), JournalError> {
        self.sender.send(Message { task: Box::new(task), needs }).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> JournalError {
        JournalError(format!("the writer of `{}` has ended unexpectedly", self.path.display()))
    }
}

struct Thread {
    connection: Connection,
    path: Arc<PathBuf>,
    syncs: Arc<AtomicU64>,
    /// What nobody waits for and could not be committed yet.
    late: Vec<Message>,
    /// Something was deleted that may still be in the WAL.
    unwiped: bool,
}

impl Thread {
    fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        while let Some(first) = receiver.blocking_recv() {
            let mut batch = std::mem::take(&mut self.late);
            batch.push(first);
            gather(&mut batch, &mut receiver);
            let failed = self.commit(&mut batch, &mut receiver).err().map(|error| self.explain(&error));
            if failed.is_none() {
                self.wipe(&batch);
            }
            self.answer(batch, failed.as_ref());
        }
    }

    fn commit(&mut self, batch: &mut Vec<Message>, receiver: &mut mpsc::Receiver<Message>) -> rusqlite::Result<()> {
        let sync = batch.iter().any(|message| message.needs >= Needs::Sync);
        // Not FULL for all: a settled entry rides along with the next intent, it does not cost a sync.
        self.connection.pragma_update(None, "synchronous", if sync { "FULL" } else { "NORMAL" })?;
        let transaction = self.connection.transaction()?;
        if sync {
            // Waiting for another process may have taken a while.
            gather(batch, receiver);
        }
        batch.iter_mut().try_for_each(|message| message.task.apply(&transaction))?;
        transaction.commit()?;
        self.syncs.fetch_add(u64::from(sync), Ordering::Relaxed);
        Ok(())
    }

    /// Deleted pages are zeros in the newest frames only; older frames of the WAL, and the database before a checkpoint,
    /// still have them.
    fn wipe(&mut self, batch: &[Message]) {
        self.unwiped |= batch.iter().any(|message| message.needs == Needs::Wipe);
        if self.unwiped {
            self.unwiped = !truncate(&self.connection);
        }
    }

    fn answer(&mut self, batch: Vec<Message>, failed: Option<&JournalError>) {
        for mut message in batch {
            if failed.is_some() && !message.task.is_awaited() {
                // A journal that fails again and again ends its case; until then this much is kept.
                if self.late.len() < BATCH {
                    self.late.push(message);
                }
            } else {
                message.task.answer(failed);
            }
        }
    }

    fn explain(&self, error: &rusqlite::Error) -> JournalError {
        let path = self.path.display();
        JournalError(match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => format!("no space is left for `{path}`"),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                format!("`{path}` is kept locked by another process")
            }
            _ => format!("`{path}` cannot be used: {error}"),
        })
    }
}

fn gather(batch: &mut Vec<Message>, receiver: &mut mpsc::Receiver<Message>) {
    while batch.len() < BATCH
        && let Ok(message) = receiver.try_recv()
    {
        batch.push(message);
    }
}

/// Moves everything from the WAL into the database, synced, and cuts the WAL to nothing. False: another process reads.
pub(crate) fn truncate(connection: &Connection) -> bool {
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    busy.is_ok_and(|busy| busy == 0)
}
