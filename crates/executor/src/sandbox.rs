//! Which files a process may touch, and the kernel's enforcement of it (Landlock). What is allowed is listed; everything
//! else is denied, whatever there is on the machine.

use std::path::PathBuf;

use crate::environment::find_program;
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use serde::{Deserialize, Serialize};

/// The first version that leaves no way around reading and writing rules.
const NEEDED: ABI = ABI::V3;
/// The version that is asked for; an older kernel enforces what it knows.
const ASKED: ABI = ABI::V5;
/// Devices that tell and keep nothing.
const DEVICES: [&str; 8] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];

/// What a process may touch. Folders stand for everything below them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Read and execute.
    pub read: Vec<PathBuf>,
    /// Do anything with.
    pub write: Vec<PathBuf>,
}

impl Sandbox {
    /// Confines this thread and everything that it starts or becomes, for good: it also gains no privileges any more.
    /// Returns whether the kernel enforces the rules.
    pub(crate) fn enforce(&self) -> Result<bool, RulesetError> {
        let all = AccessFs::from_all(ASKED);
        let devices = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::IoctlDev;
        // Signals and abstract sockets reach nobody outside: neither supervisor nor harness can be killed.
        let status = Ruleset::default()
            .handle_access(all)?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .add_rules(path_beneath_rules(&self.read, AccessFs::from_read(ASKED)))?
            .add_rules(path_beneath_rules(DEVICES, devices))?
            .add_rules(path_beneath_rules(&self.write, all))?
            .restrict_self()?;
        Ok(sandbox_available() && status.ruleset != RulesetStatus::NotEnforced)
    }
}

/// Whether the kernel can hide files from agents and scripts: Landlock as of Linux 6.2, enabled at boot. An almighty root
/// needs util-linux's `setpriv` besides: see [`Weakened`].
pub fn sandbox_available() -> bool {
    let needed =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(NEEDED));
    needed.and_then(Ruleset::create).is_ok() && Weakened::new() != Weakened::Impossible
}

/// How a program comes to run without the powers of root that lead around Landlock: who may administer the system or
/// watch its performance reads the memory and environment of every process, as of Linux 6.17.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Weakened {
    /// It has none anyway.
    Already,
    /// This command in front of its own takes them.
    By(Vec<String>),
    /// They cannot be taken.
    Impossible,
}

impl Weakened {
    pub(crate) fn new() -> Self {
        /// `CAP_SYS_ADMIN` and `CAP_PERFMON`, capabilities(7).
        const AROUND: u64 = (1 << 21) | (1 << 38);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mine = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
        if mine.is_some_and(|mine| mine & AROUND == 0) {
            return Self::Already;
        }
        match find_program("setpriv", "/usr/bin:/bin:/usr/sbin:/sbin") {
            // Files of others stay reachable, where the rules let them.
            Some(program) => Self::By(vec![
                program.to_string_lossy().into_owned(),
                "--inh-caps=-all".to_owned(),
                "--bounding-set=-all,+dac_override".to_owned(),
                "--".to_owned(),
            ]),
            None => Self::Impossible,
        }
    }
}
