//! What a proof tells while it goes on: how long it is likely to take, what takes long, what is done.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::Phase;

/// Between two words about a phase that still goes on, and between two looks at it.
const SLOW: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(5);

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The proof of a failure begins.
    Planned {
        /// The failure.
        failure: String,
        /// Cases, of which each has a namespace of its own.
        cases: usize,
        /// How many of them at a time.
        side_by_side: usize,
        /// How long that is likely to take, when nothing else is at work on the cluster.
        expected: Duration,
    },
    /// A phase of a case goes on and on.
    Slow {
        /// The failure.
        failure: String,
        /// What is tried in the case.
        case: String,
        /// The phase.
        phase: Phase,
        /// For so long already.
        elapsed: Duration,
    },
    /// A case is over, and the cluster as it was.
    Done {
        /// The failure.
        failure: String,
        /// What was tried in the case.
        case: String,
        /// From its place on the cluster until it was put back.
        took: Duration,
    },
}

/// Hears the steps of proofs.
#[derive(Clone)]
pub struct Tell(pub Arc<dyn Fn(Step) + Send + Sync>);

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}

/// Where a case is, for whoever waits for it.
#[derive(Debug)]
pub(crate) struct Stage {
    failure: String,
    case: String,
    tell: Option<Tell>,
    began: Instant,
    phase: Mutex<(Phase, Instant)>,
}

impl Stage {
    pub(crate) fn new(failure: &str, case: &str, tell: Option<Tell>) -> Self {
        let now = Instant::now();
        let phase = Mutex::new((Phase::Lease, now));
        Self { failure: failure.to_owned(), case: case.to_owned(), tell, began: now, phase }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = (phase, Instant::now());
    }

    /// Says again and again which phase goes on, until it is dropped.
    pub(crate) async fn slow(&self) -> Infallible {
        let Some(Tell(tell)) = &self.tell else { return pending().await };
        let mut told = (Phase::Lease, 0);
        loop {
            tokio::time::sleep(LOOK).await;
            let (phase, since) = *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
            let times = if told.0 == phase { told.1 } else { 0 };
            let elapsed = since.elapsed();
            if elapsed >= SLOW * (times + 1) {
                tell(Step::Slow { failure: self.failure.clone(), case: self.case.clone(), phase, elapsed });
                told = (phase, times + 1);
            }
        }
    }

    pub(crate) fn done(&self) {
        if let Some(Tell(tell)) = &self.tell {
            let took = self.began.elapsed();
            tell(Step::Done { failure: self.failure.clone(), case: self.case.clone(), took });
        }
    }
}
