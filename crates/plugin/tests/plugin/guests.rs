//! The components that the tests run, compiled once.

use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use plugin::{Host, HostConfig, Limits, Plugin};

/// The component of a package of the workspace `guests`.
fn build(guest: &str) -> Vec<u8> {
    let what = component::Compile {
        folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests"),
        packages: &[guest],
        locked: true,
        target_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("../guests")),
    };
    let modules = component::compile(&what, &mut |_| ()).unwrap_or_else(|error| panic!("{error}"));
    let module = std::fs::read(&modules[0].path).expect("cargo left a module");
    component::componentise(&module).expect("a component can be made of it")
}

/// A component that misbehaves as its parameter `how` says.
pub(crate) fn hostile() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| build("hostile"))
}

/// The component for declarative steps.
pub(crate) fn steps() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| build("steps"))
}

/// The component for scripts.
pub(crate) fn shim() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| build("shim"))
}

/// Limits small enough to be reached at once.
pub(crate) fn tight() -> Limits {
    Limits {
        cpu: std::time::Duration::from_millis(300),
        memory_bytes: 8 << 20,
        host_calls: 500,
        mutations: 5,
        response_bytes: 10_000,
        log_bytes: 50_000,
        ..Limits::default()
    }
}

static HOST: LazyLock<Host> = LazyLock::new(|| {
    Host::new(HostConfig { cache_dir: None, limits: tight() }).expect("this machine can run components")
});

pub(crate) fn load(bytes: &[u8]) -> Plugin {
    HOST.load(bytes).expect("it is a failure")
}

/// With the limits that failures have outside of tests.
pub(crate) fn load_roomy(bytes: &[u8]) -> Plugin {
    let host = Host::new(HostConfig { cache_dir: None, limits: Limits::default() });
    host.expect("this machine can run components").load(bytes).expect("it is a failure")
}
