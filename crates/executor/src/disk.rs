//! How much the folders of a process hold: bounded work, never through a link, deleted files that are still open included.

use std::collections::HashSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};

use crate::descent::Process;
use crate::limits::{Limits, in_mebibytes};

/// Folders in folders that are looked into.
const DEEPEST: usize = 100;

/// What is wrong with what the places hold, if anything is.
pub(crate) fn excess(places: &[PathBuf], processes: &[Process], limits: &Limits) -> Option<String> {
    let mut count = Count { bytes: 0, files: 0, seen: HashSet::new(), limits };
    let counted = places.iter().try_for_each(|place| count.folder(CWD, place.as_path(), 0));
    counted.and_then(|()| processes.iter().try_for_each(|process| count.unlinked(process))).err()
}

struct Count<'a> {
    bytes: u64,
    files: usize,
    /// Device and number of files with several names.
    seen: HashSet<(u64, u64)>,
    limits: &'a Limits,
}

impl Count<'_> {
    fn folder(&mut self, parent: impl AsFd, name: impl rustix::path::Arg, depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("its folders are nested deeper than {DEEPEST}"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder: OwnedFd = match openat(parent, name, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(rustix::io::Errno::ACCESS) => return Err("a folder of it cannot be read to be measured".to_owned()),
            // Gone by now, or something else by now.
            Err(_) => return Ok(()),
        };
        let Ok(entries) = Dir::read_from(&folder) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let several = stat.st_nlink > 1 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            #[allow(clippy::unnecessary_cast, reason = "the widths differ between architectures")]
            let (id, blocks) = ((stat.st_dev as u64, stat.st_ino as u64), u64::try_from(stat.st_blocks).unwrap_or(0));
            if !several || self.seen.insert(id) {
                self.add(blocks)?;
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                self.folder(&folder, name, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Files that have no name any more and live as long as they are open.
    fn unlinked(&mut self, process: &Process) -> Result<(), String> {
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", process.id)) else { return Ok(()) };
        for file in open.flatten() {
            let Some(meta) = metadata(&file.path()) else { continue };
            if meta.nlink() == 0 && self.seen.insert((meta.dev(), meta.ino())) {
                self.add(meta.blocks())?;
            }
        }
        Ok(())
    }

    /// `blocks` are of 512 bytes, whatever the file system.
    fn add(&mut self, blocks: u64) -> Result<(), String> {
        self.files += 1;
        self.bytes += blocks * 512;
        if self.bytes > self.limits.total_bytes {
            return Err(format!("its files take more than {}", in_mebibytes(self.limits.total_bytes)));
        }
        if self.files > self.limits.files {
            return Err(format!("it has more than {} files", self.limits.files));
        }
        Ok(())
    }
}

fn metadata(path: &Path) -> Option<fs::Metadata> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file)
}
