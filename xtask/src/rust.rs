//! What is needed to build: the Rust target of the failure components and a C compiler for SQLite.

use std::path::Path;
use std::process::Command;

use crate::cargo::root;
use crate::program;

const TARGET: &str = "wasm32-unknown-unknown";

/// Installs the WebAssembly target when it is missing. Automatic installation may be switched off where this runs, so it
/// is asked for by name, and there is no `targets` line in a rust-toolchain.toml that could fail instead.
pub(crate) fn ensure_target() -> Result<(), String> {
    if has_target()? {
        return Ok(());
    }
    if program::find("rustup").is_none() {
        return Err(format!(
            "the Rust target {TARGET} is missing, and rustup is not there to install it.\n  \
             Install it the way this Rust was installed (Debian: apt-get install libstd-rust-dev-wasm32),\n  \
             or install Rust with rustup (https://rustup.rs) and run this again."
        ));
    }
    eprintln!("xtask: rustup target add {TARGET}");
    program::output(Command::new("rustup").args(["target", "add", TARGET]).current_dir(root())).map_err(|error| {
        format!("{error}\n  The Rust target {TARGET} is needed: the failures are WebAssembly components.")
    })?;
    if has_target()? {
        Ok(())
    } else {
        Err(format!(
            "rustup has installed {TARGET}, but the rustc in use does not have it: {} is not rustup's",
            program::find("rustc").map_or_else(|| "rustc".into(), |path| path.display().to_string())
        ))
    }
}

fn has_target() -> Result<bool, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = program::output(Command::new(rustc).args(["--print", "sysroot"]).current_dir(root()))?;
    let lib = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
    Ok(lib.read_dir().is_ok_and(|mut files| files.next().is_some()))
}

/// SQLite and the cryptography are built from C sources.
pub(crate) fn check_c_compiler() -> Result<(), String> {
    let named = std::env::var("CC").ok();
    let found = match &named {
        Some(cc) => {
            cc.split_whitespace().next().is_some_and(|cc| Path::new(cc).exists() || program::find(cc).is_some())
        }
        None => program::find("cc").is_some(),
    };
    if found {
        return Ok(());
    }
    Err(match named {
        Some(cc) => format!("the C compiler that CC names, {cc:?}, is not there"),
        None => "a C compiler is needed to build SQLite.\n  \
                 Debian and Ubuntu: apt-get install build-essential; Fedora: dnf install gcc"
            .into(),
    })
}
