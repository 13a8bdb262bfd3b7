//! Runs a matrix: leads each case through its life, keeps all events in one order, decides the exit code.
//! It owns no format, no policy, no rule of judgement: those are in `store`, `gate` and `judge`.

mod accept;
mod agent;
mod apart;
mod attempts;
mod cancel;
mod case;
mod cast;
mod claims;
mod course;
mod dispatcher;
mod dossier;
mod drop;
mod fitness;
mod groups;
mod keeping;
mod live_test;
mod logs;
mod objects;
mod occupancy;
mod partition;
mod pool;
mod put_back;
mod record;
mod recover;
mod request;
mod run;
mod scene;
mod schedule;
mod script;
mod selection;
mod single;
mod spending;
mod visit;
mod void;
mod watches;

pub use agent::GIVEN;
pub use cancel::{Cancel, Canceller, HOST_ONLY, IN_ORDER, Interrupt, Stage};
pub use dispatcher::RecordError;
pub use fitness::{
    Fitness, FitnessCheck, FitnessRequest, Proof, ProvedOn, Slots, Step as FitnessStep, Tell as TellFitness,
    Verdict as FitnessVerdict, granting_declared, prove,
};
pub use judge::SCORING_VERSION;
pub use keeping::Journals;
pub use live_test::missing;
pub use partition::{Partition, PartitionError};
pub use recover::{Done, RecoverRequest, Recovered, Recovery, recover};
pub use request::{Listener, Plugins, RunOptions, RunRequest, Setting};
pub use run::{EngineError, FindProvisioner, prompt_digest, run, run_on, source};
pub use selection::{FilterError, Selection};
pub use single::{Held, SingleError, SingleRequest, hold};
pub use visit::{VisitRequest, visit};
