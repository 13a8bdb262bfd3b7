//! Runs a program as a kernel without Landlock would: the system call that makes its rule sets is not there.
//! Usage: `no-landlock PROGRAM ARGUMENTS...`

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// `landlock_create_ruleset`, the same number on every architecture.
const CREATE_RULESET: i64 = 444;
/// errno(3): Function not implemented.
const ENOSYS: u32 = 38;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let program = args.next().expect("a program");
    let filter = SeccompFilter::new(
        BTreeMap::from([(CREATE_RULESET, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(ENOSYS),
        std::env::consts::ARCH.try_into().expect("an architecture with seccomp"),
    );
    let filter: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
    seccompiler::apply_filter(&filter).expect("the kernel takes filters");
    let error = Command::new(&program).args(args).exec();
    panic!("{}: {error}", program.display());
}
