//! The embedded cluster seen through its API: recorded exchanges, watches, time, kubectl, kube-rs.

mod access;
mod client;
mod conformance;
mod controllers;
mod custom;
mod kubectl;
mod machinery;
mod page;
mod pins;
mod pods;
mod policies;
mod tables;
mod time;
mod watched;
mod watching;
mod webhooks;
