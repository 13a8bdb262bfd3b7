//! Processes: started ones that end with their guard, and those of others that should not be there any more.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A child process; what is still running when this is dropped is killed.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it.
    ///
    /// # Panics
    /// When the program can't be started.
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// The child itself.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
        kill_process(pid, signal).expect("the process is running");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it runs longer than `max`.
    pub fn wait(&mut self, max: Duration) -> ExitStatus {
        let mut status = None;
        wait_until("the process to end", max, || {
            status = self.0.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("set by the loop")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The most memory that a process has had resident so far, kilobytes; none once it has ended.
pub fn peak_kilobytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Asks every 50 ms until it holds.
///
/// # Panics
/// When it does not hold within `max`.
pub fn wait_until(what: &str, max: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < max, "waited {max:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Command lines of the processes whose folder, command line or environment mentions a path.
pub fn processes_mentioning(path: &Path) -> Vec<String> {
    let needle = path.to_string_lossy().into_owned();
    let own = std::process::id().to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter(|entry| entry.file_name().to_string_lossy() != own)
        .filter_map(|entry| {
            let dir = entry.path();
            let text = |name: &str| fs::read(dir.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let command = text("cmdline").ok()?;
            let folder = fs::read_link(dir.join("cwd")).map(|link| link.to_string_lossy().into_owned());
            let hit = command.contains(&needle)
                || text("environ").is_ok_and(|environment| environment.contains(&needle))
                || folder.is_ok_and(|folder| folder.contains(&needle));
            hit.then(|| command.replace('\0', " "))
        })
        .collect()
}
