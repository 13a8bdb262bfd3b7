//! Every seed, and every input that was a finding once, keeps the laws of its target.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// The files in a folder, at any depth.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn every_target_has_seeds_and_all_keep_its_laws() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut broken = Vec::new();
    for target in fuzz::TARGETS {
        let inputs = files(&seeds.join(target.name));
        assert!(!inputs.is_empty(), "{} has no seeds", target.name);
        for path in inputs {
            let bytes = fs::read(&path).expect("a seed");
            if catch_unwind(|| (target.hold)(&bytes)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "laws broken by {broken:#?}");
    let folders = fs::read_dir(&seeds).expect("seeds").map(|entry| entry.expect("an entry").file_name());
    let unknown: Vec<_> = folders.filter(|name| name.to_str().and_then(fuzz::target).is_none()).collect();
    assert!(unknown.is_empty(), "seeds of no target: {unknown:?}");
}

#[test]
fn the_library_keeps_the_laws_of_metadata() {
    let failures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../failures");
    let metadata = fuzz::target("metadata").expect("the target");
    let mut read = 0;
    for folder in fs::read_dir(failures).expect("the library").map(|entry| entry.expect("an entry").path()) {
        if let Ok(bytes) = fs::read(folder.join("metadata.yaml")) {
            (metadata.hold)(&bytes);
            read += 1;
        }
    }
    assert!(read >= 30, "{read} failures");
}

#[test]
fn a_broken_law_is_a_panic() {
    let hold = fuzz::target("bodies").expect("the target").hold;
    assert!(catch_unwind(|| hold(b"{\"a\": [1, 2.5, \"x\"]}")).is_ok());
    assert!(fuzz::target("nothing").is_none());
}
