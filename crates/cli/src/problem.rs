//! Errors as people see them: with the source on a terminal, `file:line:column: message` elsewhere.

use std::io;

use api::ApiError;

use crate::terminal::{Terminal, complain};

/// Why a command ends without having done its work.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The facade says why.
    Api(ApiError),
    /// Standard output, or the terminal, cannot be used.
    Io(io::Error),
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Problem {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Api(error) => error.exit_code(),
            Self::Io(_) => model::exit_code::INVALID_INPUT,
        }
    }

    pub(crate) fn show(&self, terminal: Terminal) {
        match self {
            Self::Io(error) => complain(&format!("error: {error}")),
            Self::Api(error) => match error.diagnostics() {
                Some(all) => diagnostics(all, terminal),
                None => {
                    complain(&format!("error: {error}"));
                    if let Some(help) = error.help() {
                        complain(&format!("  help: {help}"));
                    }
                }
            },
        }
    }
}

/// Errors and warnings with places in files.
pub(crate) fn diagnostics(all: &api::Diagnostics, terminal: Terminal) {
    if all.is_empty() {
        return;
    }
    let text = if terminal.live { all.pretty(terminal.stderr_color) } else { all.to_string() };
    complain(text.trim_end());
}
