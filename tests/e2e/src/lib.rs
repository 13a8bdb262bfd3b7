//! What the end-to-end tests share: the program in a sandbox of its own, a cluster as a process, kubectl.
//! Everything goes through the real `target/release/harness-cli`; nothing here links the engine.

mod cluster;
mod dump;
mod kubectl;
mod process;
mod program;
mod run;
mod sandbox;

pub use cluster::Cluster;
pub use dump::Dump;
pub use kubectl::{Kubectl, kubectl_or_skip, kubectls_or_skip, program_or_skip};
pub use process::{Running, peak_kilobytes, processes_mentioning, wait_until};
pub use program::{harness_cli, repository};
pub use run::RunFolder;
pub use sandbox::{Finished, Sandbox};
