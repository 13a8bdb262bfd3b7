//! Compiling Rust guests with cargo, apart from whatever cargo or lint run we are part of ourselves.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// What guests are compiled for: no operating system, so no import that nobody asked for.
pub const GUEST_TARGET: &str = "wasm32-unknown-unknown";

/// What is to be compiled.
#[derive(Clone, Debug, Default)]
pub struct Compile<'a> {
    /// The folder of the package or workspace.
    pub folder: PathBuf,
    /// Packages of the workspace; none compiles the package of the folder.
    pub packages: &'a [&'a str],
    /// Whether the lock file must fit as it is.
    pub locked: bool,
    /// Where the output goes; none leaves it to cargo.
    pub target_dir: Option<PathBuf>,
}

/// A core module that was compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledModule {
    /// The package, by its name.
    pub package: String,
    /// Where the module lies.
    pub path: PathBuf,
}

/// Why nothing was compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// There is no cargo or rustc.
    #[error(
        "`{program}` cannot be started: {message}. Failures in Rust are compiled by it: install Rust from https://rustup.rs"
    )]
    Missing {
        /// The program.
        program: String,
        /// What the system says.
        message: String,
    },
    /// The compiler cannot compile WebAssembly.
    #[error(
        "Rust's target {GUEST_TARGET} is not installed here; failures are WebAssembly. Install it with: rustup target add {GUEST_TARGET}"
    )]
    Target,
    /// The code does not compile.
    #[error("the code does not compile{}", said(.0))]
    Code(String),
    /// It compiles, and no module comes of it.
    #[error("cargo made no WebAssembly module; Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`")]
    NoModule,
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(":\n{text}") }
}

/// Compiles in release mode and answers where the modules lie. Each line that cargo says goes to `tell` at once.
///
/// # Errors
/// [`CompileError`]; for code that does not compile, what the compiler said.
pub fn compile(what: &Compile<'_>, tell: &mut dyn FnMut(&str)) -> Result<Vec<CompiledModule>, CompileError> {
    check_target()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.current_dir(&what.folder).args(["build", "--release", "--target", GUEST_TARGET]);
    command.arg("--message-format=json-render-diagnostics");
    command.args(what.packages.iter().flat_map(|package| ["--package", package]));
    command.args(what.locked.then_some("--locked"));
    if let Some(target_dir) = &what.target_dir {
        command.arg("--target-dir").arg(target_dir);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(disturbs) {
            command.env_remove(name);
        }
    }
    let missing = |error: std::io::Error| CompileError::Missing {
        program: cargo.to_string_lossy().into_owned(),
        message: error.to_string(),
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(missing)?;
    let (messages, said) = follow(&mut child, tell);
    if !child.wait().map_err(missing)?.success() {
        return Err(CompileError::Code(said));
    }
    let modules: Vec<CompiledModule> = messages.lines().filter_map(module).collect();
    if modules.is_empty() { Err(CompileError::NoModule) } else { Ok(modules) }
}

/// Reads both outputs to their ends: the messages for programs, and what is said to people.
fn follow(child: &mut Child, tell: &mut dyn FnMut(&str)) -> (String, String) {
    let stdout = child.stdout.take();
    std::thread::scope(|scope| {
        // Both at the same time: cargo stops when either pipe is full.
        let messages = scope.spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stdout) = stdout {
                let _ = stdout.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut said = String::new();
        for line in
            child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines()).map_while(Result::ok)
        {
            tell(&line);
            said.push_str(&line);
            said.push('\n');
        }
        (messages.join().unwrap_or_default(), said)
    })
}

/// The module in one of cargo's messages.
fn module(message: &str) -> Option<CompiledModule> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let path = files.map(Path::new).find(|path| path.extension().is_some_and(|extension| extension == "wasm"))?;
    // The library's name has underscores where the package's has hyphens; the id ends in the package's name.
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let package = folder.file_name()?.to_string_lossy().into_owned();
    Some(CompiledModule { package, path: path.to_owned() })
}

/// Variables that are meant for another compilation, and would change or break this one.
fn disturbs(name: &str) -> bool {
    const KEPT: [&str; 4] = ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_TERM_COLOR", "CARGO_TARGET_DIR"];
    const NETWORK: [&str; 4] = ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    let of_cargo =
        name.starts_with("CARGO_") && !KEPT.contains(&name) && !NETWORK.iter().any(|prefix| name.starts_with(prefix));
    of_cargo
        || name.starts_with("__CARGO")
        || matches!(name, "RUSTFLAGS" | "RUSTC" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "RUSTC_LINKER")
}

fn check_target() -> Result<(), CompileError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", GUEST_TARGET])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| CompileError::Missing {
            program: rustc.to_string_lossy().into_owned(),
            message: error.to_string(),
        })?;
    let folder = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(folder.trim()).exists() { Ok(()) } else { Err(CompileError::Target) }
}
