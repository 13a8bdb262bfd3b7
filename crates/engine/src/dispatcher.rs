//! Puts every event of a run in one order: numbers it, appends it to the run directory, shows it to the listeners.
//! A thread of its own, because it writes files and a database; everything else only sends to it.

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use model::{CaseFile, CaseId, Event, EventKind, RunFile, RunId};
use store::{RunWriter, StoreError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::Listener;

/// How many messages may wait before senders have to. Lines of logs are up to 16 KiB: some megabytes in all.
const QUEUE: usize = 1024;

enum Message {
    Event(Option<CaseId>, EventKind),
    Case(Box<CaseFile>, oneshot::Sender<Result<(), StoreError>>),
    Finish(Box<RunFile>, oneshot::Sender<Result<(), StoreError>>),
}

/// The sending end; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Dispatcher {
    sender: mpsc::Sender<Message>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Event(..) => "Event",
            Self::Case(..) => "Case",
            Self::Finish(..) => "Finish",
        })
    }
}

/// The run directory or the database could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The store says why.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread that writes is gone.
    #[error("the recorder of the run has ended unexpectedly")]
    Gone,
}

impl Dispatcher {
    /// Starts the thread. It ends when the last sender is dropped.
    pub(crate) fn start(run: RunId, writer: RunWriter, listeners: Vec<Box<dyn Listener>>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let thread = Recorder { run, seq: writer.last_seq(), writer, listeners, failed: None };
        std::thread::spawn(move || thread.run(receiver));
        Self { sender }
    }

    /// Sends an event, waiting for room.
    pub(crate) async fn event(&self, case: Option<&CaseId>, event: EventKind) {
        // A recorder that is gone is reported by the next `case` or `finish`.
        let _ = self.sender.send(Message::Event(case.cloned(), event)).await;
    }

    /// Sends an event from code that cannot wait itself. Where there is no room, what comes back waits for some: who
    /// made the event waits for it before making the next, so that a flood is slowed down and nothing is lost.
    pub(crate) fn offer(&self, case: &CaseId, event: EventKind) -> Option<BoxFuture<'static, ()>> {
        match self.sender.try_send(Message::Event(Some(case.clone()), event)) {
            Ok(()) | Err(TrySendError::Closed(_)) => None,
            Err(TrySendError::Full(message)) => {
                let sender = self.sender.clone();
                Some(async move { drop(sender.send(message).await) }.boxed())
            }
        }
    }

    /// Writes the case file and its rows.
    pub(crate) async fn case(&self, case: CaseFile) -> Result<(), RecordError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Message::Case(Box::new(case), reply)).await.map_err(|_| RecordError::Gone)?;
        Ok(answer.await.map_err(|_| RecordError::Gone)??)
    }

    /// Writes `run.json` and the run's row.
    pub(crate) async fn finish(&self, run: RunFile) -> Result<(), RecordError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Message::Finish(Box::new(run), reply)).await.map_err(|_| RecordError::Gone)?;
        Ok(answer.await.map_err(|_| RecordError::Gone)??)
    }
}

struct Recorder {
    run: RunId,
    writer: RunWriter,
    listeners: Vec<Box<dyn Listener>>,
    seq: u64,
    failed: Option<StoreError>,
}

impl Recorder {
    fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        while let Some(message) = receiver.blocking_recv() {
            match message {
                Message::Event(case, event) => self.event(case, event),
                Message::Case(case, reply) => {
                    let result = self.checked(|writer| writer.case(&case));
                    let _ = reply.send(result);
                }
                Message::Finish(run, reply) => {
                    let result = self.checked(|writer| writer.finish(&run));
                    let _ = reply.send(result);
                }
            }
        }
    }

    /// An event that could not be written fails the next write that somebody waits for.
    fn checked(&mut self, write: impl FnOnce(&mut RunWriter) -> Result<(), StoreError>) -> Result<(), StoreError> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => write(&mut self.writer),
        }
    }

    fn event(&mut self, case: Option<CaseId>, event: EventKind) {
        self.seq += 1;
        let event = Event { seq: self.seq, at: Timestamp::now(), run: self.run.clone(), case, event };
        if let Err(error) = self.writer.event(&event) {
            self.failed.get_or_insert(error);
        }
        for listener in &mut self.listeners {
            listener.event(&event);
        }
    }
}
