//! Puts a cluster back: each object that anyone touched through the gate goes to its state before the first touch. What it
//! does follows from the journal and from what is there, so it can be ended anywhere and begun again.
//!
//! `history` reads the journal, `plan` decides, `body` says what is written, `run` does it. Only `run` and `requests` touch
//! a cluster.

mod body;
mod fields;
mod finalizers;
mod history;
mod normal;
mod order;
mod plan;
mod requests;
mod run;

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Gate, JournalError, ObjectKey};

/// What came of an undo.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UndoReport {
    /// Objects that were put back, made again or removed now. Those that were as they had been are not told.
    pub restored: Vec<ObjectKey>,
    /// Objects that somebody has changed who did not come through the gate. They were left as they are.
    pub drifted: Vec<Difference>,
    /// Objects that could not be put back.
    pub failed: Vec<Difference>,
    /// Objects to which something was done that no undo takes back, though they may look as before.
    pub irreversible: Vec<ObjectKey>,
}

impl UndoReport {
    /// Whether every object is as it was.
    pub fn is_complete(&self) -> bool {
        self.drifted.is_empty() && self.failed.is_empty()
    }
}

/// An object that is not as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The object.
    pub key: ObjectKey,
    /// One sentence.
    pub why: String,
    /// JSON pointers of what differs, or what holds an object up: never a value of an object.
    pub evidence: Vec<Value>,
}

/// Nothing can be said of the cluster. Undo again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// The API server does not answer.
    #[error("the cluster cannot be reached, so nothing more was put back: {0}")]
    Unreachable(String),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Gate {
    /// Puts back what the journal knows of. Close endpoints, drop clients and wait for [`Gate::settled`] first: what is
    /// written meanwhile may or may not be undone.
    ///
    /// `max` is cluster time, for each of the waits for what was deleted. Dropping the future ends it in the middle; another
    /// call goes on from there. After a complete one, another only reads.
    ///
    /// # Errors
    /// [`UndoError`]: the cluster or the journal does not answer, after a number of tries.
    pub async fn undo(&self, clock: &Arc<dyn Clock>, max: Duration) -> Result<UndoReport, UndoError> {
        run::Undo::new(self, clock, max).run().await
    }
}
