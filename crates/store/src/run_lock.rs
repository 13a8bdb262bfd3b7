//! Who writes a run. The kernel frees the lock when its process ends, however it ends, so recovery can tell a run that
//! is under way from one that was killed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::{RunDir, StoreError};

/// How often and how far apart a lock is tried: who only asks whether it is held keeps it for a moment.
const TRIES: (u32, Duration) = (50, Duration::from_millis(10));

/// The lock of one run directory, a `flock` on its file `run.lock`; freed, and the file removed, when it is dropped. The
/// processes that this one starts do not inherit it.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    _file: File,
}

impl RunLock {
    /// Takes the lock of a run directory. Blocks for half a second at most.
    ///
    /// # Errors
    /// [`StoreError::RunIsLive`] when another process has it.
    pub fn acquire(dir: &Path) -> Result<Self, StoreError> {
        let path = RunDir::at(dir.to_owned()).lock();
        for _ in 0..TRIES.0 {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(StoreError::io("open the lock", &path))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Whoever had it may have removed the file between our opening and locking it.
                Ok(()) if is_at(&file, &path) => return Ok(Self { path, _file: file }),
                Ok(()) => continue,
                Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(TRIES.1),
                Err(error) => return Err(StoreError::io("lock", &path)(error.into())),
            }
        }
        Err(StoreError::RunIsLive(dir.to_owned()))
    }

    /// Whether a process writes the run.
    pub fn is_held(dir: &Path) -> bool {
        let Ok(file) = File::open(RunDir::at(dir.to_owned()).lock()) else { return false };
        // Shared: two who ask at once do not take each other for the writer.
        flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Still locked here, so nobody's new lock is removed.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(own), Ok(there)) => identity(own) == identity(there),
        _ => false,
    }
}
