//! Runs what is being tested: processes that end with all their descendants, in a sandbox, a workspace and an environment
//! that tell nothing, answers and usage read with distrust. It judges nothing and knows no cluster but by a kubeconfig's
//! text.

pub mod agent;
mod answer;
mod arguments;
mod artifacts;
mod descent;
mod disk;
mod enter;
mod environment;
mod limits;
mod lines;
mod live_report;
pub mod live_test;
mod output;
pub mod process;
mod prompt;
mod protocol;
mod reach;
mod redact;
mod sandbox;
mod supervisor;
mod workspace;

use std::path::PathBuf;

pub use arguments::{arguments, hide_arguments};
pub use limits::Limits;
pub use live_report::{LiveReport, LiveStatus};
pub use output::{Told, told};
pub use process::{Exit, OnLine, ProcessResult, ProcessSpec, Stream};
pub use prompt::answer_schema;
pub use reach::Reach;
pub use sandbox::{Sandbox, sandbox_available};

/// The program of this name on the search path that agents and scripts get.
pub fn find_program(name: &str) -> Option<PathBuf> {
    environment::find_program(name, &environment::path())
}

/// Runs a stage of starting a process, where this program was started as one; what it exits with then. Every program that
/// is named as `harness_exe` calls this before anything else.
pub fn stage() -> Option<u8> {
    let mut args = std::env::args_os().skip(1);
    let stage = args.next().filter(|_| args.next().is_none())?;
    match stage.to_str()? {
        supervisor::SUPERVISE => Some(supervisor::supervise()),
        supervisor::ENTER => Some(enter::enter()),
        _ => None,
    }
}
