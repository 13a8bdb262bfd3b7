//! Writing failures: a new folder from a template, and one file from a folder. Runs cargo for failures in Rust; touches no
//! cluster, and runs no code of a failure but its `metadata`.

mod build;
mod template;

use std::path::PathBuf;
use std::str::FromStr;

pub use build::{Built, build};
pub use template::new;

/// What a failure is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    /// Steps in `metadata.yaml`.
    Yaml,
    /// A component in Rust.
    Rust,
    /// `induce.sh`.
    Script,
}

impl FromStr for Lang {
    type Err = AuthorError;

    fn from_str(text: &str) -> Result<Self, AuthorError> {
        match text {
            "yaml" => Ok(Self::Yaml),
            "rust" => Ok(Self::Rust),
            "script" => Ok(Self::Script),
            other => Err(AuthorError::Language(other.to_owned())),
        }
    }
}

/// Why a failure was not written or built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AuthorError {
    /// Not a language that there is a template for.
    #[error("failures cannot be started in `{0}` here; write yaml, rust or script")]
    Language(String),
    /// Not an id.
    #[error(transparent)]
    Id(#[from] model::IdError),
    /// There is something already.
    #[error("{0} exists already; choose another id, or remove it")]
    Exists(PathBuf),
    /// Not the folder of a failure.
    #[error("{0} has no metadata.yaml; start a failure with `harness-cli failures new ID --lang yaml`")]
    NoMetadata(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {message}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// Something is wrong with `metadata.yaml`.
    #[error(transparent)]
    Metadata(#[from] yaml::Diagnostics),
    /// The code was not compiled.
    #[error(transparent)]
    Compile(#[from] component::CompileError),
    /// What was compiled is no component.
    #[error(transparent)]
    Package(#[from] component::PackageError),
    /// The component cannot be run.
    #[error(transparent)]
    Load(#[from] plugin::LoadError),
    /// The component does not give its metadata.
    #[error(transparent)]
    Plugin(#[from] plugin::PluginError),
    /// The component says something else of itself than the file beside it.
    #[error(
        "the component's own metadata differs from metadata.yaml; name the type in `failure_sdk::failure!(…)` without a second argument"
    )]
    OtherMetadata,
    /// The folder as a whole makes no failure.
    #[error("{0}")]
    Folder(String),
}
