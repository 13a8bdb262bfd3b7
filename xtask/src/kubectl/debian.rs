//! The kubectl of the tests: Debian's package, fetched with apt into `.tools/` without root and without touching the
//! system's own apt state; else a kubectl on PATH; else none, and the tests that need one are skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::root;
use crate::program;

const SUITE: &str = "trixie";
const VERSION: &str = "1.32.3+ds-2";
const MINOR: &str = "v1.32.";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Which kubectl the tests get.
#[derive(Debug)]
pub(crate) enum Kubectl {
    /// The pinned version.
    Pinned(PathBuf),
    /// Another one from PATH; the text says why it is not the pinned one.
    Found(PathBuf, String),
    /// None; the text says why.
    Missing(String),
}

impl Kubectl {
    /// The program.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Pinned(path) | Self::Found(path, _) => Some(path),
            Self::Missing(_) => None,
        }
    }
}

/// The kubectl in `.tools/`, fetched when it is not there yet.
pub(crate) fn ensure() -> Kubectl {
    let pinned = root().join(".tools/kubectl-1.32/kubectl");
    if program::is_executable(&pinned) {
        return Kubectl::Pinned(pinned);
    }
    eprintln!("xtask: fetching kubectl {VERSION} from Debian {SUITE} into .tools/");
    match fetch(&pinned) {
        Ok(()) => Kubectl::Pinned(pinned),
        Err(reason) => match program::find("kubectl") {
            Some(path) => Kubectl::Found(path, reason),
            None => Kubectl::Missing(reason),
        },
    }
}

fn fetch(destination: &Path) -> Result<(), String> {
    for name in ["apt-get", "dpkg-deb"] {
        if program::find(name).is_none() {
            return Err(format!("{name} is not here, and the pinned kubectl is a Debian package"));
        }
    }
    if !Path::new(KEYRING).exists() {
        return Err(format!("{KEYRING} is not here, so Debian's packages can't be verified"));
    }
    let scratch = root().join(format!(".tools/fetch-{}", std::process::id()));
    let result = fetch_in(&scratch, destination);
    // Best effort: what is left is ignored by git and replaced by nothing.
    let _ = fs::remove_dir_all(&scratch);
    result
}

fn fetch_in(scratch: &Path, destination: &Path) -> Result<(), String> {
    for dir in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(scratch.join(dir)).map_err(|error| format!("{}: {error}", scratch.display()))?;
    }
    let sources = format!("deb [signed-by={KEYRING}] {} {SUITE} main\n", archive()?);
    for (name, text) in [("sources.list", sources.as_str()), ("status", "")] {
        fs::write(scratch.join(name), text).map_err(|error| format!("{}: {error}", scratch.join(name).display()))?;
    }
    program::output(apt(scratch).arg("update"))?;
    // A later point release may have replaced the version; any other of the same minor serves as well.
    program::output(apt(scratch).args(["download", &format!("kubectl={VERSION}")]))
        .or_else(|_| program::output(apt(scratch).args(["download", "kubectl"])))?;
    let deb = fs::read_dir(scratch)
        .map_err(|error| error.to_string())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or("apt-get download left no package")?;
    let unpacked = scratch.join("unpacked");
    program::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked))?;
    let kubectl = unpacked.join("usr/bin/kubectl");
    let version = program::output(Command::new(&kubectl).args(["version", "--client"]))?;
    if !version.contains(MINOR) {
        return Err(format!("Debian {SUITE} has another kubectl than {MINOR}x: {}", version.trim()));
    }
    let dir = destination.parent().ok_or("no folder for kubectl")?;
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    fs::rename(&kubectl, destination).map_err(|error| format!("{}: {error}", destination.display()))
}

/// The Debian archive that this system is installed from: a mirror holds every suite.
fn archive() -> Result<String, String> {
    let format = "$(COMPONENT) $(REPO_URI)";
    let mut command = Command::new("apt-get");
    let targets = program::output(command.args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let main = targets.lines().filter_map(|line| line.strip_prefix("main "));
    let archive = main.map(|uri| uri.trim().trim_end_matches('/')).find(|uri| uri.ends_with("/debian"));
    archive.map(str::to_owned).ok_or_else(|| "the system's apt sources name no Debian archive".to_owned())
}

/// apt-get with sources, lists, cache and status of its own; the system's proxies and certificates stay in force.
fn apt(scratch: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.current_dir(scratch).arg("--quiet");
    for (key, value) in [
        ("Dir::Etc::sourcelist", scratch.join("sources.list")),
        ("Dir::State::lists", scratch.join("lists")),
        ("Dir::State::status", scratch.join("status")),
        ("Dir::Cache", scratch.join("cache")),
    ] {
        command.arg("-o").arg(format!("{key}={}", value.display()));
    }
    for option in [
        "Dir::Etc::sourceparts=/dev/null",
        "Dir::Etc::preferences=/dev/null",
        "Dir::Etc::preferencesparts=/dev/null",
        "Acquire::Languages=none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
        "Acquire::Retries=2",
        // The user _apt can't enter a private checkout; what is fetched is verified by signature all the same.
        "APT::Sandbox::User=root",
    ] {
        command.arg("-o").arg(option);
    }
    command
}
