//! The component host: loads failures and calls them, each call in a fresh store with limits of its own. Knows nothing of
//! matrices, cases or verdicts; the client that it is given is limited already, so no power is decided here.

mod bindings;
mod cache;
mod call;
mod context;
mod engine;
mod error;
mod host;
mod kubernetes;
mod limits;
mod resources;
mod run;
mod watch;

pub use call::{Call, Checkpoint, Induced, Log, ScriptError, ScriptOutput, ScriptRunner};
pub use error::{DeadlineKind, ErrorCase, LoadError, PluginError};
pub use limits::Limits;
pub use run::{Host, HostConfig, Plugin};
