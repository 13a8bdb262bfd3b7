//! Whether a future is about to go on: it is being polled, or was woken and not polled since. A cluster that hurries asks
//! before each jump, so that time never runs past work that has already been given something to do.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// What is known of one future.
#[derive(Debug)]
pub struct Busy {
    woken: AtomicBool,
    polling: AtomicBool,
}

impl Default for Busy {
    /// A future that was never polled is about to be.
    fn default() -> Self {
        Self { woken: AtomicBool::new(true), polling: AtomicBool::new(false) }
    }
}

impl Busy {
    /// True while the future is polled, and from each wake until then.
    pub fn is(&self) -> bool {
        // In this order: a poll takes `woken` back only after it has set `polling`.
        self.woken.load(Ordering::SeqCst) || self.polling.load(Ordering::SeqCst)
    }
}

/// Marks a wake, then passes it on.
struct Marked {
    busy: Arc<Busy>,
    waker: Waker,
}

impl Wake for Marked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.busy.woken.store(true, Ordering::SeqCst);
        self.waker.wake_by_ref();
    }
}

/// `work`, with what it is about in `busy`.
pub(crate) fn watched<F: Future>(work: F, busy: Arc<Busy>) -> impl Future<Output = F::Output> {
    Watched { work: Box::pin(work), busy }
}

struct Watched<F> {
    work: Pin<Box<F>>,
    busy: Arc<Busy>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.busy.polling.store(true, Ordering::SeqCst);
        self.busy.woken.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::new(Marked { busy: Arc::clone(&self.busy), waker: context.waker().clone() }));
        let polled = self.work.as_mut().poll(&mut Context::from_waker(&waker));
        self.busy.polling.store(false, Ordering::SeqCst);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::channel::oneshot;

    #[test]
    fn work_is_busy_until_it_waits_and_again_when_it_is_woken() {
        let busy = Arc::new(Busy::default());
        let (sender, receiver) = oneshot::channel::<()>();
        let mut work = watched(receiver, Arc::clone(&busy)).boxed();
        assert!(busy.is(), "never polled");
        assert!(work.as_mut().now_or_never().is_none());
        assert!(!busy.is(), "it waits");
        assert!(sender.send(()).is_ok());
        assert!(busy.is(), "woken, not polled yet");
        assert!(work.as_mut().now_or_never().is_some());
        assert!(!busy.is(), "it is done");
    }
}
