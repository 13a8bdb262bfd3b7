//! Where the program and the repository are.

use std::path::{Path, PathBuf};

/// The repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// `harness-cli` of the same build as this test: test programs lie in `<target>/release/deps`.
///
/// # Panics
/// When it has not been built.
pub fn harness_cli() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    let release = own.ancestors().nth(2).expect("a test lies in <target>/<profile>/deps");
    let program = release.join("harness-cli");
    assert!(
        program.exists(),
        "{} is not there; build it first: cargo build --release --workspace --bin harness-cli",
        program.display()
    );
    program
}
