//! The agent knows nothing of the failure library: no id of it occurs in the source.

use std::path::{Path, PathBuf};

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    folders.iter().flat_map(|folder| rust_files(folder)).chain(files).collect()
}

#[test]
fn no_failure_id_occurs_in_the_source() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = std::fs::read_dir(here.join("../../failures")).expect("the failure library");
    let ids: Vec<String> = library
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().join("metadata.yaml").is_file())
        .map(|entry| entry.file_name().into_string().expect("a name"))
        .collect();
    assert!(!ids.is_empty());
    for file in rust_files(&here.join("src")) {
        let source = std::fs::read_to_string(&file).expect("source");
        for id in &ids {
            assert!(!source.contains(id.as_str()), "{} contains `{id}`", file.display());
        }
    }
}
