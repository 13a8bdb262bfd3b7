//! One agent by itself at a cluster that is there: through a gate of its own, with nothing induced, judged or put back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{AgentPreset, Executor};
use cluster::{ProvisionRequest, Provisioner};
use executor::OnLine;
use executor::agent::{AgentResult, AgentRun};
use gate::{Gate, GateConfig};
use model::{Objective, Party};

use crate::agent::{GIVEN, refused, task};
use crate::record::End;
use crate::single::SingleError;
use crate::{Cancel, Setting};

/// Which agent, and where.
pub struct VisitRequest {
    /// With what.
    pub setting: Setting,
    /// The agent.
    pub preset: AgentPreset,
    /// Appended to its command.
    pub args: Vec<String>,
    /// What leads to the cluster; the operator must have named it.
    pub provisioner: Arc<dyn Provisioner>,
    /// What it is to look at.
    pub namespace: String,
    /// What it is asked.
    pub objective: Objective,
    /// What it may do at most, in that namespace.
    pub access: String,
    /// Its time.
    pub time: Duration,
    /// Where its logs go; there already.
    pub folder: PathBuf,
    /// Called with each line of its output.
    pub on_line: OnLine,
    /// Ends it early.
    pub cancel: Cancel,
}

impl std::fmt::Debug for VisitRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VisitRequest").field("preset", &self.preset.id).finish_non_exhaustive()
    }
}

/// Lets the agent at the cluster until it ends or its time is up.
///
/// # Errors
/// [`SingleError`]: what kept it from being let in.
pub async fn visit(request: VisitRequest) -> Result<AgentResult, SingleError> {
    let VisitRequest { setting, preset, namespace, .. } = &request;
    if preset.executor != Executor::Command {
        return Err(End::test(format!("agent `{}` has no `command` in its preset", preset.id)).into());
    }
    if let Some(missing) = executor::agent::missing(preset, &setting.harness_exe).await {
        return Err(End::skipped(missing).into());
    }
    let asked = ProvisionRequest { name: format!("visit-{:08x}", rand::random::<u32>()), seed: rand::random() };
    let cluster = request.provisioner.provision(asked).await;
    let cluster = cluster.map_err(|error| End::no_cluster(error.to_string()))?;
    let site = cluster.site("local");
    setting.grants.cluster(site).map_err(|error| End::test(error.to_string()))?;
    let power = setting.grants.agent(preset.id.as_str(), &request.access, site);
    let power = power.map_err(|error| End::test(error.to_string()))?;
    let required = power.require_sandbox && !cluster.disposable;
    if let Some(end) = refused(preset.id.as_str(), required, executor::sandbox_available()) {
        return Err(end.into());
    }
    let gate = Gate::new(GateConfig::new(cluster.upstream.clone(), namespace.clone(), Arc::new(|_| {})));
    let _wall_time = cluster.clock.keep_wall_time().await;
    let endpoint = gate
        .serve(Party::Agent, Arc::new(power.policy(namespace).within_limits()))
        .map_err(|error| End::infrastructure(format!("the gate's proxy: {error}")))?;
    let run = AgentRun {
        preset,
        args: &request.args,
        task: &task(namespace, request.objective, request.time, &cluster.endpoints),
        kubeconfig: endpoint.kubeconfig(),
        harness_exe: &setting.harness_exe,
        hidden: &setting.hidden,
        given_log: request.folder.join(GIVEN),
        stdout_log: request.folder.join("agent.stdout"),
        stderr_log: request.folder.join("agent.stderr"),
        artifacts_dir: request.folder.join("artifacts"),
        deadline: Instant::now() + request.time,
        on_line: Arc::clone(&request.on_line),
    };
    let result = executor::agent::run(run, request.cancel.raised()).await;
    endpoint.shutdown().await;
    gate.settled().await;
    Ok(result)
}
