//! Metadata, presets, parameters, libraries: the examples of the formats and what goes wrong with them.

mod agents;
mod library;
mod metadata;
mod params;
mod resolve;

use yaml::Diagnostics;

/// Each expected line is `line:column part of the message`.
#[track_caller]
fn assert_errors(text: &str, found: &Diagnostics, expected: &[&str]) {
    let shown = found.to_string();
    assert_eq!(found.len(), expected.len(), "for {text}:\n{shown}");
    for (one, expected) in found.iter().zip(expected) {
        let (place, part) = expected.split_once(' ').expect("place and part");
        let (line, column) = one.location().unwrap_or_default();
        assert_eq!(format!("{line}:{column}"), place, "place of {one}\n{shown}");
        assert!(one.to_string().contains(part), "{part:?} is not in {one}");
    }
}

/// The example of the formats, word for word.
const OOM_KILLED: &str = include_str!("oom-killed.yaml");
