//! The gate: the only way from failures, scripts and agents to a cluster. It derives what a request asks for, decides it
//! by policy, writes down what is about to change, forwards its own serialisation of what it judged, and records it.

mod attributes;
mod authority;
mod body;
mod change;
mod collection;
mod crash;
mod create;
mod deliver;
mod denial;
mod field_selector;
mod flow;
mod forward;
mod gate;
mod grants;
mod grants_file;
mod hazard;
mod health;
mod in_flight;
mod journal;
mod judge;
mod patch;
mod patience;
mod pin;
mod policy;
mod profile;
mod proxy;
mod record;
mod review;
mod rule;
mod server_address;
mod settle;
mod stamp;
mod status;
mod subject;
mod trace;
mod tunnel;
mod undo;
mod write;

pub use attributes::{Attributes, BadRequest, MAX_PATH, MAX_QUERY, attributes};
pub use crash::crash_point;
pub use denial::{Denial, Lack, Missing};
pub use forward::{Upstream, upstream};
pub use gate::{Gate, GateConfig, GateError, GateService, LABEL, Limits, NONCE};
pub use grants::{
    AgentGrant, ClusterGrant, Executors, FailureGrant, Granted, Grants, NamedAccess, NoSuchAccess, grants_schema,
};
pub use hazard::{Hazard, UnknownHazard};
pub use journal::{Entry, Intent, Journal, JournalError, MemoryJournal, ObjectKey, State};
pub use policy::{Policy, Power, effective};
pub use profile::{Access, UnknownAccess, default_grants};
pub use proxy::Endpoint;
pub use record::Sink;
pub use rule::{CASE, Rule};
pub use server_address::normal_server;
pub use status::GATE_DENIED;
pub use undo::{Difference, UndoError, UndoReport};
