//! YAML that people write: one parser, a tree with spans, typed reading that reports every error of a document at once.
//! The only place that knows the YAML library; matrices, metadata, presets and grants are read through here.
//!
//! ```
//! let source = yaml::Source::new("pets.yaml", "name: rex\nlegs: four\ncolour: red\n");
//! let errors = yaml::read(&source, |at| {
//!     let fields = at.fields("pet", &["name", "legs", "color"])?;
//!     let name = fields.required("name").and_then(|at| at.text());
//!     let legs = fields.required("legs").and_then(|at| at.unsigned(0, 8));
//!     Some((name?, legs?))
//! })
//! .expect_err("two errors");
//! let text = errors.to_string();
//! assert!(text.contains("pets.yaml:2:7: expected a whole number, found the text `four`"));
//! assert!(text.contains("pets.yaml:3:1: unknown key `colour` in a pet"));
//! assert!(text.contains("did you mean `color`?"));
//! ```

mod diagnostic;
mod duration;
mod fields;
mod node;
mod parse;
mod read;
mod scalar;
mod source;
mod suggest;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use duration::{format_duration, parse_duration};
pub use fields::Fields;
pub use node::{Entry, Kind, Mapping, Node, Sequence};
pub use parse::{MAX_DEPTH, MAX_NODES, Parsed, parse, parse_all};
pub use read::{At, Reader, read, read_with_warnings};
pub use source::{MAX_BYTES, Source};
pub use suggest::{did_you_mean, nearest};

/// The JSON value of a document that is only data: the first error of a syntax kind, or what it says.
///
/// # Errors
/// Every syntax error, duplicate key and exceeded limit.
pub fn to_json(source: &Source) -> Result<serde_json::Value, Diagnostics> {
    let parsed = parse(source);
    if parsed.diagnostics.is_empty() { Ok(parsed.root.to_json()) } else { Err(Diagnostics::new(parsed.diagnostics)) }
}

/// The JSON values of all documents of a stream, empty documents left out: what a manifest file is.
///
/// # Errors
/// Every syntax error, duplicate key and exceeded limit.
pub fn to_json_all(source: &Source) -> Result<Vec<serde_json::Value>, Diagnostics> {
    let (roots, diagnostics) = parse_all(source);
    if diagnostics.is_empty() {
        Ok(roots.iter().map(Node::to_json).filter(|value| !value.is_null()).collect())
    } else {
        Err(Diagnostics::new(diagnostics))
    }
}
