//! What a failure in C or JavaScript is compiled with: the contract as WIT, bindings made from it, the metadata as a constant.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

use crate::AuthorError;

/// The world of failures that are code.
pub(crate) const WORLD: &str = "failure";
/// What a JavaScript module imports the metadata by, and a C file includes.
const METADATA_JS: &str = "metadata.js";
const METADATA_H: &str = "metadata.h";

/// Writes the WIT of the contract into `folder`.
pub(crate) fn wit(folder: &Path) -> Result<(), AuthorError> {
    for (path, text) in builtin::sdk_files() {
        if let Some(name) = path.strip_prefix("wit/") {
            write(&folder.join(name), text.as_bytes())?;
        }
    }
    Ok(())
}

/// Writes `failure.h` and `failure.c` as wit-bindgen makes them, the component's type as an object file, and the metadata as a
/// header. What comes back is to be compiled and linked with the failure.
pub(crate) fn c(folder: &Path, metadata: &Value) -> Result<Vec<PathBuf>, AuthorError> {
    let contract = folder.join("wit");
    wit(&contract)?;
    let wrong = |error: String| AuthorError::Bindings(error);
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&contract).map_err(|error| wrong(format!("{error:#}")))?;
    let world = resolve.select_world(&[package], Some(WORLD)).map_err(|error| wrong(format!("{error:#}")))?;
    let mut files = Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator.generate(&mut resolve, world, &mut files).map_err(|error| wrong(format!("{error:#}")))?;
    let mut linked = Vec::new();
    for (name, bytes) in files.iter() {
        let path = folder.join(name);
        write(&path, bytes)?;
        if !name.ends_with(".h") {
            linked.push(path);
        }
    }
    // A JSON text in quotes is a string of C too, as long as it holds nothing but ASCII.
    let text = ascii(&Value::String(metadata.to_string()).to_string());
    write(&folder.join(METADATA_H), format!("#define FAILURE_METADATA {text}\n").as_bytes())?;
    Ok(linked)
}

/// Writes the WIT and the metadata as a module.
pub(crate) fn js(folder: &Path, metadata: &Value) -> Result<PathBuf, AuthorError> {
    let contract = folder.join("wit");
    wit(&contract)?;
    let text = Value::String(metadata.to_string());
    write(&folder.join(METADATA_JS), format!("export const METADATA = {text};\n").as_bytes())?;
    Ok(contract)
}

/// JSON text with everything beyond ASCII escaped inside the JSON that the string holds: `\\u00e4`.
fn ascii(quoted: &str) -> String {
    let mut out = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        match c {
            ' '..='~' => out.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\\\u{unit:04x}"))),
        }
    }
    out
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), AuthorError> {
    let io = |error: std::io::Error| AuthorError::Io { path: path.to_owned(), message: error.to_string() };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io)?;
    }
    fs::write(path, bytes).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_in_any_script_is_a_string_of_c() {
        let written = ascii(&Value::String(serde_json::json!({"name": "Größe 😀 \"x\""}).to_string()).to_string());
        assert!(written.is_ascii(), "{written}");
        // C takes the outer escapes away; what is left is JSON.
        let inner = written.trim_matches('"').replace("\\\"", "\"").replace("\\\\", "\\");
        let read: Value = serde_json::from_str(&inner).unwrap_or_else(|error| panic!("{error}: {inner}"));
        assert_eq!(read["name"], "Größe 😀 \"x\"");
    }
}
