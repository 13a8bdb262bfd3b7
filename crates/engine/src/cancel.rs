//! Interruption: one flag that everything long-running looks at, with the signal that raised it.

use std::pin::pin;

use futures::future::{Either, select};
use model::exit_code;
use tokio::sync::watch;

/// What interrupted the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// SIGINT, Ctrl-C.
    Sigint,
    /// SIGTERM.
    Sigterm,
}

impl Interrupt {
    /// The exit code of a run that was interrupted so.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Sigint => exit_code::SIGINT,
            Self::Sigterm => exit_code::SIGTERM,
        }
    }
}

/// Raises the flag.
#[derive(Debug)]
pub struct Canceller(watch::Sender<Option<Interrupt>>);

impl Canceller {
    /// Interrupts whatever holds the other end. The first interrupt counts.
    pub fn interrupt(&self, by: Interrupt) {
        self.0.send_if_modified(|first| {
            let raised = first.is_none();
            first.get_or_insert(by);
            raised
        });
    }
}

/// Sees the flag.
#[derive(Clone, Debug)]
pub struct Cancel(watch::Receiver<Option<Interrupt>>);

impl Cancel {
    /// A flag and the hand that raises it.
    pub fn new() -> (Canceller, Self) {
        let (sender, receiver) = watch::channel(None);
        (Canceller(sender), Self(receiver))
    }

    /// What interrupted, if anything did.
    pub fn interrupted(&self) -> Option<Interrupt> {
        *self.0.borrow()
    }

    /// The same as a future of its own that tells nothing but that it is time to end.
    pub fn raised(&self) -> impl Future<Output = ()> + Send + use<> {
        let cancel = self.clone();
        async move {
            cancel.wait().await;
        }
    }

    /// Resolves once interrupted; never when nobody can interrupt any more.
    pub async fn wait(&self) -> Interrupt {
        let mut by = self.0.clone();
        let seen = by.wait_for(Option::is_some).await.ok().and_then(|v| *v);
        match seen {
            Some(by) => by,
            None => std::future::pending().await,
        }
    }

    /// Runs `work` unless interrupted; none when it was, and `work` is dropped then.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), pin!(self.wait())).await {
            Either::Left((value, _)) => Some(value),
            Either::Right(_) => None,
        }
    }
}
