//! Where `kind` is looked for, what it is given, how long it may take, and where this user's files for it lie.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ProvisionError;

/// Variables that decide which container engine kind and the engine's own client use.
const ENGINE: &[&str] = &[
    "KIND_EXPERIMENTAL_PROVIDER",
    "KIND_EXPERIMENTAL_DOCKER_NETWORK",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "CONTAINER_HOST",
    "CONTAINERD_ADDRESS",
];

/// How long each command may take, on wall time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindTimes {
    /// `kind create cluster`, pulling the node image included.
    pub create: Duration,
    /// What it is told to wait for the nodes to be ready: part of `create`.
    pub wait: Duration,
    /// The API server, after that.
    pub ready: Duration,
    /// `kind delete cluster`.
    pub delete: Duration,
    /// `kind get clusters`.
    pub list: Duration,
}

impl Default for KindTimes {
    fn default() -> Self {
        Self {
            create: Duration::from_secs(15 * 60),
            wait: Duration::from_secs(5 * 60),
            ready: Duration::from_secs(60),
            delete: Duration::from_secs(2 * 60),
            list: Duration::from_secs(30),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindHost {
    /// Folders in which programs are looked for, as in `PATH`.
    pub path: OsString,
    /// Variables besides those of this process; none: it is taken away.
    pub env: BTreeMap<String, Option<String>>,
    /// Where clusters are claimed; none: this user has no folder of their own, and no cluster is made.
    pub claims: Option<PathBuf>,
    /// The operator's kind configurations.
    pub templates: Option<PathBuf>,
    /// Bounds.
    pub times: KindTimes,
}

impl KindHost {
    /// As this process has it: `PATH`, `$XDG_STATE_HOME/harness/clusters` or `~/.local/state/harness/clusters`, and
    /// `$XDG_CONFIG_HOME/harness/kind` or `~/.config/harness/kind`.
    pub fn of_process() -> Self {
        Self {
            path: std::env::var_os("PATH").unwrap_or_default(),
            env: BTreeMap::new(),
            claims: of_user("XDG_STATE_HOME", ".local/state").map(|folder| folder.join("harness/clusters")),
            templates: of_user("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("harness/kind")),
            times: KindTimes::default(),
        }
    }

    pub(crate) fn claims(&self) -> Result<&Path, ProvisionError> {
        self.claims.as_deref().ok_or_else(|| ProvisionError::Claim {
            path: PathBuf::from("~/.local/state/harness/clusters"),
            why: "neither XDG_STATE_HOME nor HOME is set".to_owned(),
        })
    }

    /// The program of this name.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        let runs = |path: &PathBuf| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        std::env::split_paths(&self.path).filter(|folder| folder.is_absolute()).map(|f| f.join(program)).find(runs)
    }

    /// The container engine that a cluster is made with.
    pub(crate) fn engine(&self) -> BTreeMap<String, String> {
        let value = |name: &str| match self.env.get(name) {
            Some(given) => given.clone(),
            None => std::env::var(name).ok(),
        };
        ENGINE.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect()
    }

    /// The same with another container engine.
    pub(crate) fn with_engine(&self, engine: BTreeMap<String, String>) -> Self {
        let mut host = self.clone();
        host.env.extend(ENGINE.iter().map(|name| ((*name).to_owned(), engine.get(*name).cloned())));
        host
    }
}

/// A folder of this user's, as the XDG Base Directory Specification has it.
fn of_user(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))
}
