//! A failure as a package: metadata, what implements it, and its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Id;
use sha2::{Digest, Sha256};
use yaml::{Diagnostic, Diagnostics, Source};

use crate::{Metadata, Problem, folder, packed};

/// What implements a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// A component of its own.
    Component(Arc<[u8]>),
    /// `induce:` in the metadata, run by the steps component.
    Steps,
    /// `induce.sh`, run by the shim component.
    Script,
}

impl Implementation {
    /// In one word, for lists.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Component(_) => "component",
            Self::Steps => "steps",
            Self::Script => "script",
        }
    }
}

/// Where a failure was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Inside the program.
    Builtin,
    /// A folder.
    Folder(PathBuf),
    /// A packed component.
    Wasm(PathBuf),
}

/// A failure that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What it says of itself.
    pub metadata: Metadata,
    /// What implements it.
    pub implementation: Implementation,
    /// The files of the package by their path inside it: manifests, scripts.
    pub files: BTreeMap<String, Arc<[u8]>>,
    /// `sha256:…`; of the file for a `.wasm`, of everything above for others.
    pub digest: String,
    /// Where it was found.
    pub origin: Origin,
}

impl Failure {
    /// A failure of these parts.
    pub fn new(
        metadata: Metadata,
        implementation: Implementation,
        files: BTreeMap<String, Arc<[u8]>>,
        origin: Origin,
    ) -> Self {
        let digest = digest(&metadata, &implementation, &files);
        Self { metadata, implementation, files, digest, origin }
    }

    /// A failure of the library that is inside the program. `files` has its `metadata.yaml` too.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn builtin(
        id: &str,
        component: Option<Arc<[u8]>>,
        mut files: BTreeMap<String, Arc<[u8]>>,
    ) -> Result<Self, Diagnostics> {
        let name = format!("built-in {id}/{}", folder::METADATA);
        let text = files.remove(folder::METADATA).unwrap_or_default();
        let source = Source::from_bytes(name, &text)?;
        let metadata = Metadata::parse(&source, Some(id))?;
        let plain = |message: String| Diagnostics::from(Diagnostic::without_span("catalog", &source, message));
        let implementation = folder::implementation(&metadata, &files, component)
            .ok_or_else(|| plain("nothing here induces the failure".to_owned()))?;
        let failure = Self::new(metadata, implementation, files, Origin::Builtin);
        folder::check(&failure).map_err(plain)?;
        Ok(failure)
    }

    /// Loads one folder with a `metadata.yaml`. Code must be built.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_folder(path: &Path) -> Result<Self, Problem> {
        folder::load(path, |_| None)
    }

    /// Loads one packed `.wasm` file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_wasm(path: &Path) -> Result<Self, Problem> {
        packed::load(path)
    }

    /// Its id.
    pub fn id(&self) -> &Id {
        &self.metadata.id
    }

    /// Names of manifests in the metadata that the package does not have.
    pub fn missing_files(&self) -> Vec<&str> {
        let missing = |name: &&String| !self.files.contains_key(*name);
        self.metadata.workload.manifests.iter().filter(missing).map(String::as_str).collect()
    }
}

/// Every part goes in with its length before it, so that no two packages share a digest by shifting bytes.
fn digest(metadata: &Metadata, implementation: &Implementation, files: &BTreeMap<String, Arc<[u8]>>) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(bytes);
    };
    part(implementation.as_str().as_bytes());
    part(metadata.to_json().to_string().as_bytes());
    if let Implementation::Component(bytes) = implementation {
        part(bytes);
    }
    for (path, bytes) in files {
        part(path.as_bytes());
        part(bytes);
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}
