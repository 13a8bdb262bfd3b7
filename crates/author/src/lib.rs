//! Writing failures: a new folder from a template, and one file from a folder. Runs cargo for failures in Rust, and tools of
//! others for C and JavaScript; touches no cluster, and runs no code of a failure but its `metadata`.

mod bindings;
mod build;
mod foreign;
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
    /// A component in C.
    C,
    /// A component in JavaScript.
    Js,
    /// `induce.sh`.
    Script,
}

impl FromStr for Lang {
    type Err = AuthorError;

    fn from_str(text: &str) -> Result<Self, AuthorError> {
        match text {
            "yaml" => Ok(Self::Yaml),
            "rust" => Ok(Self::Rust),
            "c" => Ok(Self::C),
            "js" => Ok(Self::Js),
            "script" => Ok(Self::Script),
            other => Err(AuthorError::Language(other.to_owned())),
        }
    }
}

/// Why a failure was not written or built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AuthorError {
    /// Not a language that there is a template for.
    #[error("failures cannot be started in `{0}` here; write yaml, rust, c, js or script")]
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
    /// A tool that compiles is not there.
    #[error("{what}, is not here; install it: {install}")]
    NoTool {
        /// The tool, and what for.
        what: &'static str,
        /// How to get it.
        install: &'static str,
    },
    /// A tool that compiles did not succeed.
    #[error("{0}")]
    Tool(String),
    /// The contract's bindings cannot be made.
    #[error("no bindings could be made of the contract: {0}")]
    Bindings(String),
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
        "the component's own metadata differs from metadata.yaml; in Rust, name the type in `failure_sdk::failure!(…)` without a second argument; in C and JavaScript, answer the generated constant"
    )]
    OtherMetadata,
    /// The folder as a whole makes no failure.
    #[error("{0}")]
    Folder(String),
}
