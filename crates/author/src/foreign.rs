//! Compiling failures in C and JavaScript with tools that others make: which are there, how they are called, what they said.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bindings::{self, WORLD};
use crate::{AuthorError, Lang};

/// Names the C compiler, as words: for a clang that has a sysroot of wasi-libc.
const COMPILER: &str = "HARNESS_WASM_CC";
/// Where a failure in JavaScript begins.
const ENTRY: &str = "src/failure.js";

/// The language of the code in a folder, where it is none that cargo compiles.
pub(crate) fn language(folder: &Path) -> Option<Lang> {
    if folder.join(ENTRY).is_file() {
        return Some(Lang::Js);
    }
    let sources = sources(folder).ok()?;
    (!sources.is_empty()).then_some(Lang::C)
}

/// Makes a component of the folder of a failure in C: bindings into `target/bindings`, compiled and linked without WASI.
pub(crate) fn c(folder: &Path, metadata: &Value, tell: &mut dyn FnMut(&str)) -> Result<Vec<u8>, AuthorError> {
    let bindings = folder.join("target/bindings");
    let linked = bindings::c(&bindings, metadata)?;
    let module = folder.join("target/failure.core.wasm");
    let (program, first) = compiler()?;
    let mut command = Command::new(&program);
    command.args(first).args(["--target=wasm32-wasi", "-mexec-model=reactor", "-Oz", "-Wall"]);
    command.arg("-I").arg(&bindings).args(sources(folder)?).args(linked).arg("-o").arg(&module);
    run(command.current_dir(folder), tell)?;
    Ok(component::componentise(&read(&module)?)?)
}

/// Makes a component of the folder of a failure in JavaScript, with an interpreter inside.
pub(crate) fn js(folder: &Path, metadata: &Value, tell: &mut dyn FnMut(&str)) -> Result<Vec<u8>, AuthorError> {
    let wit = bindings::js(&folder.join("target/bindings"), metadata)?;
    let output = folder.join("target/failure.component.wasm");
    let local = folder.join("node_modules/.bin/componentize-qjs");
    let program = Some(local).filter(|path| path.exists()).or_else(|| find("componentize-qjs"));
    let program = program.ok_or(AuthorError::NoTool {
        what: "componentize-qjs, which makes components of JavaScript",
        install: "npm install --global componentize-qjs@0.4.5 (or `npm install` in the failure's folder)",
    })?;
    let mut command = Command::new(program);
    // No WASI, and no asynchronous calls: the harness links neither.
    command.args(["--sync", "--stub-wasi", "--opt-size", "--world", WORLD, "--module-root", "."]);
    command.arg("--wit").arg(wit).args(["--js", ENTRY]).arg("--output").arg(&output);
    run(command.current_dir(folder), tell)?;
    read(&output)
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, AuthorError> {
    let src = folder.join("src");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&src).map_err(|error| io(&src, &error))? {
        let path = entry.map_err(|error| io(&src, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The C compiler and its first arguments: the one that is named, else zig, on PATH or as Python has it.
fn compiler() -> Result<(OsString, Vec<String>), AuthorError> {
    if let Ok(words) = std::env::var(COMPILER) {
        let mut words = words.split_whitespace().map(str::to_owned);
        if let Some(program) = words.next() {
            return Ok((program.into(), words.collect()));
        }
    }
    if let Some(zig) = find("zig") {
        return Ok((zig.into(), vec!["cc".to_owned()]));
    }
    let python = find("python3").filter(|python| {
        let mut asked = Command::new(python);
        asked.args(["-c", "import ziglang"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    });
    match python {
        Some(python) => Ok((python.into(), ["-m", "ziglang", "cc"].map(str::to_owned).to_vec())),
        None => Err(AuthorError::NoTool {
            what: "a C compiler for WebAssembly, zig",
            install: "pip install ziglang==0.17.1; or set HARNESS_WASM_CC to a clang with wasi-libc",
        }),
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Runs a tool; what it says becomes the error when it fails.
fn run(command: &mut Command, tell: &mut dyn FnMut(&str)) -> Result<(), AuthorError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| AuthorError::Tool(format!("`{program}` cannot be started: {error}")))?;
    let said = [&*String::from_utf8_lossy(&output.stdout), &*String::from_utf8_lossy(&output.stderr)].concat();
    if output.status.success() {
        said.lines().for_each(tell);
        return Ok(());
    }
    Err(AuthorError::Tool(format!("the code does not compile:\n{}", said.trim_end())))
}

fn read(path: &Path) -> Result<Vec<u8>, AuthorError> {
    std::fs::read(path).map_err(|error| io(path, &error))
}

fn io(path: &Path, error: &std::io::Error) -> AuthorError {
    AuthorError::Io { path: path.to_owned(), message: error.to_string() }
}
