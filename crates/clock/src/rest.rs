//! When the runtime of a thread comes to rest: all that it was given to do is done, and it waits for something from outside.
//! A cluster whose time hurries is moved at that moment, by the very thread that would otherwise sleep.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

/// Who is told that the runtime of its thread has come to rest. It may give it something to do.
pub trait AtRest: Send + Sync {
    /// The runtime is about to sleep. Called on its thread: must not block.
    fn at_rest(&self);
}

thread_local! {
    static LISTENERS: RefCell<Option<Vec<Weak<dyn AtRest>>>> = const { RefCell::new(None) };
}

/// From now on what is started on this thread may [`listen`]. To be called on the thread of a `current_thread` runtime whose
/// `on_thread_park` is [`come_to_rest`], before anything else runs on it.
pub fn tell_of_rest() {
    LISTENERS.with_borrow_mut(|listeners| *listeners = Some(Vec::new()));
}

/// Tells this to everybody who listens on this thread.
pub fn come_to_rest() {
    // Whoever is told may listen anew, so nothing is borrowed meanwhile.
    let told: Vec<Arc<dyn AtRest>> =
        LISTENERS.with_borrow(|listeners| listeners.iter().flatten().filter_map(Weak::upgrade).collect());
    told.iter().for_each(|listener| listener.at_rest());
}

/// Whether `listener` will be told when this thread's runtime comes to rest; no longer than it lives.
pub fn listen(listener: &Arc<impl AtRest + 'static>) -> bool {
    LISTENERS.with_borrow_mut(|listeners| {
        let Some(listeners) = listeners else { return false };
        listeners.retain(|listener| listener.strong_count() > 0);
        let weak: Weak<dyn AtRest> = Arc::downgrade(listener) as _;
        listeners.push(weak);
        true
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl AtRest for Count {
        fn at_rest(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_listens_is_told_as_long_as_it_lives_and_only_where_somebody_tells() {
        let count = Arc::new(Count::default());
        assert!(!listen(&count), "nobody tells on this thread");
        come_to_rest();
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        let there = Arc::clone(&count);
        let thread = std::thread::spawn(move || {
            tell_of_rest();
            assert!(listen(&there));
            let short = Arc::new(Count::default());
            assert!(listen(&short));
            drop(short);
            come_to_rest();
        });
        thread.join().expect("the thread ends");
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}
