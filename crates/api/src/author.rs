//! Writing failures: a new folder, and one file from a folder.

use std::path::{Path, PathBuf};

use ::author::{AuthorError, Lang};
use serde::Serialize;

use crate::harness::shown;
use crate::{ApiError, Harness};

/// Where new failures go when no failures folder is there yet.
const DEFAULT_PARENT: &str = "failures";

/// A folder with a new failure.
#[derive(Clone, Debug, Serialize)]
pub struct NewFailure {
    /// The folder.
    pub folder: PathBuf,
    /// The files in it.
    pub files: Vec<PathBuf>,
    /// What to do next, command by command.
    pub next: Vec<String>,
}

/// A failure as one file.
#[derive(Clone, Debug, Serialize)]
pub struct BuiltFailure {
    /// The file.
    pub file: PathBuf,
    /// Its bytes.
    pub size: usize,
    /// `sha256:…` over it.
    pub digest: String,
}

impl Harness {
    /// Begins a failure from a template, in `parent` or else in the first failures folder.
    ///
    /// # Errors
    /// The id is none or is taken, or the folder cannot be written.
    pub fn failures_new(&self, id: &str, lang: Lang, parent: Option<&Path>) -> Result<NewFailure, ApiError> {
        let known = self.config.failures_dirs.first().map(PathBuf::as_path);
        let parent = parent.or(known).unwrap_or(Path::new(DEFAULT_PARENT));
        let files = ::author::new(parent, id, lang)?;
        let folder = parent.join(id);
        let dirs = if known == Some(parent) || parent == Path::new(DEFAULT_PARENT) {
            String::new()
        } else {
            format!(" --failures-dir {}", shown(parent))
        };
        let mut next = vec![format!("harness-cli{dirs} failures run {id}")];
        if matches!(lang, Lang::Rust | Lang::C | Lang::Js) {
            next.insert(0, format!("harness-cli failures build {}", shown(&folder)));
        }
        match lang {
            Lang::C => next.insert(0, "pip install ziglang==0.17.1".to_owned()),
            Lang::Js => next.insert(0, format!("npm install --prefix {}", shown(&folder))),
            _ => {}
        }
        Ok(NewFailure { folder, files, next })
    }

    /// Builds a failure into one file. What the compiler says goes to `tell`, line by line.
    ///
    /// # Errors
    /// Everything that is wrong with the folder.
    pub fn failures_build(&self, folder: &Path, mut tell: impl FnMut(&str)) -> Result<BuiltFailure, ApiError> {
        let built = ::author::build(folder, &self.host()?, &mut tell)?;
        // As people named it, where that is the same file: paths in messages stay as short as they were written.
        let beside = |name: &Path| folder.join(name);
        let relative = built.path.strip_prefix(folder.canonicalize().unwrap_or_default()).map(beside);
        Ok(BuiltFailure { file: relative.unwrap_or(built.path), size: built.size, digest: built.digest })
    }
}

impl From<AuthorError> for ApiError {
    fn from(error: AuthorError) -> Self {
        match error {
            AuthorError::Metadata(diagnostics) => Self::Invalid(diagnostics),
            AuthorError::Language(_) => Self::Usage(error.to_string()),
            other => Self::input(other.to_string()),
        }
    }
}
