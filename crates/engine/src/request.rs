//! What a run is asked to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Agents, Failure, Implementation, Library};
use gate::Grants;
use matrix::Matrix;
use model::{Baseline, Event};
use plugin::{Host, LoadError, Plugin};
use store::Store;

use crate::{Journals, Selection};

/// Sees every event of a run, in order. Called from one thread; a slow listener slows the run down.
pub trait Listener: Send {
    /// One event.
    fn event(&mut self, event: &Event);
}

/// The component host, with the components that stand behind `induce:` steps and `induce.sh`.
#[derive(Clone, Debug)]
pub struct Plugins {
    /// The host.
    pub host: Host,
    /// Runs declarative steps.
    pub steps: &'static [u8],
    /// Runs an `induce.sh`.
    pub shim: &'static [u8],
}

impl Plugins {
    /// The component of this failure, ready to be called.
    ///
    /// # Errors
    /// What the host says of the component.
    pub fn load(&self, failure: &Failure) -> Result<Plugin, LoadError> {
        match &failure.implementation {
            Implementation::Component(bytes) => self.host.load(bytes),
            Implementation::Steps => self.host.load(self.steps),
            Implementation::Script => self.host.load(self.shim),
        }
    }
}

/// Everything that a case needs besides its own ids; shared by all cases of a run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The failures that are there.
    pub library: Arc<Library>,
    /// The agent presets that are there.
    pub agents: Arc<Agents>,
    /// The component host.
    pub plugins: Plugins,
    /// What the operator allows.
    pub grants: Arc<Grants>,
    /// Where the journals of clusters that outlive this process lie.
    pub journals: Journals,
    /// This program, for presets that say `$(harness)`, and to watch over agents and scripts: [`executor::stage`].
    pub harness_exe: PathBuf,
    /// Files and folders that neither agents nor scripts may read, wherever they lie.
    pub hidden: Vec<PathBuf>,
}

/// A run.
#[derive(Debug)]
pub struct RunRequest {
    /// What to run.
    pub matrix: Matrix,
    /// The matrix file, byte for byte.
    pub matrix_bytes: Vec<u8>,
    /// With what.
    pub setting: Setting,
    /// Where results go.
    pub store: Store,
    /// How.
    pub options: RunOptions,
}

/// How to run; what the command line says beside the matrix.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Instead of the matrix's `repeats`.
    pub repeat: Option<u32>,
    /// Instead of the matrix's `retries`.
    pub retries: Option<u32>,
    /// Instead of the matrix's `parallel_clusters`.
    pub parallel_clusters: Option<u32>,
    /// Instead of the matrix's `timeout_per_test`.
    pub timeout_per_test: Option<Duration>,
    /// No new cases after the first that counts and did not pass.
    pub fail_fast: bool,
    /// 0 instead of 10 and 11.
    pub exit_zero: bool,
    /// Skipped cases do not make it 11.
    pub allow_skipped: bool,
    /// What `accept` compares with.
    pub baseline: Option<Arc<Baseline>>,
    /// Only these cases.
    pub selection: Selection,
    /// Everything random follows from it; a random one when none.
    pub seed: Option<u64>,
    /// Commit of the repository that the run was started in, for the record.
    pub git_commit: Option<String>,
}
