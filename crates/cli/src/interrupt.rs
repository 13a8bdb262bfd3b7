//! Signals. The first asks everything to end in good order, with a countdown; the second gives up on failures' own
//! clean-up; the third leaves at once. What that means is decided in the engine's state machine, said here.

use std::time::Duration;

use api::{Canceller, HOST_ONLY, Interrupt, Stage};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::terminal::{complain, redrawing};

/// Between two lines of the countdown.
const COUNT: Duration = Duration::from_secs(5);

/// What is said at each stage.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    /// At the first signal.
    pub(crate) stopping: String,
    /// At the second; none: it leaves at once.
    pub(crate) abandoning: Option<String>,
    /// When it leaves at once.
    pub(crate) leaving: String,
}

impl Words {
    /// For what breaks clusters. `recover` is the command that puts back what is left.
    pub(crate) fn of_a_case(recover: &str) -> Self {
        Self {
            stopping:
                "Interrupted: nothing new begins, agents are told to stop, everything is put back. Once more to give \
                       up on what failures do themselves."
                    .to_owned(),
            abandoning: Some(format!(
                "Giving up on failures: the harness alone puts back what it can, in at most {} s a case. Once more to leave \
                 at once.",
                HOST_ONLY.as_secs()
            )),
            leaving: format!("Leaving at once. Clusters may still be broken; to put them back:\n  {recover}"),
        }
    }

    /// For what leaves nothing behind.
    pub(crate) fn plain(stopping: &str) -> Self {
        Self { stopping: stopping.to_owned(), abandoning: None, leaving: "Leaving at once.".to_owned() }
    }
}

/// Listens for SIGINT and SIGTERM from now on, on a task of its own.
pub(crate) fn listen(canceller: Canceller, words: Words) -> std::io::Result<()> {
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let mut stage = Stage::Running;
        loop {
            let reached = match stage.patience() {
                None => canceller.interrupt(next(&mut int, &mut term).await),
                Some(patience) => tokio::select! {
                    by = next(&mut int, &mut term) => canceller.interrupt(by),
                    () = countdown(patience) => canceller.time_up(stage),
                },
            };
            stage = reached;
            match (stage, &words.abandoning) {
                (Stage::Running, _) => {}
                (Stage::Stopping, _) => complain(&words.stopping),
                (Stage::Abandoning, Some(words)) => complain(words),
                (Stage::Abandoning, None) | (Stage::Leaving, _) => {
                    // What is drawn would stay on the terminal.
                    redrawing(None);
                    complain(&words.leaving);
                    std::process::exit(i32::from(canceller.exit_code()));
                }
            }
        }
    });
    Ok(())
}

/// Says how long there still is, until there is no more.
async fn countdown(patience: Duration) {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(COUNT.min(left)).await;
        let left = end.saturating_duration_since(Instant::now());
        complain(&format!("Putting everything back: {} s left.", left.as_secs()));
    }
}

async fn next(int: &mut Signal, term: &mut Signal) -> Interrupt {
    tokio::select! {
        _ = int.recv() => Interrupt::Sigint,
        _ = term.recv() => Interrupt::Sigterm,
    }
}
