//! The places that an agent gets: one opaque directory with workspace, kubeconfig, task and temporary files, and a fresh
//! home that is never collected. Both are gone when the value is dropped.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

/// Directories of one agent. Nothing in their names says what they are for.
#[derive(Debug)]
pub(crate) struct Workspace {
    base: TempDir,
    home: TempDir,
}

impl Workspace {
    pub(crate) fn new() -> io::Result<Self> {
        let mode = || Permissions::from_mode(0o700);
        let opaque = || tempfile::Builder::new().prefix("w").rand_bytes(12).permissions(mode()).tempdir();
        let workspace = Self { base: opaque()?, home: opaque()? };
        for dir in [workspace.dir(), workspace.temporary()] {
            DirBuilder::new().mode(0o700).create(dir)?;
        }
        Ok(workspace)
    }

    /// Where the agent starts.
    pub(crate) fn dir(&self) -> PathBuf {
        self.base.path().join("workspace")
    }

    pub(crate) fn answer(&self) -> PathBuf {
        self.dir().join("answer.json")
    }

    pub(crate) fn task(&self) -> PathBuf {
        self.base.path().join("task.json")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.base.path().join("kubeconfig")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.base.path().join("tmp")
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Everything that is the agent's own.
    pub(crate) fn places(&self) -> Vec<PathBuf> {
        vec![self.base.path().to_owned(), self.home.path().to_owned()]
    }

    /// Writes a file that only its owner reads.
    pub(crate) fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
    }

    /// Copies a file or directory of the caller's home into the fresh one, at the same relative place.
    pub(crate) fn bring(&self, real_home: &Path, relative: &str) -> io::Result<()> {
        let relative = Path::new(relative.strip_prefix("~/").unwrap_or(relative));
        if relative.components().any(|c| !matches!(c, Component::Normal(_))) {
            let message = format!("`{}` does not lie in the home directory", relative.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        copy_tree(&real_home.join(relative), &self.home().join(relative))
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let meta = match fs::metadata(from) {
        // A preset lists what may be there.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta?,
    };
    if let Some(parent) = to.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    if !meta.is_dir() {
        fs::copy(from, to)?;
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if !entry.file_type()?.is_symlink() {
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // A directory without write permission would stay for ever.
        unlock(self.base.path(), 0);
        unlock(self.home.path(), 0);
    }
}

fn unlock(dir: &Path, depth: usize) {
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if depth < 64 && entry.file_type().is_ok_and(|t| t.is_dir()) {
            unlock(&entry.path(), depth + 1);
        }
    }
}
