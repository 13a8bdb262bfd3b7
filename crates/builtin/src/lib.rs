//! The failure library, the agent presets and the SDK inside the program, so that running needs no cargo and no folder. What
//! they mean is told by `catalog`; how they were made, by `build.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::Failure;

/// One folder of the library: its files, and the component where it is written in code.
struct Packed {
    id: &'static str,
    component: Option<&'static [u8]>,
    files: &'static [(&'static str, &'static [u8])],
}

mod tables {
    use super::Packed;

    include!(concat!(env!("OUT_DIR"), "/library.rs"));
}

/// Every failure of the built-in library, by id.
pub fn failures() -> Vec<Failure> {
    tables::LIBRARY.iter().map(failure).collect()
}

fn failure(packed: &Packed) -> Failure {
    let files: BTreeMap<String, Arc<[u8]>> =
        packed.files.iter().map(|(path, content)| ((*path).to_owned(), Arc::from(*content))).collect();
    let component = packed.component.map(Arc::from);
    match Failure::builtin(packed.id, component, files) {
        Ok(failure) => failure,
        // The library is compiled in and every one of it is read by a test.
        Err(problems) => panic!("the built-in failure {} is damaged: {problems}", packed.id),
    }
}

/// The agent presets: id and YAML text.
pub fn agents() -> Vec<(&'static str, &'static str)> {
    tables::AGENTS.to_vec()
}

/// The component that runs declarative steps.
pub fn steps() -> &'static [u8] {
    tables::STEPS
}

/// The component that runs `induce.sh`.
pub fn shim() -> &'static [u8] {
    tables::SHIM
}

/// The Rust SDK and the WIT, by their paths in the `sdk` folder of a failure that stands alone.
pub fn sdk_files() -> &'static [(&'static str, &'static str)] {
    tables::SDK
}

/// The lock file that the guests of this program were built with: the same versions serve failures that are new.
pub fn guest_lock() -> &'static str {
    tables::LOCK
}
