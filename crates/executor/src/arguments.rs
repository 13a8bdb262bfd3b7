//! The command line of this program, out of sight: every process of the machine may read those of others, and that of a
//! harness names failures, matrices and folders.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// What the file in memory is called.
const NAME: &str = "arguments";
/// What links to it in `/proc/self/fd` lead to.
const LINK: &str = "/memfd:arguments (deleted)";

/// Starts this program anew in this process with the same arguments, which then stand in no command line: that is just
/// `name`. Comes back only when that failed, or when it has been done already.
///
/// # Errors
/// It could not be done; the program can go on as it is.
pub fn hide_arguments(name: &str) -> io::Result<()> {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.peek().is_none() {
        return Ok(());
    }
    // Inherited by what this process becomes, which empties it.
    let mut file = File::from(memfd_create(NAME, MemfdFlags::ALLOW_SEALING)?);
    for arg in args {
        file.write_all(arg.as_bytes())?;
        // No argument holds one.
        file.write_all(&[0])?;
    }
    Err(Command::new(std::env::current_exe()?).arg0(name).exec())
}

/// The arguments of this program, its name first, wherever they stand.
pub fn arguments() -> Vec<OsString> {
    let mut all: Vec<OsString> = std::env::args_os().collect();
    if all.len() == 1
        && let Some(hidden) = handed_over()
    {
        all.extend(hidden);
    }
    all
}

fn handed_over() -> Option<Vec<OsString>> {
    let mut open = fs::read_dir("/proc/self/fd").ok()?.flatten().map(|entry| entry.path());
    // One that was emptied may have come down from a harness that runs this one.
    let path = open.find(|path| {
        fs::read_link(path).is_ok_and(|to| to == Path::new(LINK)) && fs::metadata(path).is_ok_and(|meta| meta.len() > 0)
    })?;
    let mut file = File::options().read(true).write(true).open(path).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    // The descriptor that was inherited stays open, here and in all that is started: it is to tell and carry nothing.
    file.set_len(0).ok()?;
    let _ = fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::WRITE | SealFlags::SEAL);
    let args = bytes.strip_suffix(&[0])?.split(|byte| *byte == 0);
    Some(args.map(|arg| OsString::from_vec(arg.to_vec())).collect())
}
