//! What is written down of a cluster before it is made, so that it is found when this process is killed: a folder per
//! cluster with a lock that the kernel frees when its owner ends, however it ends. Of whoever holds the lock nothing is
//! touched, whatever results it writes and wherever it was started.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::ProvisionError;

/// The lock of its owner.
const LOCK: &str = "lock";
/// What is needed to remove the cluster.
const MADE: &str = "made.json";
/// The process that is making it.
const MAKER: &str = "maker.json";
/// Where the program that makes it writes the way in.
const KUBECONFIG: &str = "kubeconfig";

/// What is needed to remove a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Made {
    /// The provisioner.
    pub(crate) by: String,
    /// Where the program looked for what runs its clusters. No secrets.
    pub(crate) env: BTreeMap<String, String>,
}

/// The process that is making a cluster: the leader of its group, and when it started, so that nobody else is taken for
/// it who has its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Maker {
    process: i32,
    started: u64,
}

/// A cluster that is being made, is there, or may be there; held by this process.
#[derive(Debug)]
pub(crate) struct Claim {
    folder: PathBuf,
    name: String,
    _lock: Option<File>,
}

impl Claim {
    /// One that somebody else in this process holds, or nobody.
    pub(crate) fn of(claims: &Path, name: &str) -> Self {
        Self { folder: claims.join(name), name: name.to_owned(), _lock: None }
    }

    /// Claims a name that nobody has claimed.
    pub(crate) fn take(claims: &Path, name: &str, made: &Made) -> Result<Self, ProvisionError> {
        let folder = claims.join(name);
        let fault = |why: String| ProvisionError::Claim { path: folder.clone(), why };
        let taken = || -> io::Result<File> {
            private(claims)?;
            // Whoever sweeps must not see it without its lock.
            let _alone = alone(claims)?;
            DirBuilder::new().mode(0o700).create(&folder)?;
            let lock = File::create_new(folder.join(LOCK))?;
            lock.try_lock()?;
            fs::write(folder.join(MADE), serde_json::to_vec(made)?)?;
            Ok(lock)
        };
        let lock = taken().map_err(|error| fault(error.to_string()))?;
        Ok(Self { folder: folder.clone(), name: name.to_owned(), _lock: Some(lock) })
    }

    /// Takes over what nobody holds any more; none when it is held, or nothing is there.
    pub(crate) fn take_over(claims: &Path, name: &str) -> io::Result<Option<Self>> {
        let folder = claims.join(name);
        let _alone = match alone(claims) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            alone => alone?,
        };
        let lock = match File::options().write(true).open(folder.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            lock => lock?,
        };
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { folder, name: name.to_owned(), _lock: Some(lock) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The names of all that are claimed, whoever holds them.
    pub(crate) fn names(claims: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(claims) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names: Vec<String> =
            entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is needed to remove it; none when its owner was killed before it had made anything.
    pub(crate) fn made(&self) -> Option<Made> {
        fs::read(self.folder.join(MADE)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    /// Where its kubeconfig is written to: only this user may read it, and only until it was read.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join(KUBECONFIG)
    }

    /// Removes the kubeconfig, and the lock that kind leaves beside it when it is killed, which would keep it from
    /// deleting the cluster.
    pub(crate) fn remove_kubeconfig(&self) {
        for name in [KUBECONFIG.to_owned(), format!("{KUBECONFIG}.lock")] {
            // It is not there, mostly.
            let _ = fs::remove_file(self.folder.join(name));
        }
    }

    /// Notes who is making it.
    pub(crate) fn made_by(&self, process: i32) -> io::Result<()> {
        let Some(started) = started(process) else { return Ok(()) };
        fs::write(self.folder.join(MAKER), serde_json::to_vec(&Maker { process, started })?)
    }

    /// Ends whoever is still making it although the owner is gone.
    pub(crate) fn end_maker(&self) {
        let path = self.folder.join(MAKER);
        let maker: Option<Maker> = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(maker) = maker.filter(|maker| started(maker.process) == Some(maker.started)) {
            end_group(maker.process);
        }
    }

    /// The cluster is gone.
    pub(crate) fn forget(&self) -> Result<(), ProvisionError> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ProvisionError::Claim { path: self.folder.clone(), why: error.to_string() })
            }
            _ => Ok(()),
        }
    }
}

/// Kills a process group. One that is gone is no error.
pub(crate) fn end_group(leader: i32) {
    if let Some(leader) = Pid::from_raw(leader) {
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

/// Makes the folder, for this user alone.
fn private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Until it is dropped no other process takes or takes over a claim. Held for some file operations only.
fn alone(claims: &Path) -> io::Result<File> {
    let folder = File::open(claims)?;
    folder.lock()?;
    Ok(folder)
}

/// When a process started, in ticks since the machine did: field 22 of proc(5)'s `stat`. None where it cannot be told.
fn started(process: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program stands in brackets and may contain any.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn made() -> Made {
        Made { by: "kind".into(), env: BTreeMap::from([("DOCKER_HOST".into(), "unix:///run/d.sock".into())]) }
    }

    #[test]
    fn a_claim_is_seen_by_all_and_taken_over_only_when_its_owner_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let claims = folder.path().join("state/clusters");
        assert!(Claim::names(&claims).expect("none yet").is_empty());
        assert!(Claim::take_over(&claims, "a").expect("none yet").is_none());
        let claim = Claim::take(&claims, "a", &made()).expect("free");
        assert_eq!(fs::metadata(&claims).expect("made").permissions().mode() & 0o777, 0o700);
        assert_eq!(Claim::names(&claims).expect("read"), ["a"]);
        assert!(Claim::take_over(&claims, "a").expect("asked").is_none(), "its owner lives");
        assert!(matches!(Claim::take(&claims, "a", &made()), Err(ProvisionError::Claim { .. })), "one at a time");
        drop(claim);
        // A child of another test may hold the lock until it has become its program.
        let start = std::time::Instant::now();
        let claim = loop {
            match Claim::take_over(&claims, "a").expect("asked") {
                Some(claim) => break claim,
                None => assert!(start.elapsed().as_secs() < 10, "its owner is gone"),
            }
        };
        assert!(Claim::take_over(&claims, "a").expect("asked").is_none(), "somebody cares for it");
        assert_eq!(claim.made(), Some(made()));
        fs::write(claim.kubeconfig(), "secret").expect("written");
        fs::write(claims.join("a/kubeconfig.lock"), "").expect("written");
        claim.remove_kubeconfig();
        assert!(!claim.kubeconfig().exists() && !claims.join("a/kubeconfig.lock").exists());
        claim.forget().expect("removed");
        claim.forget().expect("removed already");
        assert!(Claim::names(&claims).expect("read").is_empty());
    }

    #[test]
    fn only_the_process_that_was_noted_is_ended() {
        use std::os::unix::process::CommandExt;
        let folder = tempfile::tempdir().expect("a folder");
        let claim = Claim::take(folder.path(), "a", &made()).expect("free");
        let mut maker = std::process::Command::new("sleep").arg("600").process_group(0).spawn().expect("started");
        let id = i32::try_from(maker.id()).expect("a process id");
        claim.made_by(id).expect("noted");
        let noted = fs::read(claim.folder.join(MAKER)).expect("read");
        let other = Maker { started: started(id).expect("it runs") + 1, process: id };
        fs::write(claim.folder.join(MAKER), serde_json::to_vec(&other).expect("json")).expect("written");
        claim.end_maker();
        assert!(maker.try_wait().expect("asked").is_none(), "another one with that number is not touched");
        fs::write(claim.folder.join(MAKER), noted).expect("written");
        claim.end_maker();
        assert!(!maker.wait().expect("ended").success());
        claim.end_maker();
    }
}
