//! The judge: whether a failure has taken hold, whether health holds, and what an agent's answer and deeds are worth.
//! Pure: it touches no cluster, no clock and no file; the engine feeds it and acts on what it says.

mod checks;
mod decide;
mod efficiency;
mod kinds;
mod labels;
mod live;
mod localization;
mod observer;
mod owners;
mod requests;
mod safety;
mod score;
mod truth;

#[cfg(test)]
mod testing;

pub use checks::{Checks, JudgeError};
pub use decide::{Decision, Ending, decide};
pub use live::{LiveEnding, Reported, decide_live, score_live};
pub use observer::{HealthState, Observer, Seen};
pub use score::{Mitigation, ScoreInput, score};

/// The version of the scoring rules; verdicts of different versions are not compared.
pub const SCORING_VERSION: u32 = 1;
