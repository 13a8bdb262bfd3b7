//! The embedded cluster seen through its API: recorded exchanges, watches, time, kubectl, kube-rs.

mod access;
mod client;
mod conformance;
mod controllers;
mod kubectl;
mod machinery;
mod pins;
mod time;
mod watching;
mod webhooks;
