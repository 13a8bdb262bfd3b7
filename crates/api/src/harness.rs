//! What every call shares: the configuration, and the libraries of failures and agents, read once and when needed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use catalog::{Agents, Library};
use engine::{Journals, Plugins, Setting};
use gate::Grants;
use plugin::{Host, HostConfig, Limits};
use yaml::Source;

use crate::{ApiError, Config};

/// The facade.
#[derive(Debug)]
pub struct Harness {
    pub(crate) config: Config,
    library: OnceLock<Arc<Library>>,
    agents: OnceLock<Arc<Agents>>,
}

impl Harness {
    /// A facade over these folders. Reads nothing yet.
    pub fn new(config: Config) -> Self {
        Self { config, library: OnceLock::new(), agents: OnceLock::new() }
    }

    /// Where things are.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The command that puts back what a run of this harness has left, for people to paste.
    pub fn recover_command(&self) -> String {
        let results = shown(&self.config.results_dir);
        let word = if results.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
            results
        } else {
            format!("'{}'", results.replace('\'', r"'\''"))
        };
        format!("harness-cli recover --results-dir {word}")
    }

    /// The failures: those inside the program, and those of the failures folders.
    pub(crate) fn library(&self) -> &Arc<Library> {
        self.library.get_or_init(|| Arc::new(Library::load(&self.config.failures_dirs, builtin::failures())))
    }

    /// The agents: those inside the program, and those of the agents folders.
    pub(crate) fn agents(&self) -> &Arc<Agents> {
        self.agents.get_or_init(|| {
            let agents = Agents::load(&self.config.agents_dirs, builtin::agents());
            Arc::new(agents.with_prices(&self.config.prices))
        })
    }

    /// What the operator allows, with the place of `run-live-test.sh` filled in.
    pub(crate) fn grants(&self) -> Result<Grants, ApiError> {
        let mut grants = match &self.config.grants {
            Some(path) => Grants::parse(&Source::read(path)?)?,
            None => Grants::default(),
        };
        // A path in a file is relative to its folder.
        let folder = self.config.grants.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let named = grants.executors.live_test_script.take().map(|script| folder.join(script));
        let script = named.or_else(|| self.config.live_test_script.clone());
        grants.executors.live_test_script = script.map(|path| path.display().to_string());
        Ok(grants)
    }

    /// What the engine needs for any case.
    pub(crate) fn setting(&self) -> Result<Setting, ApiError> {
        Ok(Setting {
            library: Arc::clone(self.library()),
            agents: Arc::clone(self.agents()),
            plugins: Plugins { host: self.host()?, steps: builtin::steps(), shim: builtin::shim() },
            grants: Arc::new(self.grants()?),
            journals: Journals::of(&self.config.results_dir),
            harness_exe: self.config.harness_exe.clone(),
            hidden: self.hidden(),
        })
    }

    /// What tells of failures, runs and clusters.
    fn hidden(&self) -> Vec<PathBuf> {
        let config = &self.config;
        let folders = config.failures_dirs.iter().chain(&config.agents_dirs).chain([&config.results_dir]);
        folders.chain(&config.grants).chain(&config.cache_dir).cloned().chain(cluster::claims_folder()).collect()
    }
}

impl Harness {
    /// What runs components.
    pub(crate) fn host(&self) -> Result<Host, ApiError> {
        let cache_dir = self.config.cache_dir.clone();
        Host::new(HostConfig { cache_dir, limits: Limits::default() })
            .map_err(|error| ApiError::input(format!("components cannot be run here: {error}")))
    }
}

/// A path as people wrote it.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
