//! Making one file of a failure: a core module becomes a component, and metadata and files are embedded in custom sections.
//! Output depends on the input alone, byte for byte, so that a digest means something.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use wasm_encoder::{ComponentSection as _, CustomSection};
use wit_component::ComponentEncoder;

use crate::container;
use crate::inspect::InspectError;

/// Custom section: the metadata as a JSON object.
pub const METADATA_SECTION: &str = "harness:metadata";
/// Custom section: a JSON object of relative path to `{"text": …}` or `{"base64": …}`.
pub const FILES_SECTION: &str = "harness:files";

/// All files of a package together may be this many bytes.
const MAX_FILES_BYTES: usize = 16 << 20;

/// Why a component could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// The bytes given are no component.
    #[error(transparent)]
    NotAComponent(#[from] InspectError),
    /// The compiler's output cannot be turned into a component.
    #[error("the module cannot be made into a component: {0}")]
    Encode(String),
    /// A path that would leave the folder it is unpacked in.
    #[error("`{0}` is not a path that a package may hold: it must be relative, with `/`, and without `.` and `..`")]
    Path(String),
    /// The files are too large.
    #[error("the files of the package take {size} bytes; at most {MAX_FILES_BYTES} are allowed")]
    TooLarge {
        /// Their size together.
        size: usize,
    },
    /// The metadata is no JSON object.
    #[error("the metadata must be a JSON object")]
    Metadata,
}

/// Makes a component of a core module that was built with bindings of the contract.
///
/// # Errors
/// [`PackageError::Encode`] when the module carries no bindings, or imports what no component may.
pub fn componentise(core_wasm: &[u8]) -> Result<Vec<u8>, PackageError> {
    let encode = || -> Result<Vec<u8>, _> {
        let mut encoder = ComponentEncoder::default().validate(true).module(core_wasm)?;
        encoder.encode()
    };
    encode().map_err(|error| PackageError::Encode(format!("{error:#}")))
}

/// Embeds metadata, replacing what is there. The metadata must be a JSON object, or the result will not inspect.
///
/// # Errors
/// When `component` has no sections to speak of, or the metadata is no object.
pub fn embed_metadata(component: &[u8], metadata: &Value) -> Result<Vec<u8>, PackageError> {
    if !metadata.is_object() {
        return Err(PackageError::Metadata);
    }
    let mut bytes = without_sections(component, &[METADATA_SECTION])?;
    append(&mut bytes, METADATA_SECTION, metadata.to_string().as_bytes());
    Ok(bytes)
}

/// Makes the one file of a failure: the component with its metadata and every other file of its folder.
///
/// # Errors
/// See [`PackageError`].
pub fn package(component: &[u8], metadata: &Value, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, PackageError> {
    let mut bytes = embed_metadata(&unpackage(component)?, metadata)?;
    if !files.is_empty() {
        append(&mut bytes, FILES_SECTION, &encode_files(files)?);
    }
    Ok(bytes)
}

/// The component alone, without the sections that [`package`] adds.
///
/// # Errors
/// When the bytes are no component.
pub fn unpackage(component: &[u8]) -> Result<Vec<u8>, PackageError> {
    without_sections(component, &[METADATA_SECTION, FILES_SECTION])
}

fn without_sections(component: &[u8], names: &[&str]) -> Result<Vec<u8>, PackageError> {
    let Some(header) = component.get(..8).filter(|header| **header == container::COMPONENT_HEADER) else {
        return Err(match crate::inspect(component) {
            Err(error) => error.into(),
            Ok(_) => PackageError::Encode("the header is not that of a component".to_owned()),
        });
    };
    let sections = container::sections(component)
        .map_err(|broken| InspectError::Truncated { offset: broken.offset, size: component.len() })?;
    let mut bytes = header.to_vec();
    for section in sections {
        if !section.custom_name.is_some_and(|name| names.contains(&name)) {
            bytes.extend_from_slice(&component[section.range]);
        }
    }
    Ok(bytes)
}

fn append(bytes: &mut Vec<u8>, name: &str, data: &[u8]) {
    CustomSection { name: name.into(), data: data.into() }.append_to_component(bytes);
}

fn encode_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, PackageError> {
    let size = files.values().map(Vec::len).sum();
    if size > MAX_FILES_BYTES {
        return Err(PackageError::TooLarge { size });
    }
    let mut map = Map::new();
    for (path, content) in files {
        if !is_safe_path(path) {
            return Err(PackageError::Path(path.clone()));
        }
        let (key, value) = match std::str::from_utf8(content) {
            Ok(text) => ("text", text.to_owned()),
            Err(_) => ("base64", STANDARD.encode(content)),
        };
        map.insert(path.clone(), Value::Object(Map::from_iter([(key.to_owned(), Value::String(value))])));
    }
    Ok(Value::Object(map).to_string().into_bytes())
}

pub(crate) fn decode_files(data: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let map: Map<String, Value> = serde_json::from_slice(data).map_err(|e| e.to_string())?;
    let mut files = BTreeMap::new();
    let mut total = 0_usize;
    for (path, entry) in map {
        if !is_safe_path(&path) {
            return Err(PackageError::Path(path).to_string());
        }
        let content = match (entry.get("text"), entry.get("base64")) {
            (Some(Value::String(text)), None) => text.clone().into_bytes(),
            (None, Some(Value::String(encoded))) => STANDARD.decode(encoded).map_err(|e| format!("`{path}`: {e}"))?,
            _ => return Err(format!("`{path}` has neither `text` nor `base64`")),
        };
        total += content.len();
        if total > MAX_FILES_BYTES {
            return Err(PackageError::TooLarge { size: total }.to_string());
        }
        files.insert(path, content);
    }
    Ok(files)
}

/// Relative, with forward slashes, inside the folder, and printable.
fn is_safe_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 255
        && !path.chars().any(|c| c.is_control() || matches!(c, '\\' | ':'))
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
