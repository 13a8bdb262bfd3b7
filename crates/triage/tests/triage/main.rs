//! The agent from outside: its rules on recorded clusters, its whole run against a server that answers from memory.

mod recorded;
mod run;
mod server;
