//! Compiles the guests with a cargo of its own, makes components of them, and writes the tables that `lib.rs` includes. The
//! guests are another workspace with another target, so that nothing of the host is compiled differently because of them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../..");
    let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    // Not the folders that hold these: cargo looks at everything below a folder, build output too.
    for path in [
        "wit",
        "failures",
        "agents",
        "failure-sdk/Cargo.toml",
        "failure-sdk/src",
        "failure-sdk/macros/Cargo.toml",
        "failure-sdk/macros/src",
        "guests/Cargo.toml",
        "guests/Cargo.lock",
        "guests/steps",
        "guests/shim",
        "crates/builtin/build.rs",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }

    let folders = failures(&root)?;
    let coded: Vec<&str> =
        folders.iter().filter(|(_, folder)| folder.join("Cargo.toml").exists()).map(|(id, _)| id.as_str()).collect();
    let guests: Vec<&str> = ["steps", "shim"].into_iter().chain(coded.iter().copied()).collect();
    compile(&root, &out, &guests)?;
    let mut code = String::new();
    constants(&mut code, &out, &root);
    library(&mut code, &out, &folders, &coded)?;
    texts(&mut code, "SDK", &sdk(&root)?);
    texts(&mut code, "AGENTS", &agents(&root)?);
    write(&out.join("library.rs"), code.as_bytes())
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: this is run by cargo"))
}

/// Every folder of the library with its id.
fn failures(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let all = list(&root.join("failures"))?;
    Ok(all.into_iter().filter(|(_, path)| path.join("metadata.yaml").exists()).collect())
}

/// What lies in a folder, by name, hidden files and build output left out.
fn list(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.starts_with('.') && name != "target" {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// All files below a folder, by their path from it.
fn walk(folder: &Path, prefix: &str, found: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for (name, path) in list(folder)? {
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            walk(&path, &format!("{name}/"), found)?;
        } else {
            found.push((name, path));
        }
    }
    Ok(())
}

/// Compiles the guests and makes a component of each.
fn compile(root: &Path, out: &Path, guests: &[&str]) -> Result<()> {
    // <target>/<profile>/build/<package>/out: beside the host's own output, and shared by all profiles of the host.
    let target_dir = out.ancestors().nth(4).unwrap_or(out).join("guests");
    let what = component::Compile {
        folder: root.join("guests"),
        packages: guests,
        locked: true,
        target_dir: Some(target_dir),
    };
    let modules = component::compile(&what, &mut |_| ()).map_err(|error| error.to_string())?;
    for guest in guests {
        let module = modules.iter().find(|module| module.package == *guest);
        let path = &module.ok_or_else(|| format!("cargo made no module of {guest}"))?.path;
        let module = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let component = component::componentise(&module).map_err(|error| format!("{guest}: {error}"))?;
        write(&out.join(format!("{guest}.wasm")), &component)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn constants(code: &mut String, out: &Path, root: &Path) {
    for (name, path) in [("STEPS", out.join("steps.wasm")), ("SHIM", out.join("shim.wasm"))] {
        let _ = writeln!(code, "pub(crate) const {name}: &[u8] = include_bytes!({path:?});");
    }
    let _ = writeln!(code, "pub(crate) const LOCK: &str = include_str!({:?});", root.join("guests/Cargo.lock"));
}

fn library(code: &mut String, out: &Path, folders: &[(String, PathBuf)], coded: &[&str]) -> Result<()> {
    code.push_str("pub(crate) const LIBRARY: &[Packed] = &[\n");
    for (id, folder) in folders {
        let component = match coded.contains(&id.as_str()) {
            true => format!("Some(include_bytes!({:?}))", out.join(format!("{id}.wasm"))),
            false => "None".to_owned(),
        };
        let _ = writeln!(code, "    Packed {{ id: {id:?}, component: {component}, files: &[");
        let mut files = Vec::new();
        walk(folder, "", &mut files)?;
        for (name, path) in files.iter().filter(|(name, _)| !is_source(name)) {
            let _ = writeln!(code, "        ({name:?}, include_bytes!({path:?})),");
        }
        code.push_str("    ] },\n");
    }
    code.push_str("];\n");
    Ok(())
}

/// What a component was made from, and the component itself, are no part of the package's files.
fn is_source(name: &str) -> bool {
    matches!(name, "Cargo.toml" | "Cargo.lock") || name.starts_with("src/") || name.ends_with(".wasm")
}

/// The SDK as it is laid out for a failure that stands alone: the crate with its macros, and the WIT beside it.
fn sdk(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for folder in ["failure-sdk", "wit"] {
        walk(&root.join(folder), &format!("{folder}/"), &mut files)?;
    }
    Ok(files.into_iter().filter(|(name, _)| !name.ends_with("Cargo.lock")).collect())
}

fn agents(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    if !root.join("agents").exists() {
        return Ok(Vec::new());
    }
    let presets = list(&root.join("agents"))?;
    Ok(presets.into_iter().filter_map(|(name, path)| Some((name.strip_suffix(".yaml")?.to_owned(), path))).collect())
}

fn texts(code: &mut String, name: &str, files: &[(String, PathBuf)]) {
    let _ = writeln!(code, "pub(crate) const {name}: &[(&str, &str)] = &[");
    for (name, path) in files {
        let _ = writeln!(code, "    ({name:?}, include_str!({path:?})),");
    }
    code.push_str("];\n");
}
