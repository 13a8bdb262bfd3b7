//! The stage between supervisor and program: a process that confines itself, then becomes the program. It runs no code
//! of others, and what it was told is gone once the program runs.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid};

use crate::limits::Limits;
use crate::protocol::{Order, Stage, hear, hear_bytes, say};
use crate::sandbox;

/// Becomes the program that the supervisor names; comes back, with an exit code, only when that failed.
pub(crate) fn enter() -> u8 {
    // Closed by the kernel at the moment in which this process becomes the program.
    let Ok(supervisor) = io::stdin().as_fd().try_clone_to_owned() else { return NOT_ASKED };
    let mut supervisor = UnixStream::from(supervisor);
    // A session of its own: groups of it never hold the supervisor, and the two share the processor's time as equals.
    let _ = setsid();
    let Ok(Some(order)) = hear::<Order>(&mut supervisor) else { return NOT_ASKED };
    let Ok(Some(input)) = hear_bytes(&mut supervisor) else { return NOT_ASKED };
    let why = match become_program(order, &input, &mut supervisor) {
        Ok(never) => match never {},
        Err(why) => why,
    };
    // If the supervisor is gone, nobody needs to know.
    let _ = say(&mut supervisor, &Stage::Failed(why));
    NOT_ENTERED
}

/// Someone ran it by hand.
const NOT_ASKED: u8 = 2;
/// What shells say of a program that cannot be run.
const NOT_ENTERED: u8 = 126;

fn become_program(order: Order, input: &[u8], supervisor: &mut UnixStream) -> Result<std::convert::Infallible, String> {
    let stdin = standard_input(input).map_err(|error| format!("its input: {error}"))?;
    let cwd = order.cwd.display().to_string();
    std::env::set_current_dir(&order.cwd).map_err(|error| format!("the folder {cwd}: {error}"))?;
    limit(&order.limits).map_err(|error| format!("its limits: {error}"))?;
    let landlock = match &order.sandbox {
        Some(sandbox) => {
            let enforced = sandbox.enforce().map_err(|error| format!("its sandbox: {error}"))?;
            enforced && sandbox::weaken().is_ok()
        }
        None => false,
    };
    say(supervisor, &Stage::Ready { landlock }).map_err(|error| error.to_string())?;
    let error = Command::new(&order.program).args(&order.args).env_clear().envs(&order.env).stdin(stdin).exec();
    Err(format!("{}: {error}", order.program.display()))
}

/// A file in memory: it is there at once, and nobody needs to feed it.
fn standard_input(bytes: &[u8]) -> io::Result<Stdio> {
    if bytes.is_empty() {
        return Ok(Stdio::null());
    }
    let file: OwnedFd = memfd_create("input", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(Stdio::from(file))
}

fn limit(limits: &Limits) -> io::Result<()> {
    let wanted = [(Resource::Fsize, limits.file_bytes), (Resource::Core, 0), (Resource::Nofile, limits.open_files)];
    for (resource, most) in wanted {
        let most = getrlimit(resource).maximum.map_or(most, |now| now.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}
