//! Runs a matrix: leads each case through its life, keeps all events in one order, decides the exit code.
//! It owns no format, no policy, no rule of judgement: those are in `store`, `gate` and `judge`.

mod accept;
mod agent;
mod cancel;
mod case;
mod claims;
mod dispatcher;
mod dossier;
mod keeping;
mod live_test;
mod logs;
mod objects;
mod occupancy;
mod put_back;
mod record;
mod recover;
mod request;
mod run;
mod scene;
mod script;
mod selection;
mod single;
mod watches;

pub use agent::GIVEN;
pub use cancel::{Cancel, Canceller, Interrupt};
pub use dispatcher::RecordError;
pub use keeping::Journals;
pub use live_test::missing;
pub use recover::{Done, RecoverRequest, Recovered, Recovery, recover};
pub use request::{Listener, Plugins, RunOptions, RunRequest, Setting};
pub use run::{EngineError, FindProvisioner, run, run_on, source};
pub use selection::{FilterError, Selection};
pub use single::{Held, SingleError, SingleRequest, hold};
