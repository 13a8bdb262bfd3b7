//! Cargo, always with one profile and one package set, so that quickstart, tests and benchmarks share every compiled
//! dependency.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::outcome::Outcome;
use crate::program;

/// The repository.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// The cargo that runs us, in the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    forget_package(&mut command).current_dir(root());
    command
}

/// Takes away what `cargo run` tells a program about its package. Build scripts (ring's) look at these variables: with
/// ours in them, every change between `cargo xtask` and plain cargo would compile ring and all that stands on it anew.
pub(crate) fn forget_package(command: &mut Command) -> &mut Command {
    let about_us = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(about_us) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds one program. `--workspace --bin` resolves features over all packages but builds no other program.
pub(crate) fn build(bin: &str) -> Outcome {
    program::run(cargo().args(["build", "--release", "--workspace", "--bin", bin]))
}

/// A program that [`build`] has built.
pub(crate) fn built(bin: &str) -> PathBuf {
    target_dir().join("release").join(bin)
}

/// Where cargo puts what it builds: we run from there ourselves, which is right with every way to configure it.
pub(crate) fn target_dir() -> PathBuf {
    let own = std::env::current_exe().ok();
    let release = own.as_deref().and_then(Path::parent).and_then(Path::parent);
    release.map_or_else(|| root().join("target"), Path::to_path_buf)
}
