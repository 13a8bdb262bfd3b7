//! A failure as one `.wasm` file. Reading it runs none of its code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use yaml::Diagnostics;

use crate::library::Problem;
use crate::{Failure, Implementation, Metadata, Origin, folder};

/// The largest file that is read: a Python component has 18 MB.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Why a `.wasm` file is no failure.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InspectError {
    /// It cannot be read.
    #[error("cannot read {path}: {message}")]
    Io {
        /// The file.
        path: String,
        /// Why not.
        message: String,
    },
    /// It is no component of ours.
    #[error("{path}: {error}")]
    Component {
        /// The file.
        path: String,
        /// What it is instead.
        error: component::InspectError,
    },
}

/// What a `.wasm` file says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Bytes.
    pub size: usize,
    /// `sha256:…` of the file.
    pub digest: String,
    /// The world of the contract that it is for.
    pub world: &'static str,
    /// What it imports: an upper bound of what it can do.
    pub imports: Vec<String>,
    /// Imports that no version of the contract offers.
    pub foreign_imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// Its metadata as it is packed; none in a component that was never packed.
    pub metadata: Option<Value>,
    /// What is wrong with the metadata.
    pub problems: Vec<String>,
    /// The files that it carries, with their sizes.
    pub files: BTreeMap<String, usize>,
    /// Its sections, with their sizes.
    pub sections: Vec<(String, usize)>,
    /// The metadata, where nothing is wrong with it.
    #[serde(skip)]
    pub parsed: Option<Metadata>,
}

/// Reads a `.wasm` file without running any of it.
///
/// # Errors
/// It cannot be read, or is something else than a failure; the message says what.
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    let (_, inspected) = read_component(path)?;
    let (parsed, problems) = match inspected.metadata.as_ref().map(|json| metadata(path, json)) {
        None => (None, Vec::new()),
        Some(Ok(metadata)) => (Some(metadata), Vec::new()),
        Some(Err(diagnostics)) => (None, diagnostics.iter().map(ToString::to_string).collect()),
    };
    Ok(Inspection {
        path: path.to_owned(),
        size: inspected.size,
        digest: inspected.digest.clone(),
        world: inspected.world.name(),
        foreign_imports: inspected.foreign_imports().into_iter().map(str::to_owned).collect(),
        imports: inspected.imports,
        exports: inspected.exports,
        metadata: inspected.metadata,
        problems,
        files: inspected.files.iter().map(|(path, bytes)| (path.clone(), bytes.len())).collect(),
        sections: inspected.sections.into_iter().map(|section| (section.name, section.size)).collect(),
        parsed,
    })
}

fn metadata(path: &Path, json: &Value) -> Result<Metadata, Diagnostics> {
    Metadata::from_json(&format!("metadata of {}", path.display()), json)
}

fn read_component(path: &Path) -> Result<(Vec<u8>, component::Inspected), InspectError> {
    let shown = path.display().to_string();
    let io = |message: String| InspectError::Io { path: shown.clone(), message };
    let size = std::fs::metadata(path).map_err(|error| io(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(io(format!("it has {size} bytes; a failure has at most {MAX_BYTES}")));
    }
    let bytes = std::fs::read(path).map_err(|error| io(error.to_string()))?;
    let inspected =
        component::inspect(&bytes).map_err(|error| InspectError::Component { path: shown.clone(), error })?;
    Ok((bytes, inspected))
}

/// A component beside a `metadata.yaml`.
pub(crate) struct Built {
    pub(crate) component: Arc<[u8]>,
    pub(crate) metadata: Option<Metadata>,
}

pub(crate) fn read(path: &Path) -> Result<Built, InspectError> {
    let (bytes, inspected) = read_component(path)?;
    // Metadata that is wrong differs from the file's, and is reported as such.
    let metadata = inspected.metadata.as_ref().and_then(|json| metadata(path, json).ok());
    Ok(Built { component: Arc::from(bytes), metadata })
}

/// Loads a packed failure.
pub(crate) fn load(path: &Path) -> Result<Failure, Problem> {
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |message: String, help: &str| Problem::plain(&name, path, message, Some(help.to_owned()));
    let (bytes, inspected) =
        read_component(path).map_err(|error| Problem::plain(&name, path, error.to_string(), None))?;
    let Some(json) = &inspected.metadata else {
        return Err(plain(
            "the component carries no metadata".to_owned(),
            "pack it with `harness-cli failures build DIR`",
        ));
    };
    let metadata = metadata(path, json).map_err(|diagnostics| Problem::new(&name, path, diagnostics))?;
    let files = inspected.files.into_iter().map(|(path, bytes)| (path, Arc::from(bytes))).collect();
    // Steps and scripts are packed with the component that runs them, so that one file is whole. A script is run by our
    // own shim all the same: what may run programs on this machine is never code that came with a file.
    let implementation = match inspected.world {
        component::World::Failure => Implementation::Component(Arc::from(bytes)),
        component::World::ScriptedFailure => Implementation::Script,
    };
    let mut failure = Failure::new(metadata, implementation, files, Origin::Wasm(path.to_owned()));
    failure.digest = inspected.digest;
    folder::check(&failure).map_err(|message| Problem::plain(&name, path, message, None))?;
    Ok(failure)
}
