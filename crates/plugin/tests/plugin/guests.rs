//! The components that the tests run, compiled once.

use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, OnceLock};

use plugin::{Host, HostConfig, Limits, Plugin};

/// The component of a package of the workspace `guests`.
fn build(guest: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../guests");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root.join("guests")).args(["build", "--release", "--locked"]);
    command.args(["--target", "wasm32-unknown-unknown", "--package", guest]).arg("--target-dir").arg(&target);
    for (name, _) in std::env::vars() {
        let network = ["CARGO_HOME", "CARGO_NET", "CARGO_HTTP", "CARGO_REG"].iter().any(|kept| name.starts_with(kept));
        if (name.starts_with("CARGO") && !network) || name.starts_with("__CARGO") || name.starts_with("RUSTFLAGS") {
            command.env_remove(name);
        }
    }
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let module = std::fs::read(target.join("wasm32-unknown-unknown/release").join(format!("{guest}.wasm")));
    component::componentise(&module.expect("cargo left a module")).expect("a component can be made of it")
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
