//! What the examples in C and JavaScript are built with: zig from PyPI and componentize-qjs from npm, as their folders pin them
//! by digest, in `.tools/`; else what is on PATH; else the tests that need them are skipped.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::root;
use crate::program;

/// One tool.
struct Tool {
    program: &'static str,
    /// Below `.tools/`; the version is in the name, so that another one is installed beside it.
    folder: &'static str,
    /// The folder in there that holds the program.
    bin: &'static str,
    install: fn(&Path) -> Result<(), String>,
}

const TOOLS: [Tool; 2] = [
    Tool { program: "zig", folder: "ziglang-0.17.1", bin: "ziglang", install: zig },
    Tool {
        program: "componentize-qjs",
        folder: "componentize-qjs-0.4.5",
        bin: "node_modules/.bin",
        install: componentize,
    },
];

/// Where the tools are.
#[derive(Debug, Default)]
pub(crate) struct Languages {
    /// Folders for PATH.
    pub(crate) bins: Vec<PathBuf>,
    /// What could not be installed and is not on PATH, with the reason.
    pub(crate) missing: Vec<String>,
}

/// Zig compiles its C library once for all tests.
pub(crate) fn zig_cache() -> PathBuf {
    root().join(".tools/zig-cache")
}

/// The tools in `.tools/`, installed when they are not there yet.
pub(crate) fn ensure() -> Languages {
    let mut languages = Languages::default();
    for tool in TOOLS {
        let folder = root().join(".tools").join(tool.folder);
        let bin = folder.join(tool.bin);
        if program::is_executable(&bin.join(tool.program)) {
            languages.bins.push(bin);
            continue;
        }
        eprintln!("xtask: installing {} into .tools/", tool.folder);
        match install(&tool, &folder) {
            Ok(()) => languages.bins.push(bin),
            Err(reason) if program::find(tool.program).is_some() => {
                eprintln!(
                    "xtask: the tests use the {} on PATH, which is not the pinned one:\n  {reason}",
                    tool.program
                );
            }
            Err(reason) => languages.missing.push(format!("{}: {reason}", tool.folder)),
        }
    }
    languages
}

/// Beside its place first: what is in its place is whole.
fn install(tool: &Tool, folder: &Path) -> Result<(), String> {
    let io = |error: std::io::Error| format!("{}: {error}", folder.display());
    let scratch = folder.with_extension(format!("new-{}", std::process::id()));
    fs::create_dir_all(&scratch).map_err(io)?;
    let installed = (tool.install)(&scratch).and_then(|()| {
        // What another version or an interrupted set-up left.
        let _ = fs::remove_dir_all(folder);
        fs::rename(&scratch, folder).map_err(io)
    });
    let _ = fs::remove_dir_all(&scratch);
    installed?;
    let program = folder.join(tool.bin).join(tool.program);
    if program::is_executable(&program) { Ok(()) } else { Err(format!("there is no {}", program.display())) }
}

fn zig(folder: &Path) -> Result<(), String> {
    let python = program::find("python3").ok_or("python3 is not here, and zig comes from PyPI")?;
    let pinned = root().join("examples/failures/image-typo-c/requirements.txt");
    let mut command = Command::new(python);
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    // Nothing is compiled for Python: zig itself is the program.
    command.args(["--no-compile", "--require-hashes", "--target"]).arg(folder).arg("--requirement").arg(pinned);
    program::output(&mut command).map(drop)
}

fn componentize(folder: &Path) -> Result<(), String> {
    let npm = program::find("npm").ok_or("npm is not here (install Node.js 18 or newer)")?;
    let example = root().join("examples/failures/key-renamed-js");
    for file in ["package.json", "package-lock.json"] {
        fs::copy(example.join(file), folder.join(file)).map_err(|error| format!("{file}: {error}"))?;
    }
    let mut command = Command::new(npm);
    command.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]).arg("--prefix").arg(folder);
    program::output(command.current_dir(folder)).map(drop)
}

impl Languages {
    /// PATH with the tools first.
    pub(crate) fn path(&self, path: &OsStr) -> Result<std::ffi::OsString, String> {
        let all = self.bins.iter().cloned().chain(std::env::split_paths(path));
        std::env::join_paths(all).map_err(|error| format!("PATH: {error}"))
    }
}
