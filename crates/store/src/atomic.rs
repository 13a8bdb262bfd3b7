//! Files that are there whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_setfl};

use crate::StoreError;

/// Temporary files begin so; a harness that was killed may leave some, and readers pass over them.
pub(crate) const TEMPORARY: &str = ".partial-";

/// Writes a file so that readers, and a crash at any moment, see the old content or the new one: temporary file in the
/// same folder, sync, rename, sync of the folder.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(0o666)) // less what the umask takes, like any other file
        .tempfile_in(folder)
        .map_err(StoreError::io("create a file in", folder))?;
    file.write_all(bytes).map_err(StoreError::io("write", path))?;
    file.as_file().sync_all().map_err(StoreError::io("write", path))?;
    file.persist(path).map_err(|error| StoreError::io("write", path)(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io("sync", folder))
}

/// Writes a file at a place that a user named: links are followed, and what is no regular file, such as `/dev/stdout` or a pipe,
/// stays what it is and is written to. A pipe that nobody reads is an error, not a wait.
pub fn write_where_asked(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    match fs::canonicalize(path) {
        Ok(target) if target.is_file() => write_atomically(&target, bytes),
        Ok(target) => {
            let open = File::options().write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(target);
            let mut file = open.map_err(StoreError::io("write", path))?;
            // A reader may take its time.
            let waits = fcntl_setfl(&file, OFlags::empty()).map_err(std::io::Error::from);
            waits.and_then(|()| file.write_all(bytes)).map_err(StoreError::io("write", path))
        }
        // A link that leads nowhere yet.
        Err(_) if path.is_symlink() => fs::write(path, bytes).map_err(StoreError::io("write", path)),
        Err(_) => write_atomically(path, bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, symlink};

    use super::*;

    #[test]
    fn a_place_that_a_user_named_stays_what_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        write_where_asked(&at("new"), b"1").expect("a new file");
        symlink("new", at("link")).expect("a link");
        write_where_asked(&at("link"), b"2").expect("through a link");
        symlink("later", at("ahead")).expect("a link");
        write_where_asked(&at("ahead"), b"3").expect("through a link that leads nowhere yet");
        assert!(at("link").is_symlink() && at("ahead").is_symlink());
        assert_eq!(fs::read(at("new")).expect("read"), b"2");
        assert_eq!(fs::read(at("later")).expect("read"), b"3");
        write_where_asked(Path::new("/dev/null"), b"4").expect("a device");
        assert!(fs::metadata("/dev/null").expect("it is there").file_type().is_char_device());
        assert!(write_where_asked(folder.path(), b"5").is_err(), "a folder is no file");
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_an_error_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        assert!(write_where_asked(&pipe, b"1").is_err());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe)
        });
        let text = vec![b'x'; 200_000];
        while write_where_asked(&pipe, &text).is_err() {
            std::thread::yield_now();
        }
        assert_eq!(reader.join().expect("the thread").expect("read").len(), text.len());
    }
}
