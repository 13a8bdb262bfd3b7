//! Where the tests kill this process: at every transition of the journal and of a case. Outside of them it does nothing.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

/// `NAME`, or `NAME:N` for the N-th time that the point is passed.
const VARIABLE: &str = "HARNESS_CRASH_AT";

/// Ends the process as `kill -9` would when the environment variable `HARNESS_CRASH_AT` names this point.
pub fn crash_point(name: &str) {
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: Mutex<Option<HashMap<String, u64>>> = Mutex::new(None);
    let wanted = WANTED.get_or_init(|| {
        let wanted = std::env::var(VARIABLE).ok()?;
        let (name, times) = wanted.rsplit_once(':').unwrap_or((&wanted, "1"));
        Some((name.to_owned(), times.parse().ok()?))
    });
    let Some((wanted, times)) = wanted else { return };
    if wanted != name {
        return;
    }
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let passed = passed.get_or_insert_default().entry(name.to_owned()).or_default();
    *passed += 1;
    if *passed == *times {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
