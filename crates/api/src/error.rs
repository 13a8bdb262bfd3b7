//! What can go wrong, with the exit code that it means.

use std::io;
use std::path::{Path, PathBuf};

use engine::EngineError;
use model::exit_code;
use store::StoreError;
use yaml::{Diagnostic, Diagnostics};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Files that people wrote have errors; all of them.
    #[error("{0}")]
    Invalid(Diagnostics),
    /// Another input is wrong.
    #[error("{message}")]
    Input {
        /// What is wrong.
        message: String,
        /// What would be right.
        help: Option<String>,
    },
    /// The call itself is wrong.
    #[error("{0}")]
    Usage(String),
    /// A file or folder could not be used.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Stored runs could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No case is left.
    #[error(
        "the selection (`--filter`, `--rerun`) selects none of the {0} cases; `harness-cli list MATRIX` shows them"
    )]
    NothingSelected(u64),
    /// The run could not be brought to its end.
    #[error("{0}")]
    Unjudged(String),
}

impl ApiError {
    /// The exit code of a program that ends because of this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid(_) | Self::Input { .. } | Self::Io { .. } | Self::Store(_) => exit_code::INVALID_INPUT,
            Self::Usage(_) => exit_code::USAGE,
            Self::NothingSelected(_) => exit_code::NOTHING_SELECTED,
            Self::Unjudged(_) => exit_code::UNJUDGED,
        }
    }

    /// What would be right, where that is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Input { help, .. } => help.as_deref(),
            _ => None,
        }
    }

    /// The errors with places in files, where it is about such.
    pub fn diagnostics(&self) -> Option<&Diagnostics> {
        match self {
            Self::Invalid(all) => Some(all),
            _ => None,
        }
    }

    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Input { message: message.into(), help: None }
    }

    /// An id that nothing has, with near matches.
    pub(crate) fn unknown(what: &str, id: &str, there: &[impl AsRef<str>]) -> Self {
        let help = yaml::did_you_mean(id, "there are", there.iter().map(AsRef::as_ref));
        Self::Input { message: format!("no {what} is called `{id}`"), help }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

impl From<Diagnostics> for ApiError {
    fn from(all: Diagnostics) -> Self {
        Self::Invalid(all)
    }
}

impl From<Diagnostic> for ApiError {
    fn from(one: Diagnostic) -> Self {
        Self::Invalid(one.into())
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => Self::Store(error),
            // It broke in the middle: what was not judged cannot be.
            EngineError::Record(error) => Self::Unjudged(format!("the run could not be recorded: {error}")),
            other => Self::input(other.to_string()),
        }
    }
}
