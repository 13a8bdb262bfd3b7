//! Why a component was not loaded, or a call came to nothing; each says whose doing it is.

use std::time::Duration;

use component::InspectError;

use crate::bindings::Error as GuestError;
use crate::limits::{CpuExceeded, LimitReached};

/// Why a component cannot be run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It is no failure: a core module, text, damaged, of another world.
    #[error(transparent)]
    NotAFailure(#[from] InspectError),
    /// It needs something that this program does not offer.
    #[error("the component imports {}, which this program does not offer{}", .0.join(", "), wasi_hint(.0))]
    UnknownImports(Vec<String>),
    /// Its imports or exports have the right names and other types.
    #[error("the component does not fit package harness:failure@{version}: {message}", version = component::CONTRACT_VERSION, message = .0)]
    Mismatch(String),
    /// It needs more than any call may use.
    #[error("the component needs more than the limit of {name} ({limit})")]
    Limit {
        /// What is limited.
        name: &'static str,
        /// How much may be used.
        limit: u64,
    },
    /// The compiler refused it.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
}

fn wasi_hint(imports: &[String]) -> &'static str {
    if imports.iter().any(|name| name.starts_with("wasi:")) {
        ": failures have no files, environment or sockets. Build without WASI (Rust: target wasm32-unknown-unknown; JavaScript: \
         --backend-qjs-stub-wasi; Python: --stub-wasi)"
    } else {
        ""
    }
}

/// Which clock ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineKind {
    /// The component's own code ran too long.
    Cpu,
    /// The call as a whole took too long.
    Wall,
}

/// The cases of the contract's error variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in the WIT, one by one")]
pub enum ErrorCase {
    Forbidden,
    NotFound,
    Conflict,
    Invalid,
    Unavailable,
    DeadlineExceeded,
    Cancelled,
    LimitExceeded,
    Other,
}

impl ErrorCase {
    /// The name of the case in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::Cancelled => "cancelled",
            Self::LimitExceeded => "limit-exceeded",
            Self::Other => "other",
        }
    }
}

/// Why a call of a failure came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// The component's code broke off: a panic, an access outside its memory, a division by zero.
    #[error("the component trapped: {message}")]
    Trap {
        /// What WebAssembly says.
        message: String,
    },
    /// The component was cut off.
    #[error("{}", deadline_text(*kind, *limit))]
    Deadline {
        /// Which clock ran out.
        kind: DeadlineKind,
        /// How long it might have taken.
        limit: Duration,
    },
    /// The component used more than it may.
    #[error("the component reached the limit of {name} ({limit})")]
    Limit {
        /// What is limited.
        name: &'static str,
        /// How much may be used.
        limit: u64,
    },
    /// The component asked for what was not declared or not granted.
    #[error("{text}")]
    Denied {
        /// What was refused, and the lines that would allow it.
        text: String,
    },
    /// The cluster did not answer a call, or what was to be saved could not be kept, and the component gave up over it.
    #[error("{message} (unavailable)")]
    Unavailable {
        /// The message.
        message: String,
    },
    /// The component gave up and said why; whatever it says of the cluster, the host has seen nothing of it.
    #[error("{message} ({})", case.name())]
    Failed {
        /// The case of the contract's error.
        case: ErrorCase,
        /// The message.
        message: String,
    },
    /// The component could not be started.
    #[error("the component cannot be started: {0}")]
    Instantiate(String),
    /// `metadata` answered something that is no metadata.
    #[error("the component's metadata cannot be read: {0}")]
    Metadata(String),
}

/// Bytes of a component's own words that are kept.
const MAX_MESSAGE: usize = 4096;

fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        message.push('…');
    }
    message
}

fn deadline_text(kind: DeadlineKind, limit: Duration) -> String {
    match kind {
        DeadlineKind::Cpu => format!("the component's code ran for more than {limit:?}"),
        DeadlineKind::Wall => format!("the component did not return within {limit:?}"),
    }
}

impl PluginError {
    /// Whether the cluster or this machine is to blame, and not the component.
    pub fn is_host_fault(&self) -> bool {
        match self {
            Self::Trap { .. }
            | Self::Limit { .. }
            | Self::Denied { .. }
            | Self::Failed { .. }
            | Self::Metadata(_)
            | Self::Deadline { .. } => false,
            Self::Unavailable { .. } | Self::Instantiate(_) => true,
        }
    }

    /// What ended the component's code, told from the error that wasmtime carries.
    pub(crate) fn from_wasmtime(error: &wasmtime::Error) -> Self {
        if let Some(limit) = error.downcast_ref::<LimitReached>() {
            return Self::Limit { name: limit.name, limit: limit.limit };
        }
        if let Some(CpuExceeded(limit)) = error.downcast_ref::<CpuExceeded>() {
            return Self::Deadline { kind: DeadlineKind::Cpu, limit: *limit };
        }
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(trap) => Self::Trap { message: trap.to_string() },
            None => Self::Trap { message: format!("{error:#}") },
        }
    }

    /// What the component answered. Words that are ours to say are believed only when they were said to it in this call.
    pub(crate) fn from_guest(error: GuestError, reached: Option<LimitReached>, was_unavailable: bool) -> Self {
        let (case, message) = match error {
            GuestError::Denied(text) => return Self::Denied { text: cut(text) },
            GuestError::LimitExceeded(message) => match reached {
                Some(limit) => return Self::Limit { name: limit.name, limit: limit.limit },
                None => (ErrorCase::LimitExceeded, message),
            },
            GuestError::Forbidden(message) => (ErrorCase::Forbidden, message),
            GuestError::NotFound(message) => (ErrorCase::NotFound, message),
            GuestError::Conflict(message) => (ErrorCase::Conflict, message),
            GuestError::Invalid(message) => (ErrorCase::Invalid, message),
            GuestError::Unavailable(message) if was_unavailable => {
                return Self::Unavailable { message: cut(message) };
            }
            GuestError::Unavailable(message) => (ErrorCase::Unavailable, message),
            GuestError::DeadlineExceeded(message) => (ErrorCase::DeadlineExceeded, message),
            GuestError::Cancelled(message) => (ErrorCase::Cancelled, message),
            GuestError::Other(message) => (ErrorCase::Other, message),
        };
        Self::Failed { case, message: cut(message) }
    }
}
