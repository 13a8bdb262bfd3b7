//! Finds failures: those inside the program, folders with a `metadata.yaml`, packed `.wasm` files. One that cannot be used
//! is a problem with its reasons, and never in the way of the others.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use yaml::{Diagnostic, Diagnostics, Source};

use crate::{Failure, Origin, folder, packed};

/// Something in a library folder that cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The id that it would have: the name of its folder or file.
    pub id: String,
    /// The folder or file.
    pub path: PathBuf,
    /// What is wrong.
    pub diagnostics: Diagnostics,
}

impl Problem {
    pub(crate) fn new(id: &str, path: &Path, diagnostics: impl Into<Diagnostics>) -> Self {
        Self { id: id.to_owned(), path: path.to_owned(), diagnostics: diagnostics.into() }
    }

    /// A problem that has no place in a text.
    pub(crate) fn plain(id: &str, path: &Path, message: impl Into<String>, help: Option<String>) -> Self {
        let source = Source::new(path.display().to_string(), "");
        let mut one = Diagnostic::without_span("catalog", &source, message);
        one.help = help;
        Self::new(id, path, one)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostics.fmt(f)
    }
}

/// The failures that can be run, by id.
#[derive(Clone, Debug, Default)]
pub struct Library {
    failures: BTreeMap<String, Failure>,
    problems: Vec<Problem>,
}

impl Library {
    /// Loads the built-in failures and those of these folders. A folder's failure takes the place of a built-in one of
    /// the same id; between folders the first wins, and the second is a problem. Folders that do not exist are empty.
    pub fn load(dirs: &[PathBuf], builtin: Vec<Failure>) -> Self {
        let builtin: BTreeMap<String, Failure> =
            builtin.into_iter().map(|failure| (failure.id().to_string(), failure)).collect();
        let mut found: BTreeMap<String, Result<Failure, Problem>> = BTreeMap::new();
        let mut problems = Vec::new();
        for dir in dirs {
            for path in candidates(dir) {
                let one = load(&path, &builtin);
                let id = match &one {
                    Ok(failure) => failure.id().to_string(),
                    Err(problem) => problem.id.clone(),
                };
                match found.get(&id) {
                    Some(Ok(first)) if !same_place(&first.origin, &path) => {
                        let message = format!("failure `{id}` is there already: {}", place(&first.origin));
                        problems.push(Problem::plain(&id, &path, message, Some("rename one of the two".to_owned())));
                    }
                    Some(_) => {}
                    None => {
                        found.insert(id, one);
                    }
                }
            }
        }
        let mut failures = builtin;
        for (id, one) in found {
            match one {
                Ok(failure) => {
                    failures.insert(id, failure);
                }
                Err(problem) => {
                    // Whoever changed a failure must not get results of the unchanged one.
                    failures.remove(&id);
                    problems.push(problem);
                }
            }
        }
        Self { failures, problems }
    }

    /// The failure of this id.
    pub fn get(&self, id: &str) -> Option<&Failure> {
        self.failures.get(id)
    }

    /// All ids, sorted.
    pub fn ids(&self) -> Vec<String> {
        self.failures.keys().cloned().collect()
    }

    /// All failures, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Failure> {
        self.failures.values()
    }

    /// What cannot be used.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Why the failure of this id cannot be used, where it is there but broken.
    pub fn problem(&self, id: &str) -> Option<&Problem> {
        self.problems.iter().find(|problem| problem.id == id)
    }
}

/// Folders with a `metadata.yaml` and `.wasm` files in `dir`, sorted; or `dir` itself, where it is a failure.
fn candidates(dir: &Path) -> Vec<PathBuf> {
    if dir.join(folder::METADATA).is_file() {
        return vec![dir.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            let packed = path.extension().is_some_and(|extension| extension == "wasm") && path.is_file();
            packed || path.join(folder::METADATA).is_file()
        })
        .collect();
    paths.sort();
    paths
}

fn load(path: &Path, builtin: &BTreeMap<String, Failure>) -> Result<Failure, Problem> {
    if path.is_dir() { folder::load(path, |id| builtin.get(id)) } else { packed::load(path) }
}

fn same_place(origin: &Origin, path: &Path) -> bool {
    matches!(origin, Origin::Folder(first) | Origin::Wasm(first) if first == path)
}

fn place(origin: &Origin) -> String {
    match origin {
        Origin::Builtin => "inside the program".to_owned(),
        Origin::Folder(path) | Origin::Wasm(path) => path.display().to_string(),
    }
}
