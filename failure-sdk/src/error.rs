//! Why something was not done.

use std::fmt;

use crate::bindings;

/// Why a call was not carried out, or why a failure gives up. Act on the case; the message is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The harness refused: not declared in metadata.yaml, or not granted by the operator.
    Denied(String),
    /// The cluster refused.
    Forbidden(String),
    /// There is no such object, kind or namespace.
    NotFound(String),
    /// It exists already, or changed since it was read.
    Conflict(String),
    /// The request or the object in it is not valid.
    Invalid(String),
    /// The cluster does not answer for now.
    Unavailable(String),
    /// The time is over.
    DeadlineExceeded(String),
    /// The case was cancelled.
    Cancelled(String),
    /// A limit of this call was reached.
    LimitExceeded(String),
    /// Anything else.
    Other(String),
}

/// What most functions here answer.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The message, without the case.
    pub fn message(&self) -> &str {
        match self {
            Self::Denied(m)
            | Self::Forbidden(m)
            | Self::NotFound(m)
            | Self::Conflict(m)
            | Self::Invalid(m)
            | Self::Unavailable(m)
            | Self::DeadlineExceeded(m)
            | Self::Cancelled(m)
            | Self::LimitExceeded(m)
            | Self::Other(m) => m,
        }
    }

    /// Whether there was no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Other(format!("JSON that cannot be read: {error}"))
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::Other(message.to_owned())
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::Other(message)
    }
}

macro_rules! same_cases {
    ($($case:ident),*) => {
        impl From<bindings::Error> for Error {
            fn from(error: bindings::Error) -> Self {
                match error { $(bindings::Error::$case(m) => Self::$case(m),)* }
            }
        }

        impl From<Error> for bindings::Error {
            fn from(error: Error) -> Self {
                match error { $(Error::$case(m) => Self::$case(m),)* }
            }
        }
    };
}

same_cases!(
    Denied,
    Forbidden,
    NotFound,
    Conflict,
    Invalid,
    Unavailable,
    DeadlineExceeded,
    Cancelled,
    LimitExceeded,
    Other
);
