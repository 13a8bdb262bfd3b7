//! Collects what an agent left in its workspace: regular files only, capped in number and size, never through a link.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::Artifact;
use rustix::fs::OFlags;

use crate::redact::Redactor;

/// Files that are kept.
const MAX_FILES: usize = 200;
/// Entries that are looked at.
const MAX_ENTRIES: usize = 20_000;
/// Directories in directories.
const MAX_DEPTH: usize = 12;
/// Bytes of one file that are kept.
const MAX_FILE: u64 = 1024 * 1024;
/// Bytes of all files that are kept.
const MAX_TOTAL: u64 = 32 * 1024 * 1024;

/// Copies the files of `workspace` into `into`. What cannot be read is left out; the list is sorted by path.
pub(crate) fn collect(workspace: &Path, into: &Path, redactor: &Redactor) -> Vec<Artifact> {
    // The agent may have put a link in the place of its whole workspace.
    if !fs::symlink_metadata(workspace).is_ok_and(|m| m.is_dir()) {
        return Vec::new();
    }
    let mut files = Vec::new();
    let mut entries = 0;
    find(workspace, Path::new(""), 0, &mut entries, &mut files);
    files.sort();
    let (mut kept, mut total) = (Vec::new(), 0);
    for file in files.into_iter().take(MAX_FILES) {
        let room = MAX_FILE.min(MAX_TOTAL - total);
        if room == 0 {
            break;
        }
        match copy(&workspace.join(&file), &into.join(&file), room, redactor) {
            Ok((bytes, truncated)) => {
                total += bytes;
                kept.push(Artifact { path: file.to_string_lossy().into_owned(), bytes, truncated });
            }
            Err(error) => tracing::debug!(%error, "an artifact was left out"),
        }
    }
    kept
}

fn find(root: &Path, under: &Path, depth: usize, entries: &mut usize, files: &mut Vec<PathBuf>) {
    let Ok(listing) = fs::read_dir(root.join(under)) else { return };
    for entry in listing.flatten() {
        *entries += 1;
        if *entries > MAX_ENTRIES {
            return;
        }
        let name = entry.file_name();
        let plain = name.to_str().is_some_and(|n| !n.chars().any(char::is_control));
        // `file_type` does not follow links.
        let Some(kind) = entry.file_type().ok().filter(|_| plain) else { continue };
        let path = under.join(&name);
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir() && depth < MAX_DEPTH {
            find(root, &path, depth + 1, entries, files);
        }
    }
}

fn copy(from: &Path, to: &Path, room: u64, redactor: &Redactor) -> std::io::Result<(u64, bool)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source =
        OpenOptions::new().read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default()).open(from)?;
    let mut bytes = Vec::new();
    source.take(room + 1).read_to_end(&mut bytes)?;
    let truncated = bytes.len() as u64 > room;
    if truncated {
        // The cut may have gone through a secret value.
        bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(redactor.longest()));
    }
    let bytes = redactor.clean(bytes);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(to)?.write_all(&bytes)?;
    Ok((bytes.len() as u64, truncated))
}
