//! Which files a process may touch, and the kernel's enforcement of it (Landlock). What is allowed is listed; everything
//! else is denied, whatever there is on the machine.

use std::io;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
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

/// Whether the kernel can hide files from agents and scripts: Landlock as of Linux 6.2, enabled at boot, and from an almighty
/// root only where the powers that lead around it can be taken.
pub fn sandbox_available() -> bool {
    let needed =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(NEEDED));
    needed.and_then(Ruleset::create).is_ok() && can_be_weakened()
}

/// Who may administer the system or watch its performance reads the memory and environment of every process, as of Linux
/// 6.17, whatever Landlock says.
const AROUND: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::PERFMON);
/// Files of others stay reachable, where the rules let them.
const KEPT: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

fn can_be_weakened() -> bool {
    let mine = capabilities(None).map(|sets| sets.effective);
    mine.is_ok_and(|mine| !mine.intersects(AROUND) || mine.contains(CapabilitySet::SETPCAP))
}

/// Lets this thread become programs without the powers of root that lead around Landlock, capabilities(7): a program gets what
/// is in the bounding set. Whoever has none anyway stays as it is.
pub(crate) fn weaken() -> io::Result<()> {
    let mine = capabilities(None)?;
    if !mine.effective.intersects(AROUND) {
        return Ok(());
    }
    // The kernel knows as many as it answers for.
    for capability in (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        match capability_is_in_bounding_set(capability) {
            Ok(true) if capability != KEPT => remove_capability_from_bounding_set(capability)?,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    clear_ambient_capability_set()?;
    Ok(set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..mine })?)
}
