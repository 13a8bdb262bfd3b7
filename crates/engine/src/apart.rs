//! A thread and a runtime for one case alone, for cases on clusters whose time hurries. Such a time jumps when the runtime of
//! its user has nothing left to do; in one that is shared, the agents, plugins and clusters of other cases would hold it up.

use std::io;
use std::panic::resume_unwind;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinError;

/// Runs `work` to its end. Dropping the future loses only what it comes to: the work goes on.
///
/// # Errors
/// The system has no thread, or none of what a runtime needs.
///
/// # Panics
/// When `work` does.
pub(crate) async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().on_thread_park(clock::come_to_rest).build()?;
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("case".into()).spawn(move || {
        clock::tell_of_rest();
        let ended = runtime.block_on(runtime.spawn(work));
        // All that it left behind is gone before its end is told. What blocks a thread is not waited for.
        runtime.shutdown_background();
        let _ = sender.send(ended);
    })?;
    let ended: Result<T, JoinError> = receiver.await.map_err(io::Error::other)?;
    ended.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(cancelled) => io::Error::other(cancelled),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Weak};

    use super::*;

    #[tokio::test]
    async fn what_was_started_ends_with_the_work() {
        let held = Arc::new(());
        let left: Weak<()> = Arc::downgrade(&held);
        let answer = apart(async move {
            tokio::spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
            7
        });
        assert_eq!(answer.await.expect("a thread"), 7);
        assert!(left.upgrade().is_none(), "a task outlived the case");
    }

    #[tokio::test]
    #[should_panic(expected = "on purpose")]
    async fn a_panic_is_passed_on() {
        let _ = apart(async { panic!("on purpose") }).await;
    }
}
