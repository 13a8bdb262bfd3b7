//! Whole runs through the engine: how cases are scheduled, tried again and interrupted; and whole cases on clusters that
//! misbehave: nothing is lost, nothing is doubled, the cluster is clean afterwards, and nobody is blamed for what the cluster
//! did. Agents are processes of `harness-cli`, which must have been built.

mod away;
mod cluster;
mod endured;
mod fault;
mod fleet;
mod interrupted;
mod retried;
mod scheduled;
mod stage;
mod together;
