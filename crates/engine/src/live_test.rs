//! The life of a case whose agent `run-live-test.sh` runs: the script brings failure and agent by itself, between prepare
//! and stop. The host induces nothing; it watches from the script's start and writes down what it saw.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{AgentPreset, Executor};
use executor::live_test::{LiveTestResult, LiveTestRun};
use executor::{Exit, LiveReport, Stream};
use gate::{Policy, Power};
use judge::{LiveEnding, Reported};
use model::{AnswerRecord, LogStream, Party, Phase, PhaseResult, Witness, WitnessKind};

use crate::Setting;
use crate::case::{CaseRequest, outcome_of};
use crate::logs::CaseLogs;
use crate::record::{End, Record};
use crate::scene::Scene;
use crate::watches::Watches;

/// Cluster time for what the script did last to be seen.
const LAST_SIGHT: Duration = Duration::from_secs(1);

/// What an agent needs and is not there, with how to get it; none when everything is.
pub async fn missing(preset: &AgentPreset, setting: &Setting) -> Option<String> {
    match missing_script(preset, setting) {
        None => executor::agent::missing(preset, &setting.harness_exe).await,
        missing => missing,
    }
}

/// Why the script cannot run an agent on this machine; none when it can, and for agents that run without it.
fn missing_script(preset: &AgentPreset, setting: &Setting) -> Option<String> {
    if preset.executor != Executor::LiveTest {
        return None;
    }
    let (id, grants) = (&preset.id, "`executors: {live_test_script: PATH}` in the grants file");
    match script(setting) {
        None => Some(format!(
            "agent `{id}` is run by run-live-test.sh, and there is none: name it with {grants}, or give the preset \
             agents/{id}.yaml a `command`"
        )),
        Some(path) if executor::find_program(&path.display().to_string()).is_none() => Some(format!(
            "agent `{id}` is run by {}, which is no program that can be started; see {grants}",
            path.display()
        )),
        Some(_) => None,
    }
}

/// The operator's script. A name without a folder would be looked for on PATH, where the operator has not put it.
fn script(setting: &Setting) -> Option<PathBuf> {
    let path = setting.grants.executors.live_test_script.as_deref()?;
    std::path::absolute(Path::new(path)).ok()
}

/// Why the script may not be let at a cluster: its grant asks for a sandbox there, and the script has none.
pub(crate) fn refused(preset: &AgentPreset, required: bool) -> Option<End> {
    (required && preset.executor == Executor::LiveTest).then(|| {
        End::infrastructure(format!(
            "the grant of agent `{}` says `require_sandbox`, and run-live-test.sh runs without one; give the agent a preset \
             with a `command`, or run it on a cluster that a provisioner made",
            preset.id
        ))
    })
}

/// From the prepared scene to the verdict.
pub(crate) async fn attempt(
    request: &CaseRequest,
    record: &mut Record,
    scene: &mut Scene,
    watches: &mut Watches,
    logs: &Arc<CaseLogs>,
) -> Result<End, End> {
    let phase = record.begin(Phase::Agent).await;
    let result = run_script(request, scene, watches, logs).await;
    let (phase_result, message) = outcome_of(&result);
    record.end(phase, phase_result, message).await;
    let result = result?;
    let _ = watches.pump_until(LAST_SIGHT, |observer, _| observer.witnessed()).await;
    record.witness = Some(witness(scene, watches, result.report.as_ref()));
    record.isolation = result.isolation.clone();
    record.answer = AnswerRecord { missing: true, ..AnswerRecord::default() };
    let (counts, records) = logs.agent_requests();
    // The operator's own kubeconfig leads to clusters that were there before; to one that was made for the case, only the
    // gate does.
    record.gated = scene.cluster.disposable && counts.requests > 0;
    if request.cancel.interrupted().is_some() {
        return Err(End::interrupted());
    }
    let phase = record.begin(Phase::Judge).await;
    let reported = result.report.as_ref().map(reported);
    let times = (result.started_at, result.finished_at);
    record.verdict = Some(judge::score_live(reported.as_ref(), record.gated, &records, times, &record.usage));
    record.end(phase, PhaseResult::Ok, None).await;
    Ok(judge::decide_live(reported.as_ref(), &ending(&result.exit)).into())
}

/// Lets the script at the scene, at wall time, with what failure and agent may do together.
async fn run_script(
    request: &CaseRequest,
    scene: &mut Scene,
    watches: &mut Watches,
    logs: &Arc<CaseLogs>,
) -> Result<LiveTestResult, End> {
    let script = script(&request.setting).ok_or_else(|| End::skipped("there is no run-live-test.sh"))?;
    scene.let_induce(watches).await?;
    let policy = policy(request, scene)?;
    let _wall_time = scene.clock.keep_wall_time().await;
    let endpoint = scene
        .gate
        .serve(Party::Agent, Arc::new(policy))
        .map_err(|error| End::infrastructure(format!("the gate's proxy: {error}")))?;
    let lines = Arc::clone(logs);
    let run = LiveTestRun {
        script: &script,
        agent: request.preset.id.as_str(),
        test_type: request.failure.id().as_str(),
        args: &request.args,
        kubeconfig: endpoint.kubeconfig(),
        namespace: &scene.namespace,
        pod_name: &scene.pod_name(),
        harness_exe: &request.setting.harness_exe,
        stdout_log: request.log_dir.join("agent.stdout"),
        stderr_log: request.log_dir.join("agent.stderr"),
        deadline: Instant::now() + request.time,
        on_line: Arc::new(move |stream, line: &str| {
            let stream = match stream {
                Stream::Stdout => LogStream::AgentStdout,
                Stream::Stderr => LogStream::AgentStderr,
            };
            lines.line(stream, line)
        }),
    };
    let result = watches.pump_while(executor::live_test::run(run, request.cancel.raised())).await;
    endpoint.shutdown().await;
    Ok(result)
}

fn policy(request: &CaseRequest, scene: &Scene) -> Result<Policy, End> {
    let agent = request.preset.id.as_str();
    let power = request.setting.grants.agent(agent, &request.access, scene.cluster.site(&scene.cluster_name));
    let agents = power.map_err(|error| End::test(error.to_string()))?.policy(&scene.namespace);
    let failures = scene.plugin_policy();
    let both = Power {
        rules: failures.rules().iter().chain(agents.rules()).cloned().collect(),
        hazards: failures.hazards().union(agents.hazards()).copied().collect(),
    };
    Ok(Policy::from_power(both).with_subject(format!("run-live-test.sh with agent `{agent}`")).within_limits())
}

/// What the host has seen, or else what the script says.
fn witness(scene: &Scene, watches: &Watches, report: Option<&LiveReport>) -> Witness {
    let testimony = scene.testimony(&watches.observer);
    if testimony.kind == WitnessKind::Host && watches.observer.witnessed() {
        return testimony;
    }
    let told = report.is_some_and(|report| report.failure_induced != Some(false));
    Witness { kind: if told { WitnessKind::Reported } else { WitnessKind::None }, ..testimony }
}

fn reported(report: &LiveReport) -> Reported {
    Reported {
        status: report.status.as_str().to_owned(),
        incident_detected: report.incident_detected,
        evidence: report.evidence.clone(),
    }
}

fn ending(exit: &Exit) -> LiveEnding {
    match exit {
        Exit::Code(_) | Exit::Signal(_) => LiveEnding::Ended(exit.to_string()),
        Exit::TimedOut => LiveEnding::TimedOut,
        Exit::Capped(what) => LiveEnding::Capped(what.clone()),
        Exit::Cancelled => LiveEnding::Cancelled,
        Exit::NotStarted(why) => LiveEnding::NotStarted(why.clone()),
    }
}
