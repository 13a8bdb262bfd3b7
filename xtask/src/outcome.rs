//! How a task ends: well, with a message about what to do, or with the exit code of the program that it ran.

use std::fmt;
use std::process::ExitCode;

/// Why a task did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something is missing or broken; the text says what to do.
    Message(String),
    /// A program that the task ran has said why itself; its exit code is passed on.
    ExitCode(u8),
}

pub(crate) type Outcome = Result<(), Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(text) => f.write_str(text),
            Self::ExitCode(code) => write!(f, "a program ended with exit code {code}"),
        }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Message(text)
    }
}

/// What the process exits with; a message goes to stderr first.
pub(crate) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::ExitCode(code)) => ExitCode::from(code),
        Err(Failure::Message(text)) => {
            eprintln!("xtask: {text}");
            ExitCode::FAILURE
        }
    }
}
