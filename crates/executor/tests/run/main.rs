//! Real processes: shell scripts that end well, crash, hang, flood, escape and lie.

mod agents;
mod answers;
mod containment;
mod hostile;
mod live;
mod presets;
mod processes;
mod reach;

use std::path::Path;
use std::time::{Duration, Instant};

/// What stands for `harness-cli`.
const STAGE: &str = env!("CARGO_BIN_EXE_executor-stage");

/// Far enough that only a hang reaches it.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Whether a process is there and no zombie.
fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// A killed process is gone in no time, but not at once.
fn assert_gone(pid: &str) {
    let give_up = later();
    while alive(pid) {
        assert!(Instant::now() < give_up, "process {pid} is still there");
        std::thread::yield_now();
    }
}
