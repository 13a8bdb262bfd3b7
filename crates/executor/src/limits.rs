//! What the processes of one agent or script may use together, and each of them alone.

use serde::{Deserialize, Serialize};

const MEBI: u64 = 1024 * 1024;

/// Caps. Whoever exceeds one is ended, and the result says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Living processes of the whole tree; counted a few times a second.
    pub processes: usize,
    /// Their threads.
    pub threads: usize,
    /// Bytes of one file; the kernel stops who writes beyond.
    pub file_bytes: u64,
    /// Bytes on disk of all files in the places of the process, deleted ones that are still open included; counted about
    /// once a second.
    pub total_bytes: u64,
    /// Files and folders in those places.
    pub files: usize,
    /// Open files of one process.
    pub open_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: 512,
            threads: 8192,
            file_bytes: 1024 * MEBI,
            total_bytes: 1024 * MEBI,
            files: 200_000,
            open_files: 8192,
        }
    }
}

/// Bytes in words.
pub(crate) fn in_mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(MEBI))
}
