//! What can go wrong with a request, and when it does.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 409: somebody else was there in between.
    Conflict,
    /// 429 with a `Retry-After` of so many seconds.
    Busy(u64),
    /// 500, and nothing was done.
    Error,
    /// The connection breaks before the request is there.
    LostBefore,
    /// It takes effect, and the connection breaks before the answer is there.
    LostAfter,
    /// It waits.
    Late(Duration),
    /// A watch ends after so many events; cleanly, or in the middle.
    Cut { after: usize, cleanly: bool },
}

/// A request, as faults know it.
#[derive(Clone, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
}

impl Seen<'_> {
    pub(crate) fn is_write(&self) -> bool {
        !matches!(*self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.query.contains("dryRun=")
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains("watch=")
    }
}

/// Decides what goes wrong.
pub(crate) trait Faults: Send + Sync {
    fn of(&self, request: &Seen<'_>) -> Option<Fault>;
}

/// Nothing goes wrong.
pub(crate) struct Nothing;

impl Faults for Nothing {
    fn of(&self, _: &Seen<'_>) -> Option<Fault> {
        None
    }
}

/// Every request of one sort goes wrong the first times that it is made.
pub(crate) struct AtFirst {
    pub(crate) faults: Vec<Fault>,
    pub(crate) when: fn(&Seen<'_>) -> bool,
    made: Mutex<HashMap<String, usize>>,
}

impl AtFirst {
    pub(crate) fn new(faults: Vec<Fault>, when: fn(&Seen<'_>) -> bool) -> Self {
        Self { faults, when, made: Mutex::default() }
    }
}

impl Faults for AtFirst {
    fn of(&self, request: &Seen<'_>) -> Option<Fault> {
        if !(self.when)(request) {
            return None;
        }
        let mut made = self.made.lock().unwrap();
        let times = made.entry(format!("{} {}", request.method, request.path)).or_default();
        *times += 1;
        self.faults.get(*times - 1).copied()
    }
}

/// Everything may go wrong, by chance: the same for the same seed and order of requests.
pub(crate) struct ByChance {
    random: Mutex<StdRng>,
    /// Of a hundred requests.
    pub(crate) rate: u32,
}

impl ByChance {
    pub(crate) fn new(seed: u64, rate: u32) -> Self {
        Self { random: Mutex::new(StdRng::seed_from_u64(seed)), rate }
    }
}

impl Faults for ByChance {
    fn of(&self, request: &Seen<'_>) -> Option<Fault> {
        let mut random = self.random.lock().unwrap();
        if request.is_watch() && random.random_bool(0.7) {
            return Some(Fault::Cut { after: random.random_range(0..12), cleanly: random.random_bool(0.5) });
        }
        if !random.random_ratio(self.rate, 100) {
            return None;
        }
        let write = request.is_write() && !request.is_dry_run();
        Some(match random.random_range(0..if write { 6 } else { 4 }) {
            0 => Fault::Busy(0),
            1 => Fault::Error,
            2 => Fault::LostBefore,
            3 => Fault::Late(Duration::from_millis(random.random_range(1..60))),
            4 => Fault::LostAfter,
            _ => Fault::Conflict,
        })
    }
}

/// Nothing is answered any more once it is away.
#[derive(Default)]
pub(crate) struct Away(pub(crate) AtomicBool);

impl Faults for Away {
    fn of(&self, _: &Seen<'_>) -> Option<Fault> {
        self.0.load(Ordering::Acquire).then_some(Fault::LostBefore)
    }
}
