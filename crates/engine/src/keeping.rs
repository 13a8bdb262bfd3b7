//! What of a case outlives this process: its journal and what is needed to put the cluster back from it. A cluster that
//! ends with this process needs nothing of the kind.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use gate::{Journal, JournalError, MemoryJournal};
use store::{CaseJournal, CaseOpening, JournalDb};

/// `journal.db` of a results folder, opened when the first case needs it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journals {
    results: PathBuf,
    opened: Arc<OnceLock<JournalDb>>,
}

impl Journals {
    /// The journals of a results folder. Touches nothing yet.
    pub fn of(results: impl Into<PathBuf>) -> Self {
        Self { results: results.into(), opened: Arc::default() }
    }

    /// Where results are.
    pub(crate) fn results(&self) -> &PathBuf {
        &self.results
    }

    /// The database, where there is one already.
    pub(crate) async fn existing(&self) -> Result<Option<JournalDb>, JournalError> {
        if let Some(db) = self.opened.get() {
            return Ok(Some(db.clone()));
        }
        let results = self.results.clone();
        let opened = blocking(move || JournalDb::open_existing(&results)).await?;
        Ok(opened.map(|db| self.opened.get_or_init(|| db).clone()))
    }

    async fn begin(&self, opening: CaseOpening) -> Result<CaseJournal, JournalError> {
        let db = match self.existing().await? {
            Some(db) => db,
            None => {
                let results = self.results.clone();
                let db = blocking(move || JournalDb::open(&results)).await?;
                self.opened.get_or_init(|| db).clone()
            }
        };
        db.begin(opening).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, store::StoreError> + Send + 'static,
) -> Result<T, JournalError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| JournalError(error.to_string())),
        Err(error) => Err(JournalError(error.to_string())),
    }
}

/// What is kept of one case.
#[derive(Clone, Debug)]
pub(crate) enum Keeping {
    /// Nothing: the cluster ends with this process.
    Memory(Arc<MemoryJournal>),
    /// Everything that another process needs.
    Disk(CaseJournal),
}

impl Keeping {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::default())
    }

    pub(crate) async fn disk(journals: &Journals, opening: CaseOpening) -> Result<Self, JournalError> {
        journals.begin(opening).await.map(Self::Disk)
    }

    /// For the gate.
    pub(crate) fn journal(&self) -> Arc<dyn Journal> {
        match self {
            Self::Memory(journal) => Arc::clone(journal) as Arc<dyn Journal>,
            Self::Disk(journal) => Arc::new(journal.clone()),
        }
    }

    pub(crate) async fn phase(&self, phase: &str) -> Result<(), JournalError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Disk(journal) => journal.set_phase(phase).await,
        }
    }

    pub(crate) async fn state(&self, state: Option<String>) -> Result<(), JournalError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Disk(journal) => journal.set_state(state).await,
        }
    }

    pub(crate) async fn baseline(&self, baseline: &certify::Baseline) -> Result<(), JournalError> {
        let Self::Disk(journal) = self else { return Ok(()) };
        let bytes = serde_json::to_vec(baseline).map_err(|error| JournalError(error.to_string()))?;
        journal.set_baseline(bytes).await
    }

    /// The end: wiped when everything is back, marked when it is not.
    pub(crate) async fn close(&self, clean: bool) -> Result<(), JournalError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Disk(journal) if clean => journal.close().await,
            Self::Disk(journal) => journal.mark_leaked().await,
        }
    }
}
