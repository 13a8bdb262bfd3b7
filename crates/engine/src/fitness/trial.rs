//! One case of a proof: broken as any case, with a deed in place of an agent, judged and put back as any case.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use catalog::Capabilities;
use futures::future::{Either, select};
use gate::Grants;
use jiff::Timestamp;
use judge::ScoreInput;
use model::{AnswerRecord, Column, DeniedRequest, GateRecord, Objective, Party, Phase, Usage, Witness};
use sha2::{Digest, Sha256};

use super::deeds::{Deed, NotDone, perform};
use super::stage::Stage;
use super::{FitnessRequest, ProvedOn};
use crate::case::mitigation;
use crate::logs::CaseLogs;
use crate::objects::Objects;
use crate::put_back::PutBack;
use crate::record::End;
use crate::scene::Scene;
use crate::single::{Leased, SingleRequest, case_of};

/// What became of one case.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// Where it was.
    pub(crate) cluster: Option<ProvedOn>,
    /// How far it came, and what kept it from going on.
    pub(crate) ended: Option<(Phase, End)>,
    /// What was seen.
    pub(crate) witness: Option<Witness>,
    /// From `induce` until the last symptom, cluster time.
    pub(crate) took: Option<Duration>,
    /// What of the deed could not be done.
    pub(crate) not_done: Option<NotDone>,
    /// Mitigation and safety.
    pub(crate) judged: Option<(Column, Column)>,
    /// The way back.
    pub(crate) back: PutBack,
    /// What the failure declares, in this case.
    pub(crate) declared: Capabilities,
    /// What the failure asked of the cluster and was allowed.
    pub(crate) used: Vec<GateRecord>,
    /// What was denied to anybody.
    pub(crate) denied: Vec<DeniedRequest>,
}

impl Trial {
    /// It was never begun, or ended before it could be judged.
    fn at(phase: Phase, end: End) -> Self {
        Self { ended: Some((phase, end)), ..Self::default() }
    }
}

/// Leads a case to its end; with other grants than those of the request, where some are given. `number` tells the cases of a
/// proof apart.
pub(crate) async fn run(
    request: &FitnessRequest,
    grants: Option<Arc<Grants>>,
    deed: Deed,
    number: usize,
    stage: &Stage,
) -> Trial {
    let work = pin!(lead(request, grants, deed, number, stage));
    match select(work, pin!(stage.slow())).await {
        Either::Left((trial, _)) => {
            stage.done();
            trial
        }
        Either::Right((never, _)) => match never {},
    }
}

async fn lead(
    request: &FitnessRequest,
    grants: Option<Arc<Grants>>,
    deed: Deed,
    number: usize,
    stage: &Stage,
) -> Trial {
    let single = single(request, grants, number);
    let logs = match case_of(&single) {
        Ok(case) => Arc::new(CaseLogs::of_a_proof(case)),
        Err(end) => return Trial::at(Phase::Lease, end),
    };
    let mut leased = match Leased::open(single, Arc::clone(&logs)).await {
        Ok(leased) => leased,
        Err(end) => return Trial::at(Phase::Lease, end),
    };
    let scene = &mut leased.scene;
    let version = scene.gate.keeper().apiserver_version().await.map(|info| info.git_version).unwrap_or_default();
    let mut trial = Trial { cluster: Some(ProvedOn { kind: scene.cluster.kind, version }), ..Trial::default() };
    trial.declared = scene.resolved.capabilities.clone();
    let attempted = request.cancel.unless(attempt(request, scene, deed, &logs, &mut trial, stage)).await;
    trial.ended = attempted.unwrap_or_else(|| Err((Phase::Lease, End::interrupted()))).err();
    stage.enter(Phase::Stop);
    trial.back = PutBack::of(scene).await;
    trial.back.remarks.extend(leased.give_back().await);
    trial.used = logs.used();
    trial.denied = logs.denied();
    trial
}

fn single(request: &FitnessRequest, grants: Option<Arc<Grants>>, number: usize) -> SingleRequest {
    let mut setting = request.setting.clone();
    setting.grants = grants.unwrap_or(setting.grants);
    SingleRequest {
        setting,
        failure: request.failure.clone(),
        params: BTreeMap::new(),
        provisioner: Arc::clone(&request.provisioner),
        cluster: request.cluster.clone(),
        namespace: Some(namespace(request, number)),
        seed: request.seed,
        cancel: request.cancel.clone(),
    }
}

/// One of its own for each case of a proof, since they may share a cluster: names in it are the seed's choice all the same.
pub(crate) fn namespace(request: &FitnessRequest, number: usize) -> String {
    let digest = Sha256::digest(format!("{}/{}/{number}", request.seed, request.failure.id()));
    format!("c-{:.5}", hex::encode(digest))
}

async fn attempt(
    request: &FitnessRequest,
    scene: &mut Scene,
    deed: Deed,
    logs: &CaseLogs,
    trial: &mut Trial,
    stage: &Stage,
) -> Result<(), (Phase, End)> {
    let at = |phase| move |end| (phase, end);
    stage.enter(Phase::Prepare);
    let mut watches = scene.prepare().await.map_err(at(Phase::Prepare))?;
    stage.enter(Phase::Induce);
    let before = scene.clock.now();
    scene.induce(&mut watches).await.map_err(at(Phase::Induce))?;
    stage.enter(Phase::Witness);
    let witnessed = scene.witness(&mut watches).await;
    let witness = scene.testimony(&watches.observer);
    let last = witness.symptoms.iter().filter_map(|symptom| symptom.at).max();
    trial.took = last.and_then(|last| Duration::try_from(before.duration_until(last)).ok());
    trial.witness = Some(witness);
    witnessed.map_err(at(Phase::Witness))?;
    stage.enter(Phase::Agent);
    watches.reset_health();
    let started_at = Timestamp::now();
    let steps = deed.steps(&scene.resolved);
    if !steps.is_empty() {
        let access = request.failure.metadata.repair_access.as_str();
        let site = scene.cluster.site(&scene.cluster_name);
        let power = request.setting.grants.agent(REPAIRER, access, site);
        let power = power.map_err(|error| (Phase::Agent, End::test(error.to_string())))?;
        let policy = power.policy(&scene.namespace).within_limits();
        let objects = Objects::new(scene.gate.client(Party::Agent, Arc::new(policy)));
        let done = watches.pump_while(perform(&objects, &steps, &scene.namespace)).await;
        trial.not_done = done.err();
        if trial.not_done.is_some() {
            return Ok(());
        }
    }
    stage.enter(Phase::Judge);
    let mitigation = mitigation(Objective::Mitigate, scene, &mut watches, true).await;
    scene.answers().await.map_err(at(Phase::Judge))?;
    let (_, records) = logs.agent_requests();
    let verdict = judge::score(&ScoreInput {
        objective: Objective::Mitigate,
        ground_truth: scene.resolved.ground_truth.as_ref(),
        answer: &AnswerRecord::default(),
        mitigation,
        records: &records,
        objects: &watches.objects(),
        namespace: &scene.namespace,
        started_at,
        finished_at: Timestamp::now(),
        usage: &Usage::default(),
    });
    trial.judged = Some((verdict.mitigation, verdict.safety));
    Ok(())
}

/// Whose access a reference fix has, as grants name it.
pub(crate) const REPAIRER: &str = "reference-fix";

/// The symptoms that hold on a cluster where nothing behaves once the workload is healthy; none where no cluster can be
/// made to stand still. Such a cluster cannot be put back, and is thrown away.
pub(crate) async fn frozen(request: &FitnessRequest) -> Option<Result<Vec<String>, End>> {
    let single = single(request, None, 0);
    let case = match case_of(&single) {
        Ok(case) => case,
        Err(end) => return Some(Err(end)),
    };
    if single.provisioner.existing().is_some() {
        return None;
    }
    let mut leased = match Leased::open(single, Arc::new(CaseLogs::nowhere(case))).await {
        Ok(leased) => leased,
        Err(end) => return Some(Err(end)),
    };
    let freeze = leased.scene.cluster.freeze.clone()?;
    let max = leased.scene.witness_time();
    let held = async {
        let scene = &mut leased.scene;
        let mut watches = scene.prepare().await?;
        freeze();
        // Code that waits for something to happen gives up here, which is as good as coming to its end.
        let _ = scene.induce(&mut watches).await;
        let _ = watches.pump_until(max, |_, _| false).await;
        let seen = watches.observer.symptoms().into_iter().filter(|symptom| symptom.at.is_some());
        Ok(seen.map(|symptom| symptom.name).collect())
    };
    let held = request.cancel.unless(held).await.unwrap_or_else(|| Err(End::interrupted()));
    Some(held)
}
