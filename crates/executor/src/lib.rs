//! Runs what is being tested: processes that end with all their descendants, a workspace and an environment that tell
//! nothing, answers and usage read with distrust. It judges nothing and knows no cluster but by a kubeconfig's text.

pub mod agent;
mod answer;
mod artifacts;
mod environment;
mod lines;
mod output;
pub mod process;
mod prompt;
mod redact;
mod tree;
mod workspace;

use std::path::PathBuf;

pub use process::{Exit, OnLine, ProcessResult, ProcessSpec, Stream};
pub use prompt::answer_schema;

/// The program of this name on the search path that agents and scripts get.
pub fn find_program(name: &str) -> Option<PathBuf> {
    environment::find_program(name, &environment::path())
}
