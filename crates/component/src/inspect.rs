//! Reading a component without running any of its code. Holds for bytes of any origin: never panics, never allocates more than
//! a small multiple of the input.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wasmparser::{ComponentExternalKind, Parser, Payload, Validator, WasmFeatures};

use crate::container::{self, COMPONENT_HEADER, MODULE_HEADER};
use crate::package::{FILES_SECTION, METADATA_SECTION, decode_files};

/// The version of package `harness:failure` that this program speaks.
pub const CONTRACT_VERSION: &str = "0.1.0";

/// Which world of `harness:failure` a component belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `failure`: code that acts through the Kubernetes client alone.
    Failure,
    /// `scripted-failure`: also runs the script of its folder.
    ScriptedFailure,
}

impl World {
    /// The name of the world in the WIT package.
    pub fn name(self) -> &'static str {
        match self {
            World::Failure => "failure",
            World::ScriptedFailure => "scripted-failure",
        }
    }
}

/// One section of the outermost layer, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionInfo {
    /// The name of a custom section, or the kind of the section in the specification's words.
    pub name: String,
    /// Bytes, headers included.
    pub size: usize,
}

/// What a component says about itself.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Bytes.
    pub size: usize,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The world it belongs to, by its imports.
    pub world: World,
    /// Names of imports, in their order.
    pub imports: Vec<String>,
    /// Names of exports, in their order.
    pub exports: Vec<String>,
    /// The section `harness:metadata`; absent from a component that was never packed.
    pub metadata: Option<Value>,
    /// The section `harness:files`: every other file of the package by its relative path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Every section of the outermost layer.
    pub sections: Vec<SectionInfo>,
}

impl Inspected {
    /// Imports that no version of the contract offers: the component will not load while it needs them.
    pub fn foreign_imports(&self) -> Vec<&str> {
        self.imports.iter().map(String::as_str).filter(|name| !is_offered(name)).collect()
    }
}

/// Why bytes are not a failure that this program can run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// No bytes at all.
    #[error("the file is empty; a WebAssembly component was expected")]
    Empty,
    /// Readable text: source, or WebAssembly's text form.
    #[error(
        "this is a text file, not a WebAssembly component; build the failure's folder with `harness-cli failures build DIR`"
    )]
    Text,
    /// The first bytes are not WebAssembly's.
    #[error("this is not WebAssembly: the file begins with {0}, where `\\0asm` was expected")]
    NotWasm(String),
    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component; `harness-cli failures build` turns one into a component"
    )]
    CoreModule,
    /// WebAssembly of a version or layer that is neither.
    #[error("this is WebAssembly of an unknown kind (version bytes {0}); a component was expected")]
    UnknownVersion(String),
    /// The bytes end before the component does.
    #[error("the component is cut off: {size} bytes are there, and the section at byte {offset} goes on beyond them")]
    Truncated {
        /// Where the incomplete section begins.
        offset: usize,
        /// How many bytes there are.
        size: usize,
    },
    /// The component breaks the rules of the component model.
    #[error("the component is damaged at byte {offset}: {message}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What the validator says.
        message: String,
    },
    /// A valid component that is no failure.
    #[error(
        "this component is for another world: a failure exports `metadata`, `induce` and `stop` (package harness:failure@{version}), {found}",
        version = CONTRACT_VERSION
    )]
    OtherWorld {
        /// What it exports instead.
        found: String,
    },
    /// One of our own sections cannot be read.
    #[error("the section `{section}` cannot be read: {message}")]
    Section {
        /// Its name.
        section: &'static str,
        /// Why not.
        message: String,
    },
}

/// `sha256:` and the digest of these bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Reads a component without running it.
///
/// # Errors
/// [`InspectError`] says what the bytes are instead of a failure.
pub fn inspect(bytes: &[u8]) -> Result<Inspected, InspectError> {
    check_header(bytes)?;
    let sections = container::sections(bytes)
        .map_err(|broken| InspectError::Truncated { offset: broken.offset, size: bytes.len() })?;
    validate(bytes)?;
    let (imports, exports) = externs(bytes)?;
    check_world(&imports, &exports)?;
    let metadata = only_section(&sections, METADATA_SECTION)?
        .map(|data| {
            serde_json::from_slice::<Value>(data).map_err(|e| e.to_string()).and_then(|value| match value {
                Value::Object(_) => Ok(value),
                _ => Err("a JSON object was expected".to_owned()),
            })
        })
        .transpose()
        .map_err(|message| InspectError::Section { section: METADATA_SECTION, message })?;
    let files = only_section(&sections, FILES_SECTION)?
        .map(decode_files)
        .transpose()
        .map_err(|message| InspectError::Section { section: FILES_SECTION, message })?
        .unwrap_or_default();
    let world = match imports.iter().any(|(name, _)| interface_of(name) == Some("script")) {
        true => World::ScriptedFailure,
        false => World::Failure,
    };
    let sections = sections
        .iter()
        .map(|section| SectionInfo {
            name: section.custom_name.map_or_else(|| section_kind(section.id).to_owned(), printable),
            size: section.range.len(),
        })
        .collect();
    Ok(Inspected {
        size: bytes.len(),
        digest: digest(bytes),
        world,
        imports: imports.into_iter().map(|(name, _)| name).collect(),
        exports: exports.into_iter().map(|(name, _)| name).collect(),
        metadata,
        files,
        sections,
    })
}

fn check_header(bytes: &[u8]) -> Result<(), InspectError> {
    if bytes.is_empty() {
        return Err(InspectError::Empty);
    }
    if !bytes.starts_with(&COMPONENT_HEADER[..4]) {
        let start = &bytes[..bytes.len().min(1024)];
        if start.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..)) {
            return Err(InspectError::Text);
        }
        return Err(InspectError::NotWasm(in_hex(&bytes[..bytes.len().min(4)])));
    }
    match bytes.get(..8) {
        None => Err(InspectError::Truncated { offset: 0, size: bytes.len() }),
        Some(header) if header == COMPONENT_HEADER => Ok(()),
        Some(header) if header == MODULE_HEADER => Err(InspectError::CoreModule),
        Some(header) => Err(InspectError::UnknownVersion(in_hex(&header[4..]))),
    }
}

fn in_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

fn validate(bytes: &[u8]) -> Result<(), InspectError> {
    let mut validator = Validator::new_with_features(WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL);
    validator.validate_all(bytes).map(|_| ()).map_err(|error| malformed(&error))
}

fn malformed(error: &wasmparser::BinaryReaderError) -> InspectError {
    InspectError::Malformed { offset: error.offset(), message: error.message().to_owned() }
}

type Externs = Vec<(String, ComponentExternalKind)>;

/// Imports and exports of the outermost component. Those of what is nested in it are wired inside and mean nothing here.
fn externs(bytes: &[u8]) -> Result<(Externs, Externs), InspectError> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|e| malformed(&e))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(reader) if depth == 0 => {
                for import in reader {
                    let import = import.map_err(|e| malformed(&e))?;
                    // A type that is imported names one of an interface, and asks for no power.
                    if import.ty.kind() != ComponentExternalKind::Type {
                        imports.push((import.name.name.to_owned(), import.ty.kind()));
                    }
                }
            }
            Payload::ComponentExportSection(reader) if depth == 0 => {
                for export in reader {
                    let export = export.map_err(|e| malformed(&e))?;
                    exports.push((export.name.name.to_owned(), export.kind));
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn check_world(imports: &Externs, exports: &Externs) -> Result<(), InspectError> {
    let exports_function =
        |wanted: &str| exports.iter().any(|(name, kind)| name == wanted && *kind == ComponentExternalKind::Func);
    if !["metadata", "induce", "stop"].into_iter().all(exports_function) {
        let names: Vec<String> = exports.iter().take(8).map(|(name, _)| format!("`{}`", printable(name))).collect();
        let found = match names.is_empty() {
            true => "this one exports nothing".to_owned(),
            false => format!("this one exports {}", names.join(", ")),
        };
        return Err(InspectError::OtherWorld { found });
    }
    // `induce` cannot be typed without `types`, so its version is the version of the contract that was built against.
    let types = imports.iter().map(|(name, _)| name.as_str()).find(|name| interface_of(name) == Some("types"));
    match types.and_then(|name| name.rsplit_once('@')) {
        Some((_, version)) if is_compatible(version) => Ok(()),
        Some((_, version)) => Err(InspectError::OtherWorld {
            found: format!("this one was built against version {}", printable(version)),
        }),
        None => Err(InspectError::OtherWorld {
            found: "this one has exports of these names but does not import harness:failure/types".to_owned(),
        }),
    }
}

/// The interface of `harness:failure/<interface>@<version>`.
fn interface_of(import: &str) -> Option<&str> {
    import.strip_prefix("harness:failure/").and_then(|rest| rest.split('@').next())
}

/// Before 1.0 a minor version may break; a patch version may not.
fn is_compatible(version: &str) -> bool {
    version.starts_with("0.1.")
}

fn is_offered(import: &str) -> bool {
    const INTERFACES: [&str; 9] = ["types", "read", "write", "watch", "log", "clock", "checkpoint", "random", "script"];
    interface_of(import).is_some_and(|interface| INTERFACES.contains(&interface))
        && import.rsplit_once('@').is_some_and(|(_, version)| is_compatible(version))
}

/// Names from strangers go to terminals: control characters are shown escaped, and length is bounded.
fn printable(name: &str) -> String {
    name.chars().take(120).flat_map(|c| c.escape_debug()).collect()
}

fn section_kind(id: u8) -> &'static str {
    match id {
        1 => "core module",
        2 => "core instance",
        3 => "core type",
        4 => "component",
        5 => "instance",
        6 => "alias",
        7 => "type",
        8 => "canonical function",
        9 => "start",
        10 => "import",
        11 => "export",
        _ => "unknown",
    }
}

fn only_section<'a>(sections: &[container::Section<'a>], name: &'static str) -> Result<Option<&'a [u8]>, InspectError> {
    let mut found = sections.iter().filter(|section| section.custom_name == Some(name));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(InspectError::Section { section: name, message: "it is there more than once".to_owned() }),
        (first, None) => Ok(first.map(|section| section.data)),
    }
}
