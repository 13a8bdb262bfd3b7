//! A run directory, read as anyone would read it: by the names of the contract.

use std::fs;
use std::path::{Path, PathBuf};

use model::{CaseFile, RunFile};

/// `results/YYYY-MM-DD-<matrix>-<run-id>/`
#[derive(Debug)]
pub struct RunFolder(pub(crate) PathBuf);

impl RunFolder {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file of it.
    ///
    /// # Panics
    /// When it is not there.
    pub fn read(&self, name: impl AsRef<Path>) -> String {
        let path = self.0.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// `run.json`
    ///
    /// # Panics
    /// When it can't be read.
    pub fn run(&self) -> RunFile {
        serde_json::from_str(&self.read("run.json")).expect("run.json has the published shape")
    }

    /// Every case file, by case id.
    ///
    /// # Panics
    /// When one can't be read.
    pub fn cases(&self) -> Vec<CaseFile> {
        let mut paths: Vec<PathBuf> = fs::read_dir(self.0.join("results"))
            .expect("case files")
            .filter_map(Result::ok)
            .map(|e| e.path())
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| {
                assert!(
                    path.extension().is_some_and(|extension| extension == "json"),
                    "{} is no case file",
                    path.display()
                );
                let text = fs::read_to_string(path).expect("a case file");
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            })
            .collect()
    }

    /// One case.
    ///
    /// # Panics
    /// When it is not there.
    pub fn case(&self, id: &str) -> CaseFile {
        let text = self.read(Path::new("results").join(format!("{id}.json")));
        serde_json::from_str(&text).expect("a case file has the published shape")
    }
}
