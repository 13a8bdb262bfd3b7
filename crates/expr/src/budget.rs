//! How much work one evaluation may do. Counted where an expression can multiply work: in the macros and in `+`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cel::{ExecutionError, Value};

/// What every list or map that a macro walks is passed through.
pub(crate) const RANGE: &str = "@range";
/// What the result of every `+` is passed through.
pub(crate) const GROWN: &str = "@grown";

/// Items that all macros of one evaluation may visit.
const MAX_STEPS: u64 = 100_000;
/// Bytes and items that all `+` of one evaluation may make.
const MAX_GROWTH: u64 = 8 * 1024 * 1024;
/// A step has a cost of its own that is not counted, such as comparing two large objects.
const MAX_TIME: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Budget {
    steps: AtomicU64,
    growth: AtomicU64,
    deadline: Instant,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { steps: AtomicU64::new(0), growth: AtomicU64::new(0), deadline: Instant::now() + MAX_TIME }
    }

    /// Counts the items of what a macro is about to walk.
    pub(crate) fn range(&self, value: &Value) -> Result<(), ExecutionError> {
        let items = match value {
            Value::List(list) => list.len(),
            Value::Map(map) => map.map.len(),
            _ => 0,
        };
        self.count(&self.steps, items, MAX_STEPS)
    }

    /// Counts the size of what a `+` has made.
    pub(crate) fn grown(&self, value: &Value) -> Result<(), ExecutionError> {
        let size = match value {
            Value::String(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(list) => list.len() * 16,
            _ => 0,
        };
        self.count(&self.growth, size, MAX_GROWTH)
    }

    fn count(&self, counter: &AtomicU64, more: usize, max: u64) -> Result<(), ExecutionError> {
        let more = u64::try_from(more).unwrap_or(u64::MAX).saturating_add(1);
        let before = counter.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > max || Instant::now() > self.deadline {
            return Err(ExecutionError::InternalError("the expression needs too much work (cost limit)".to_owned()));
        }
        Ok(())
    }
}
