//! The agent from outside: its rules on recorded clusters, its whole run against a server that answers from memory.

mod ignorance;
mod recorded;
mod rules;
mod run;
mod server;
