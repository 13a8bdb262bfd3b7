//! The embedded cluster: a Kubernetes API server over an in-memory store, and the driver of the controllers, scheduler
//! and node that make its objects behave. Used in process ([`Cluster::handle`]) or over TLS ([`Cluster::serve`]).
//!
//! A cluster is deterministic given its seed and the requests: every change and every timer is worked on in one order
//! under one lock, and cluster time stands still meanwhile.

mod accounts;
mod admission;
mod apply;
mod authorise;
mod body;
mod bootstrap;
mod cluster;
mod custom;
mod defaults;
mod delete;
mod discovery;
mod driver;
mod error;
mod escalation;
mod events;
mod exec;
mod execs;
mod fields;
mod foreign;
mod inside;
mod limits;
mod listing;
mod logs;
mod machinery;
mod managed;
mod object;
mod openapi;
mod patch;
mod pipe;
mod pod_security;
mod podlog;
mod policies;
mod quota;
mod random;
mod reading;
mod registry;
mod request;
mod respond;
mod reviews;
mod selectors;
mod serve;
mod server;
mod snapshot;
mod state;
mod store;
mod strategic;
mod subresource;
mod table;
mod time;
mod typed;
mod validation;
mod versions;
mod watch;
mod watchers;
mod webhooks;
mod world;
mod write;
mod writes;
mod yaml;

pub use body::Body;
pub use cluster::{Cluster, Options};
pub use foreign::{Foreign, select_labels};
pub use reading::{Reading, reading};
pub use serve::{ServeError, Server};

/// Who asks. Members of `system:masters` may do everything, others what roles and bindings give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User name.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
}

impl Identity {
    /// The cluster's administrator.
    pub fn admin() -> Self {
        Self {
            name: "kubernetes-admin".to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
        }
    }
}
