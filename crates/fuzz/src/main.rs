//! The targets under libFuzzer, which brings `main`. `HARNESS_FUZZ_TARGET` names the one that is run; arguments are
//! libFuzzer's own. Built by `cargo xtask fuzz` with coverage in every crate.

#![no_main]

use std::sync::LazyLock;

use fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("HARNESS_FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("HARNESS_FUZZ_TARGET must be one of {}, not {name:?}", names.join(", "));
        std::process::exit(2)
    })
});

/// A panic that is caught is none where only a library of others has one: `expr` promises an answer in spite of those of
/// its CEL. One of our own is always a finding, caught or not; and what nobody catches ends the process anyway.
fn allow_caught_panics_of_others() {
    std::panic::set_hook(Box::new(|panic| {
        let ours = panic.location().is_none_or(|place| place.file().starts_with("crates/"));
        if ours {
            eprintln!("{panic}\n{}", std::backtrace::Backtrace::force_capture());
            std::process::abort();
        }
    }));
}

libfuzzer_sys::fuzz_target!(
    init: {
        allow_caught_panics_of_others();
        LazyLock::force(&TARGET);
    },
    |bytes: &[u8]| (TARGET.hold)(bytes)
);
