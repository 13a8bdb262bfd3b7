//! One failure by itself, for people who write or look at failures: break a cluster, hold it broken, put it back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use catalog::Failure;
use cluster::{ProvisionRequest, Provisioner};
use model::{CaseId, Class, Id, Leak, Outcome, Party, Witness};
use serde_json::Value;
use store::RunLock;

use crate::logs::CaseLogs;
use crate::occupancy::Occupancy;
use crate::put_back::PutBack;
use crate::record::End;
use crate::scene::{Owner, Scene, SceneRequest, missing_programs, namespace_of};
use crate::{Cancel, Setting};

/// What to break, and where.
#[derive(Debug)]
pub struct SingleRequest {
    /// With what.
    pub setting: Setting,
    /// The failure.
    pub failure: Failure,
    /// Its parameters; the others have their defaults.
    pub params: BTreeMap<String, Value>,
    /// What makes the cluster.
    pub provisioner: Arc<dyn Provisioner>,
    /// Its name in the case's id.
    pub cluster: Id,
    /// The namespace of the case; by the seed where none is given.
    pub namespace: Option<String>,
    /// Everything random follows from it.
    pub seed: u64,
    /// Ends the hold early, with everything put back.
    pub cancel: Cancel,
}

/// The failure could not be used, or did not take hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct SingleError {
    /// How a case with it would have ended.
    pub outcome: Outcome,
    /// Whose doing.
    pub class: Option<Class>,
    /// Why.
    pub message: String,
}

impl From<End> for SingleError {
    fn from(end: End) -> Self {
        Self { outcome: end.outcome, class: end.class, message: end.message }
    }
}

/// What a hold tells while it goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// The workload is healthy in this namespace.
    Prepared(String),
    /// `induce` has returned.
    Induced,
    /// The failure has taken hold.
    Witnessed(Witness),
    /// Look at it with this kubeconfig, as long as it is held.
    Ready(String),
    /// `stop` did not succeed.
    StopFailed(String),
    /// Something that people should know about the way back.
    Remark(String),
    /// Everything is put back but these.
    PutBack(Vec<Leak>),
}

/// Breaks, tells, holds until `release` resolves, puts back. It is put back whatever happens before.
///
/// # Errors
/// [`SingleError`]: what kept the failure from taking hold.
pub async fn hold(
    request: SingleRequest,
    mut tell: impl FnMut(Held) + Send,
    release: impl Future<Output = ()> + Send,
) -> Result<(), SingleError> {
    let cancel = request.cancel.clone();
    let case = case_of(&request)?;
    let mut leased = Leased::open(request, Arc::new(CaseLogs::nowhere(case))).await?;
    let held = hold_open(&mut leased.scene, cancel, &mut tell, release).await;
    for problem in leased.give_back().await {
        tell(Held::Remark(problem));
    }
    Ok(held?)
}

/// The id of a case that is nobody's.
pub(crate) fn case_of(request: &SingleRequest) -> Result<CaseId, End> {
    let agent: Id = "hand".parse().map_err(|_| End::infrastructure("no id"))?;
    Ok(CaseId::new(&request.cluster, request.failure.id(), &agent, 1))
}

/// A scene of one failure by itself, with what holds its cluster.
pub(crate) struct Leased {
    pub(crate) scene: Scene,
    occupancy: Occupancy,
    locked: Option<Locked>,
}

impl Leased {
    /// Takes the cluster and sets the scene up; parameters that are not given are the seed's choice.
    pub(crate) async fn open(request: SingleRequest, logs: Arc<CaseLogs>) -> Result<Self, End> {
        if let Some(missing) = missing_programs(&request.failure) {
            return Err(End::skipped(missing));
        }
        let case = case_of(&request)?;
        let name = format!("hold-{:08x}", rand::random::<u32>());
        let asked = ProvisionRequest { name: format!("harness-{name}"), seed: request.seed };
        let cluster = request.provisioner.provision(asked).await;
        let cluster = cluster.map_err(|error| End::infrastructure(error.to_string()))?;
        let occupancy = Occupancy::of_run(&name);
        occupancy.occupy(&cluster).await?;
        let locked = match &cluster.reference {
            None => None,
            Some(_) => Some(Locked::at(request.setting.journals.results().join(&name)).map_err(End::infrastructure)?),
        };
        let opened = Scene::open(SceneRequest {
            owner: Owner {
                identity: None,
                case: case.to_string(),
                run: name,
                run_dir: locked.as_ref().map(|locked| locked.dir.clone()).unwrap_or_default(),
                label: occupancy.label().to_owned(),
            },
            params: request.failure.metadata.params.seeded(&request.params, request.seed),
            setting: request.setting,
            failure: request.failure,
            cluster: Arc::new(cluster),
            cluster_name: request.cluster.to_string(),
            namespace: request.namespace.unwrap_or_else(|| namespace_of(request.seed)),
            seed: request.seed,
            logs,
            cancel: request.cancel,
        })
        .await;
        match opened {
            Ok(scene) => Ok(Self { scene, occupancy, locked }),
            Err(end) => {
                let problems = occupancy.release().await;
                Err(End { message: [vec![end.message], problems].concat().join("; "), ..end })
            }
        }
    }

    /// Gives the cluster back, which is put back already; what comes back are problems with that.
    pub(crate) async fn give_back(self) -> Vec<String> {
        let Self { scene, occupancy, locked } = self;
        let problems = occupancy.release().await;
        drop((scene, locked));
        problems
    }
}

async fn hold_open(
    scene: &mut Scene,
    cancel: Cancel,
    tell: &mut (impl FnMut(Held) + Send),
    release: impl Future<Output = ()> + Send,
) -> Result<(), End> {
    let held = cancel.unless(broken(scene, tell, release)).await.unwrap_or_else(|| Err(End::interrupted()));
    let back = PutBack::of(scene).await;
    if let Some(error) = back.stop {
        tell(Held::StopFailed(error.message));
    }
    for remark in back.remarks {
        tell(Held::Remark(remark));
    }
    tell(Held::PutBack(back.leaks));
    held
}

/// The lock by which recovery sees that this process lives, in a folder that is gone afterwards.
struct Locked {
    dir: PathBuf,
    _lock: RunLock,
}

impl Locked {
    fn at(dir: PathBuf) -> Result<Self, String> {
        std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let lock = RunLock::acquire(&dir).map_err(|error| error.to_string())?;
        Ok(Self { dir, _lock: lock })
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // What stays is an empty folder.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn broken(
    scene: &mut Scene,
    tell: &mut (impl FnMut(Held) + Send),
    release: impl Future<Output = ()> + Send,
) -> Result<(), End> {
    let mut watches = scene.prepare().await?;
    tell(Held::Prepared(scene.namespace.clone()));
    scene.induce(&mut watches).await?;
    tell(Held::Induced);
    let witness = scene.witness(&mut watches).await?;
    tell(Held::Witnessed(witness));
    let _wall_time = scene.clock.keep_wall_time().await;
    let endpoint = scene
        .gate
        .serve(Party::Host, Arc::new(gate::Policy::everything()))
        .map_err(|error| End::infrastructure(format!("the gate's proxy: {error}")))?;
    tell(Held::Ready(endpoint.kubeconfig().to_owned()));
    watches.pump_while(release).await;
    endpoint.shutdown().await;
    Ok(())
}
