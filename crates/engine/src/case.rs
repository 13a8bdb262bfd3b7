//! The life of a case: lease, prepare, induce, witness, agent, judge, then stop and certify whatever happened between.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use catalog::{AgentPreset, Executor, Failure, GroundTruth};
use cluster::Cluster;
use executor::agent::AgentResult;
use futures::FutureExt;
use gate::crash_point;
use jiff::Timestamp;
use judge::{Mitigation, ScoreInput};
use model::{CaseFile, Class, Objective, Outcome, Phase, PhaseResult, RunId};
use serde_json::Value;

use crate::agent::{AgentCall, ending, let_in, refused};
use crate::dispatcher::Dispatcher;
use crate::groups::is_verdict;
use crate::live_test;
use crate::logs::CaseLogs;
use crate::occupancy::Occupancy;
use crate::pool::Pool;
use crate::put_back::put_back;
use crate::record::{End, Identity, Record};
use crate::scene::{Owner, Scene, SceneRequest, broken, missing_programs, namespace_of};
use crate::spending::Spending;
use crate::watches::Watches;
use crate::{Cancel, Setting};

/// Cluster time, after the agent has ended, for what it changed to become healthy, besides the window of the check.
pub(crate) const SETTLE: Duration = Duration::from_secs(60);

/// Everything about one case that is known before it starts.
pub(crate) struct CaseRequest {
    pub(crate) identity: Identity,
    pub(crate) setting: Setting,
    pub(crate) failure: Failure,
    pub(crate) params: BTreeMap<String, Value>,
    pub(crate) preset: AgentPreset,
    pub(crate) args: Vec<String>,
    pub(crate) objective: Objective,
    pub(crate) access: String,
    pub(crate) time: Duration,
    pub(crate) pool: Arc<Pool>,
    /// The number of its cluster in the pool.
    pub(crate) lane: usize,
    pub(crate) occupancy: Arc<Occupancy>,
    pub(crate) spending: Arc<Spending>,
    pub(crate) run: RunId,
    pub(crate) run_dir: PathBuf,
    pub(crate) seed: u64,
    pub(crate) log_dir: PathBuf,
    pub(crate) artifacts_dir: PathBuf,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) cancel: Cancel,
}

impl std::fmt::Debug for CaseRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaseRequest").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Leads a case through its life, once. Whatever goes wrong is in the file that comes back.
pub(crate) async fn run_case(request: &CaseRequest, attempt: u32) -> CaseFile {
    let mut record = Record::new(request.identity.clone(), request.dispatcher.clone());
    record.attempt = attempt;
    let missing = match missing_programs(&request.failure) {
        None => live_test::missing(&request.preset, &request.setting).await,
        missing => missing,
    };
    if let Some(missing) = missing {
        return record.finish(End::skipped(missing));
    }
    let logs = match CaseLogs::create(record.id().clone(), &request.log_dir, request.dispatcher.clone()) {
        Ok(logs) => Arc::new(logs),
        Err(error) => return record.finish(End::infrastructure(format!("the logs of the case: {error}"))),
    };
    let end = on_a_cluster(request, &mut record, &logs).await;
    (record.gate, _) = logs.agent_requests();
    record.denied = logs.denied();
    if let Err(error) = logs.flush() {
        return record.finish(End::infrastructure(format!("the logs of the case: {error}")));
    }
    record.finish(end)
}

/// Has a cluster, and gives it back whatever happens on it.
async fn on_a_cluster(request: &CaseRequest, record: &mut Record, logs: &Arc<CaseLogs>) -> End {
    let phase = record.begin(Phase::Lease).await;
    let leased = unless_interrupted(request, request.pool.lease(request.lane, request.seed)).await;
    let cluster = match leased {
        Ok(cluster) => cluster,
        Err(end) => {
            record.end(phase, PhaseResult::Failed, Some(end.message.clone())).await;
            return end;
        }
    };
    let scene = set(request, Arc::clone(&cluster), logs).await;
    let (result, message) = outcome_of(&scene);
    record.end(phase, result, message).await;
    let end = match scene {
        Ok(scene) => there_and_back(request, record, scene, logs).await,
        Err(end) => end,
    };
    let (all, agent) = (cluster.clock.worked(), record.cluster_for_agent);
    tracing::debug!(case = %record.id(), all_us = all.as_micros(), agent_us = agent.as_micros(), "work of the cluster");
    let clean = record.leaks.is_empty();
    if let Err(error) = request.pool.give_back(request.lane, cluster, clean).await {
        record.say(format!("the cluster could not be removed: {error}")).await;
    }
    end
}

/// The scene is gone when this returns.
async fn there_and_back(request: &CaseRequest, record: &mut Record, mut scene: Scene, logs: &Arc<CaseLogs>) -> End {
    let end = guarded(request, record, &mut scene, logs).await;
    // Asked before the way back, which may find the cluster answering again.
    let end = whose(end, &scene);
    let unstoppable = put_back(record, &mut scene).await;
    if let (Some(reference), Some(leak)) = (&scene.cluster.reference, record.leaks.first()) {
        let why = format!("{} is {} after {}", leak.object, leak.what, record.id());
        request.occupancy.quarantine(&reference.server, why);
    }
    // A failure that cannot stop is unfit, and nobody is judged by it; what went wrong before it says more.
    unstoppable.filter(|_| is_verdict(end.outcome)).unwrap_or(end)
}

/// Sets the scene on a cluster.
async fn set(request: &CaseRequest, cluster: Arc<Cluster>, logs: &Arc<CaseLogs>) -> Result<Scene, End> {
    let agent = request.preset.id.as_str();
    let site = cluster.site(request.identity.cluster.as_str());
    // An access that there is not ends the case later, with its name.
    let required = request.setting.grants.agent(agent, &request.access, site).is_ok_and(|power| power.require_sandbox);
    let required = required && !cluster.disposable;
    let refusal = live_test::refused(&request.preset, required);
    if let Some(end) = refusal.or_else(|| refused(agent, required, executor::sandbox_available())) {
        return Err(end);
    }
    let identity = &request.identity;
    request.occupancy.occupy(&cluster).await?;
    Scene::open(SceneRequest {
        setting: request.setting.clone(),
        failure: request.failure.clone(),
        params: request.params.clone(),
        cluster,
        cluster_name: identity.cluster.to_string(),
        namespace: namespace_of(request.seed),
        seed: request.seed,
        logs: Arc::clone(logs),
        cancel: request.cancel.clone(),
        owner: Owner {
            identity: Some(identity.clone()),
            case: identity.id.to_string(),
            run: request.run.to_string(),
            run_dir: request.run_dir.clone(),
            label: request.occupancy.case_label(request.seed),
        },
    })
    .await
}

/// Runs the part that may fail, so that a panic in it does not skip putting the cluster back.
async fn guarded(request: &CaseRequest, record: &mut Record, scene: &mut Scene, logs: &Arc<CaseLogs>) -> End {
    match AssertUnwindSafe(attempt(request, record, scene, logs)).catch_unwind().await {
        Ok(Ok(end) | Err(end)) => end,
        Err(panic) => {
            let what = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            End::infrastructure(format!("a bug in the harness: {what}"))
        }
    }
}

async fn attempt(
    request: &CaseRequest,
    record: &mut Record,
    scene: &mut Scene,
    logs: &Arc<CaseLogs>,
) -> Result<End, End> {
    let phase = record.begin(Phase::Prepare).await;
    let prepared = unless_interrupted(request, scene.prepare()).await;
    let (result, message) = outcome_of(&prepared);
    record.end(phase, result, message).await;
    let mut watches = prepared?;
    crash_point("case.prepared");
    record.params = scene.resolved.params.clone();
    if request.preset.executor == Executor::LiveTest {
        return live_test::attempt(request, record, scene, &mut watches, logs).await;
    }

    let phase = record.begin(Phase::Induce).await;
    let induced = unless_interrupted(request, scene.induce(&mut watches)).await;
    let (result, message) = outcome_of(&induced);
    record.end(phase, result, message).await;
    crash_point("case.induced");
    let time = induced?.map_or(request.time, |given| given.min(request.time));

    let phase = record.begin(Phase::Witness).await;
    let witnessed = unless_interrupted(request, scene.witness(&mut watches)).await;
    let (result, message) = outcome_of(&witnessed);
    record.end(phase, result, message).await;
    record.witness = Some(match &witnessed {
        Ok(witness) => witness.clone(),
        Err(_) => scene.testimony(&watches.observer),
    });
    witnessed?;
    crash_point("case.witnessed");

    let result = agent(request, record, scene, &mut watches, time, logs).await?;
    crash_point("case.agent");
    if request.cancel.interrupted().is_some() {
        return Err(End::interrupted());
    }
    let end = judge(request, record, scene, &mut watches, result, logs).await;
    crash_point("case.judged");
    end
}

/// A cluster that went away makes everything fail that needs it, and nobody else is to blame for that.
fn whose(end: End, scene: &Scene) -> End {
    let judged = !matches!(end.outcome, Outcome::Interrupted | Outcome::Skipped | Outcome::Passed);
    match scene.gate.lost_since() {
        Some(since) if judged && end.class != Some(Class::Infrastructure) => {
            End::no_cluster(format!("the cluster has not answered since {since}: {}", end.message))
        }
        _ => end,
    }
}

/// An interruption ends every phase at once but the agent's, which ends its processes first.
async fn unless_interrupted<T>(request: &CaseRequest, work: impl Future<Output = Result<T, End>>) -> Result<T, End> {
    request.cancel.unless(work).await.unwrap_or_else(|| Err(End::interrupted()))
}

async fn agent(
    request: &CaseRequest,
    record: &mut Record,
    scene: &Scene,
    watches: &mut Watches,
    time: Duration,
    logs: &Arc<CaseLogs>,
) -> Result<AgentResult, End> {
    let phase = record.begin(Phase::Agent).await;
    watches.reset_health();
    let call = AgentCall {
        setting: &request.setting,
        preset: &request.preset,
        args: &request.args,
        objective: request.objective,
        access: &request.access,
        time,
        log_dir: request.log_dir.clone(),
        artifacts_dir: request.artifacts_dir.clone(),
        logs: Arc::clone(logs),
        cancel: request.cancel.clone(),
    };
    let before = scene.cluster.clock.worked();
    let result = let_in(call, scene, watches).await;
    record.cluster_for_agent = scene.cluster.clock.worked().saturating_sub(before);
    let (phase_result, message) = outcome_of(&result);
    record.end(phase, phase_result, message).await;
    let result = result?;
    record.gated = true;
    record.isolation = result.isolation.clone();
    record.answer = result.answer.clone();
    record.usage = result.usage.clone();
    record.artifacts = result.artifacts.clone();
    Ok(result)
}

async fn judge(
    request: &CaseRequest,
    record: &mut Record,
    scene: &Scene,
    watches: &mut Watches,
    agent: AgentResult,
    logs: &Arc<CaseLogs>,
) -> Result<End, End> {
    let phase = record.begin(Phase::Judge).await;
    let (counts, records) = logs.agent_requests();
    let mitigation = mitigation(request.objective, scene, watches, counts.mutations > 0).await;
    // Nobody is judged by a cluster that has gone meanwhile, whatever was last seen of it.
    if let Err(end) = scene.answers().await {
        record.end(phase, PhaseResult::Failed, Some(end.message.clone())).await;
        return Err(end);
    }
    let verdict = judge::score(&ScoreInput {
        objective: request.objective,
        ground_truth: scene.resolved.ground_truth.as_ref(),
        answer: &record.answer,
        mitigation,
        records: &records,
        objects: &watches.objects(),
        namespace: &scene.namespace,
        started_at: agent.started_at,
        finished_at: agent.finished_at,
        usage: &record.usage,
    });
    let decision = judge::decide(&verdict, &record.answer, &ending(&agent));
    record.verdict = Some(verdict);
    record.end(phase, PhaseResult::Ok, None).await;
    Ok(decision.into())
}

/// Whether health holds after the agent, over the windows of the checks; asked only where it is part of the objective.
pub(crate) async fn mitigation(
    objective: Objective,
    scene: &Scene,
    watches: &mut Watches,
    touched: bool,
) -> Mitigation {
    if objective == Objective::Diagnose {
        return Mitigation::NotAsked;
    }
    if !scene.checks.declares_health() {
        return Mitigation::Unknown("the failure declares no health check".into());
    }
    let healthy_from_the_start = scene.resolved.ground_truth.as_ref().is_some_and(GroundTruth::is_none);
    if healthy_from_the_start && watches.was_unhealthy() {
        return Mitigation::NotHealthy("health did not hold all the time although nothing was wrong".into());
    }
    if !touched && !watches.observer.holds_now() {
        let broken = broken(&watches.observer, scene.clock.now());
        return Mitigation::NotHealthy(format!(
            "{broken} did not hold when the agent ended, and it had changed nothing"
        ));
    }
    let max = SETTLE + scene.checks.longest_window();
    let end = scene.clock.now().checked_add(max).unwrap_or(Timestamp::MAX);
    let repaired = watches.pump_until(SETTLE, |observer, now| observer.healthy(now)).await.is_ok() || {
        // What does not hold by now may be unable to hold over its window before the end: then nothing is waited for.
        let window = scene.checks.longest_window();
        let _ = watches.pump_until(window, |observer, now| observer.healthy(now) || observer.too_late(now, end)).await;
        watches.observer.healthy(scene.clock.now())
    };
    if repaired {
        return Mitigation::Healthy;
    }
    let broken = broken(&watches.observer, scene.clock.now());
    Mitigation::NotHealthy(format!("{broken} did not come to hold within {} s after the agent", max.as_secs()))
}

pub(crate) fn outcome_of<T>(result: &Result<T, End>) -> (PhaseResult, Option<String>) {
    match result {
        Ok(_) => (PhaseResult::Ok, None),
        Err(end) => (PhaseResult::Failed, Some(end.message.clone())),
    }
}
