//! One failure by itself, for people who write or look at failures: break a cluster, hold it broken, put it back.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::Failure;
use cluster::Provisioner;
use model::{CaseId, Class, Id, Leak, Outcome, Party, Witness};
use serde_json::Value;

use crate::logs::CaseLogs;
use crate::record::End;
use crate::scene::{Scene, SceneRequest, missing_programs};
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
    if let Some(missing) = missing_programs(&request.failure) {
        return Err(End::skipped(missing).into());
    }
    let cluster = request.provisioner.provision(request.seed).await;
    let cluster = cluster.map_err(|error| End::infrastructure(error.to_string()))?;
    let agent: Id = "hand".parse().map_err(|_| End::infrastructure("no id"))?;
    let case = CaseId::new(&request.cluster, request.failure.id(), &agent, 1);
    let mut scene = Scene::open(SceneRequest {
        setting: request.setting,
        failure: request.failure,
        params: request.params,
        cluster,
        cluster_name: request.cluster.to_string(),
        seed: request.seed,
        logs: Arc::new(CaseLogs::nowhere(case)),
        cancel: request.cancel.clone(),
    })
    .await?;
    let held =
        request.cancel.unless(broken(&mut scene, &mut tell, release)).await.unwrap_or_else(|| Err(End::interrupted()));
    if let Err(error) = scene.stop().await {
        tell(Held::StopFailed(error));
    }
    tell(Held::PutBack(scene.remove_namespace().await));
    Ok(held?)
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
