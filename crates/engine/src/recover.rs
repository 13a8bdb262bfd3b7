//! Puts back what a harness that was killed has left, from its journal, and says in its results how it ended; the same at
//! the start of each run and by hand. Doing it again does no harm, and what cannot be reached now is tried by the next.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cluster::{connect, lease_of, remove_lease};
use gate::{JournalError, crash_point};
use jiff::Timestamp;
use model::{CaseId, CaseParts, ClusterKind, Event, EventKind, Id, Leak, RunFile, RunId, Totals};
use store::{JournalDb, OpenCase, RunLock, RunRecord, Store};

use crate::dispatcher::Dispatcher;
use crate::dossier::{Dossier, unpack};
use crate::groups::groups_of;
use crate::logs::CaseLogs;
use crate::put_back::{PutBack, put_back};
use crate::record::{End, Identity, Record};
use crate::scene::{Owner, Scene, SceneRequest};
use crate::void::void;
use crate::{Cancel, EngineError, Journals, Setting};

/// What to recover.
#[derive(Debug)]
pub struct RecoverRequest {
    /// With what.
    pub setting: Setting,
    /// Where results are.
    pub store: Store,
    /// Only this run.
    pub run: Option<String>,
}

/// One case that was left.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovered {
    /// The run.
    pub run: String,
    /// The case.
    pub case: String,
    /// The API server.
    pub cluster: String,
    /// What became of it.
    pub how: Recovery,
}

/// What became of a case that was left.
#[derive(Clone, Debug, PartialEq)]
pub enum Recovery {
    /// Everything is as it was before the case.
    PutBack,
    /// These are not.
    Leaked(Vec<Leak>),
    /// It stays in the journal: the cluster does not answer, or what was saved cannot be used.
    Failed(String),
    /// Its run is still at work; nothing was touched.
    Live,
}

/// What a recovery did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// Every case that was left.
    pub cases: Vec<Recovered>,
    /// Runs that had no end and have one now.
    pub runs: Vec<RunId>,
}

/// Recovers. `tell` hears of each case as it is done.
///
/// # Errors
/// The journal or the results cannot be read or written.
pub async fn recover(request: RecoverRequest, mut tell: impl FnMut(&Recovered) + Send) -> Result<Done, EngineError> {
    let wanted = |run: &str| request.run.as_deref().is_none_or(|only| only == run);
    let db = request.setting.journals.existing().await?;
    let mut left: BTreeMap<String, Vec<OpenCase>> = BTreeMap::new();
    if let Some(db) = &db {
        for open in db.unfinished().await? {
            left.entry(open.opening.run_id.clone()).or_default().push(open);
        }
    }
    let mut recovery = Ongoing { request: &request, db: db.as_ref(), done: Done::default(), tell: &mut tell };
    for run in request.store.abandoned()?.into_iter().filter(|run| wanted(run.file.run_id.as_str())) {
        let cases = left.remove(run.file.run_id.as_str()).unwrap_or_default();
        recovery.abandoned(run, &cases).await?;
    }
    // Of runs that ended and left something, of failures that were held by hand, and of runs that are at work.
    for (_, cases) in left.into_iter().filter(|(run, _)| wanted(run)) {
        recovery.others(&cases).await?;
    }
    Ok(recovery.done)
}

/// The cases that runs which are not at work any more have left.
pub(crate) async fn left_open(journals: &Journals) -> Result<Vec<OpenCase>, JournalError> {
    let Some(db) = journals.existing().await? else { return Ok(Vec::new()) };
    let mut open = db.unfinished().await?;
    open.retain(|open| !RunLock::is_held(&open.opening.run_dir));
    Ok(open)
}

struct Ongoing<'a, T> {
    request: &'a RecoverRequest,
    db: Option<&'a JournalDb>,
    done: Done,
    tell: &'a mut T,
}

impl<T: FnMut(&Recovered) + Send> Ongoing<'_, T> {
    fn done(&mut self, open: &OpenCase, how: Recovery) {
        let one = Recovered {
            run: open.opening.run_id.clone(),
            case: open.opening.case_id.clone(),
            cluster: open.opening.cluster.clone(),
            how,
        };
        (self.tell)(&one);
        self.done.cases.push(one);
    }

    /// A run whose process was killed: its cases are put back and written down as interrupted, and it is ended.
    async fn abandoned(&mut self, run: RunRecord, cases: &[OpenCase]) -> Result<(), EngineError> {
        let id = run.file.run_id.clone();
        let writer = match self.request.store.reopen(&id) {
            Ok(writer) => writer,
            Err(store::StoreError::RunIsLive(_)) => {
                cases.iter().for_each(|open| self.done(open, Recovery::Live));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let (total, started) = started(&run.dir.events());
        let dispatcher = Dispatcher::start(id.clone(), writer, Vec::new());
        for open in cases {
            let how = self.case(open, Some(&dispatcher)).await;
            self.done(open, how.unwrap_or_else(|end| Recovery::Failed(end.message)));
        }
        let known = self.request.store.cases(&id)?;
        for (case, control) in started.iter().filter(|(id, _)| !known.iter().any(|case| case.id == *id)) {
            // Its cluster ended with the process, or nothing was touched yet; or it could not be put back yet.
            let Some(identity) = identity_of(case, *control, &run.file) else { continue };
            dispatcher.case(Record::new(identity, dispatcher.clone()).finish(End::killed())).await?;
        }
        // What a control has shown holds although the run did not live to see the end of its group.
        for group in groups_of(&self.request.store.cases(&id)?) {
            let record = run.file.failures.iter().find(|record| record.name.as_str() == group.failure);
            let failure = record.and_then(|record| self.request.setting.library.get(record.id.as_str()));
            void(&group, failure, &id, &self.request.store, &dispatcher).await?;
        }
        let mut file = run.file;
        file.totals = Totals::default();
        for case in self.request.store.cases(&id)? {
            file.totals.add(case.outcome, case.control, !case.leaks.is_empty());
        }
        file.not_run = total.saturating_sub(file.totals.total);
        file.finished_at = Some(Timestamp::now());
        dispatcher.finish(file).await?;
        self.done.runs.push(id);
        Ok(())
    }

    async fn others(&mut self, cases: &[OpenCase]) -> Result<(), EngineError> {
        let Some(dir) = cases.first().map(|open| open.opening.run_dir.clone()) else { return Ok(()) };
        if RunLock::is_held(&dir) {
            cases.iter().for_each(|open| self.done(open, Recovery::Live));
            return Ok(());
        }
        // Held until the last case is done: two who recover at once would undo each other's work. A folder that is gone
        // cannot be locked, and is nobody's.
        let _lock = if dir.is_dir() { Some(RunLock::acquire(&dir)?) } else { None };
        for open in cases {
            let how = self.case(open, None).await;
            self.done(open, how.unwrap_or_else(|end| Recovery::Failed(end.message)));
        }
        Ok(())
    }

    /// Puts one case back. Where its run has not ended, the case is written down as interrupted.
    async fn case(&self, open: &OpenCase, dispatcher: Option<&Dispatcher>) -> Result<Recovery, End> {
        let Some(db) = self.db else { return Err(End::infrastructure("there is no journal")) };
        let unusable = |what: &str, why: String| End::infrastructure(format!("the saved {what} cannot be used: {why}"));
        let dossier: Dossier = serde_json::from_value(open.opening.document.clone())
            .map_err(|error| unusable("case", error.to_string()))?;
        let failure = unpack(&open.opening.package).map_err(|why| unusable("failure", why))?;
        let cluster = connect(&dossier.cluster).await.map_err(|error| End::infrastructure(error.to_string()))?;
        let client = cluster.client();
        let case = match &dossier.identity {
            Some(identity) => identity.id.clone(),
            None => held_by_hand(failure.id()).ok_or_else(|| End::infrastructure("no case id"))?,
        };
        let log_dir = open.opening.run_dir.join("logs").join(case.as_str());
        let (_canceller, cancel) = Cancel::new();
        let scene = SceneRequest {
            owner: Owner {
                identity: dossier.identity.clone(),
                case: open.opening.case_id.clone(),
                run: open.opening.run_id.clone(),
                run_dir: open.opening.run_dir.clone(),
                label: open.opening.label.clone(),
            },
            setting: self.request.setting.clone(),
            failure,
            params: dossier.params.clone(),
            cluster_name: dossier.cluster.context.clone(),
            cluster: Arc::new(cluster),
            namespace: open.opening.namespace.clone(),
            seed: dossier.seed,
            logs: Arc::new(CaseLogs::go_on(case, &log_dir, dispatcher)),
            cancel,
        };
        let mut scene = Scene::reopen(scene, &dossier, open.clone(), db.resume(open.id)).await?;
        let leaks = match (dispatcher, dossier.identity) {
            (Some(dispatcher), Some(identity)) => {
                let mut record = Record::new(identity, dispatcher.clone());
                record.began(open.opened_at);
                put_back(&mut record, &mut scene).await;
                let leaks = record.leaks.clone();
                let stored = dispatcher.case(record.finish(End::killed())).await;
                stored.map_err(|error| End::infrastructure(error.to_string()))?;
                leaks
            }
            _ => PutBack::of(&mut scene).await.leaks,
        };
        crash_point("recover.undone");
        if let Err(error) = remove_lease(&client, lease_of(&open.opening.label)).await {
            tracing::warn!(%error, "the Lease of a run that was killed could not be deleted; it expires by itself");
        }
        Ok(if leaks.is_empty() { Recovery::PutBack } else { Recovery::Leaked(leaks) })
    }
}

fn held_by_hand(failure: &Id) -> Option<CaseId> {
    let (cluster, agent): (Id, Id) = ("cluster".parse().ok()?, "hand".parse().ok()?);
    Some(CaseId::new(&cluster, failure, &agent, 1))
}

/// The cases that a run had started, with whether they are controls. What cannot be read was not written whole.
fn started(events: &Path) -> (u64, Vec<(CaseId, bool)>) {
    let text = std::fs::read(events).unwrap_or_default();
    let (mut all, mut started) = (0, Vec::new());
    for event in text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Event>(line).ok()) {
        match event {
            Event { event: EventKind::RunStarted { total, .. }, .. } => all = total,
            Event { case: Some(case), event: EventKind::CaseStarted { control, .. }, .. } => {
                started.push((case, control))
            }
            _ => {}
        }
    }
    (all, started)
}

/// What the id of a case tells.
fn identity_of(case: &CaseId, control: bool, run: &RunFile) -> Option<Identity> {
    let CaseParts { cluster, failure, agent, repeat } = case.parts()?;
    let kind = run.clusters.iter().find(|record| record.id == cluster).map(|record| record.kind);
    Some(Identity {
        id: case.clone(),
        cluster,
        cluster_kind: kind.unwrap_or(ClusterKind::Embedded),
        failure,
        agent,
        repeat,
        control,
    })
}
