//! Signals. The first asks everything to end and to be put back; the second leaves at once.

use api::{Canceller, Interrupt};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::terminal::complain;

/// Listens for SIGINT and SIGTERM from now on, on a task of its own.
pub(crate) fn listen(canceller: Canceller, what_happens: &'static str) -> std::io::Result<()> {
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let first = next(&mut int, &mut term).await;
        complain(what_happens);
        canceller.interrupt(first);
        let second = next(&mut int, &mut term).await;
        complain("Interrupted again: leaving at once.");
        std::process::exit(i32::from(second.exit_code()));
    });
    Ok(())
}

async fn next(int: &mut Signal, term: &mut Signal) -> Interrupt {
    tokio::select! {
        _ = int.recv() => Interrupt::Sigint,
        _ = term.recv() => Interrupt::Sigterm,
    }
}
