//! A failure as a folder: `metadata.yaml`, and beside it `induce.sh`, a built component, or steps in the metadata.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use yaml::{Diagnostics, Source};

use crate::library::Problem;
use crate::{Failure, Implementation, Metadata, Origin, packed};

/// The file that makes a folder a failure.
pub(crate) const METADATA: &str = "metadata.yaml";
const SCRIPT: &str = "induce.sh";
/// The most that the files of a package may be, together.
const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// The most files of a package.
const MAX_FILES: usize = 500;

/// Loads a folder. Code that is not built is taken from the built-in failure of the same id and metadata.
pub(crate) fn load<'b>(path: &Path, builtin: impl Fn(&str) -> Option<&'b Failure>) -> Result<Failure, Problem> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |message: String, help: &str| Problem::plain(&name, path, message, Some(help.to_owned()));
    let wrong = |diagnostics: Diagnostics| Problem::new(&name, path, diagnostics);
    let source = Source::read(&path.join(METADATA)).map_err(wrong)?;
    let metadata = Metadata::parse(&source, Some(&name)).map_err(wrong)?;
    let files = read_files(path).map_err(|message| Problem::plain(&name, path, message, None))?;
    let component = path.join(format!("{name}.wasm"));
    let implementation = if component.is_file() {
        let built = packed::read(&component).map_err(|error| plain(error.to_string(), "build it again"))?;
        if built.metadata.as_ref().is_some_and(|packed| *packed != metadata) {
            let message = format!("{name}.wasm was built with other metadata than {METADATA} has now");
            return Err(plain(message, &build(path)));
        }
        Implementation::Component(built.component)
    } else {
        match implementation(&metadata, &files, None) {
            Some(implementation) => implementation,
            None => return not_built(path, &name, &metadata, builtin(&name)),
        }
    };
    let failure = Failure::new(metadata, implementation, files, Origin::Folder(path.to_owned()));
    check(&failure).map_err(|message| Problem::plain(&name, path, message, None))?;
    Ok(failure)
}

/// What implements a failure of these parts; none when it is code that is not there.
pub(crate) fn implementation(
    metadata: &Metadata,
    files: &BTreeMap<String, Arc<[u8]>>,
    component: Option<Arc<[u8]>>,
) -> Option<Implementation> {
    match component {
        Some(bytes) => Some(Implementation::Component(bytes)),
        None if !metadata.induce.is_empty() => Some(Implementation::Steps),
        None if files.contains_key(SCRIPT) => Some(Implementation::Script),
        None if metadata.ground_truth_is_none() => Some(Implementation::Steps),
        None => None,
    }
}

fn not_built(path: &Path, name: &str, metadata: &Metadata, builtin: Option<&Failure>) -> Result<Failure, Problem> {
    match builtin {
        Some(builtin) if builtin.metadata == *metadata => Ok(builtin.clone()),
        _ if path.join("Cargo.toml").is_file() || path.join("src").is_dir() => {
            Err(Problem::plain(name, path, "the component of this failure is not built yet", Some(build(path))))
        }
        _ => Err(Problem::plain(
            name,
            path,
            "nothing here induces the failure",
            Some(format!("add `induce:` steps to {METADATA}, an `{SCRIPT}`, or a component `{name}.wasm`")),
        )),
    }
}

fn build(path: &Path) -> String {
    format!("run `harness-cli failures build {}`", path.display())
}

/// What only the package as a whole can tell.
pub(crate) fn check(failure: &Failure) -> Result<(), String> {
    if let Some(missing) = failure.missing_files().first() {
        return Err(format!("`workload.manifests` names `{missing}`, which is not there"));
    }
    // With its defaults a failure must make sense; this also reads its manifests.
    failure.resolve(&BTreeMap::new(), "c-00000").map(drop).map_err(|error| error.to_string())
}

/// The files that belong to the package: no source code, no build output, nothing hidden, no links.
fn read_files(root: &Path) -> Result<BTreeMap<String, Arc<[u8]>>, String> {
    let mut files = BTreeMap::new();
    let mut pending = vec![(PathBuf::from(root), String::new())];
    let mut total = 0;
    while let Some((dir, prefix)) = pending.pop() {
        let entries = std::fs::read_dir(&dir).map_err(|error| format!("cannot read {}: {error}", dir.display()))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("cannot read {}: {error}", dir.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().map_err(|error| format!("cannot read {name}: {error}"))?;
            if is_left_out(&name, prefix.is_empty()) {
                continue;
            }
            let inside = format!("{prefix}{name}");
            if kind.is_dir() {
                pending.push((entry.path(), format!("{inside}/")));
            } else if kind.is_file() {
                total += entry.metadata().map_or(0, |metadata| metadata.len());
                if total > MAX_BYTES || files.len() >= MAX_FILES {
                    return Err(format!("the folder is too large for a failure: at most {MAX_FILES} files and 8 MiB"));
                }
                let bytes = std::fs::read(entry.path()).map_err(|error| format!("cannot read {inside}: {error}"))?;
                files.insert(inside, Arc::from(bytes));
            }
        }
    }
    Ok(files)
}

fn is_left_out(name: &str, top: bool) -> bool {
    let source = top
        && matches!(
            name,
            "src" | "sdk" | "Cargo.toml" | "Cargo.lock" | "package.json" | "package-lock.json" | METADATA
        );
    let output = matches!(name, "target" | "node_modules" | "__pycache__") || name.ends_with(".wasm");
    source || output || name.starts_with('.')
}
