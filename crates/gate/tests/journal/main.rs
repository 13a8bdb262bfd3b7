//! The write path before an API server that behaves as Kubernetes does, and fails as networks do: what is asked, what is
//! written down, and that nothing is lost and nothing done twice.

mod collection;
mod cost;
mod law;
mod lost;
mod pins;
mod server;
mod stamps;
