//! The gate from outside: what comes in, what goes on to a mock API server, what is answered and recorded.

mod attributes;
mod bodies;
mod grants;
mod mock;
mod policy;
mod proxy;
mod requests;
mod tunnels;
