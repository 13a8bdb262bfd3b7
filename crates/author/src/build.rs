//! From a folder to one file: compile where there is code, embed metadata and files, check that the result is what it says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use catalog::{Failure, Metadata};
use plugin::Host;
use serde_json::Value;
use yaml::Source;

use crate::{AuthorError, Lang, foreign};

/// A failure as one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub size: usize,
    /// `sha256:…` over it.
    pub digest: String,
}

/// Builds the failure in `folder` into one `.wasm` file: beside `metadata.yaml` for one in code, where the library finds it;
/// under `target/` for steps and scripts, whose folder is used as it is. What compilers say goes to `tell`, line by line. `host`
/// compiles the result into its cache, so that the first run does not have to.
///
/// # Errors
/// Everything that is wrong with the folder; see [`AuthorError`].
pub fn build(folder: &Path, host: &Host, tell: &mut dyn FnMut(&str)) -> Result<Built, AuthorError> {
    let folder = &folder.canonicalize().map_err(|error| io(folder, &error))?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let path = folder.join("metadata.yaml");
    if !path.is_file() {
        return Err(AuthorError::NoMetadata(folder.clone()));
    }
    let metadata = Metadata::parse(&Source::read(&path)?, Some(&name))?;
    let (component, files, target) = match code(folder, &metadata.to_json(), tell)? {
        Some(component) => {
            let target = folder.join(format!("{name}.wasm"));
            let component = component::embed_metadata(&component, &metadata.to_json())?;
            let files = check_folder(folder, &target, &component)?;
            (component, files, target)
        }
        None => {
            let generic = if folder.join("induce.sh").is_file() { builtin::shim() } else { builtin::steps() };
            (generic.to_vec(), files_of(folder)?, folder.join("target").join(format!("{name}.wasm")))
        }
    };
    let packed = component::package(&component, &metadata.to_json(), &files)?;
    check_metadata(host, &packed, &metadata)?;
    write(&target, &packed)?;
    Ok(Built { path: target, size: packed.len(), digest: component::digest(&packed) })
}

/// The component of a folder with code in it; none for steps and scripts.
fn code(folder: &Path, metadata: &Value, tell: &mut dyn FnMut(&str)) -> Result<Option<Vec<u8>>, AuthorError> {
    if folder.join("Cargo.toml").is_file() {
        return compile(folder, tell).map(Some);
    }
    match foreign::language(folder) {
        Some(Lang::C) => foreign::c(folder, metadata, tell).map(Some),
        Some(Lang::Js) => foreign::js(folder, metadata, tell).map(Some),
        _ => Ok(None),
    }
}

fn compile(folder: &Path, tell: &mut dyn FnMut(&str)) -> Result<Vec<u8>, AuthorError> {
    let what = component::Compile { folder: folder.to_owned(), ..component::Compile::default() };
    let modules = component::compile(&what, tell)?;
    let module = modules.last().ok_or(component::CompileError::NoModule)?;
    let bytes = fs::read(&module.path).map_err(|error| io(&module.path, &error))?;
    Ok(component::componentise(&bytes)?)
}

/// The library looks at the folder with the component in it; what it has to say about the rest is said here already.
fn check_folder(folder: &Path, target: &Path, component: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, AuthorError> {
    write(target, component)?;
    files_of(folder).inspect_err(|_| {
        // A component in a folder that makes no failure would look like one that was built.
        let _ = fs::remove_file(target);
    })
}

fn files_of(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, AuthorError> {
    let failure = Failure::from_folder(folder).map_err(|problem| AuthorError::Folder(problem.to_string()))?;
    Ok(failure.files.into_iter().map(|(path, content)| (path, content.to_vec())).collect())
}

/// What the component says of itself must be what stands in its section; the components of steps and scripts say nothing.
fn check_metadata(host: &Host, packed: &[u8], metadata: &Metadata) -> Result<(), AuthorError> {
    let plugin = host.load(packed)?;
    let own = std::thread::scope(|scope| {
        // A thread of its own: the caller may or may not be inside a runtime already.
        let asked = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.map(|runtime| runtime.block_on(plugin.metadata()))
        });
        asked.join()
    });
    match own {
        Ok(Ok(own)) => match own? {
            Some(own) if Metadata::from_json("the component's metadata", &own)? != *metadata => {
                Err(AuthorError::OtherMetadata)
            }
            _ => Ok(()),
        },
        Ok(Err(error)) => Err(AuthorError::Folder(format!("no runtime for the component: {error}"))),
        Err(_) => Err(AuthorError::Folder("the component could not be asked for its metadata".to_owned())),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), AuthorError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| io(parent, &error))?;
    }
    // Whoever reads meanwhile sees the old file or the new one.
    let temporary = path.with_extension("wasm.tmp");
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).map_err(|error| io(path, &error))
}

fn io(path: &Path, error: &std::io::Error) -> AuthorError {
    AuthorError::Io { path: path.to_owned(), message: error.to_string() }
}
