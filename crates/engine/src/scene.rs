//! The scene of a case: one namespace on one cluster with a workload in it, everything that is done to it by the host
//! and by the failure, and the way back. Agents are let in by `case`; this module knows nothing of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalog::{Failure, Implementation, Origin, Prerequisite, Resolved};
use certify::Baseline;
use clock::Clock;
use cluster::Cluster;
use futures::FutureExt;
use gate::{Endpoint, Gate, GateConfig, Hazard, Policy, Power, crash_point, workload_grants};
use jiff::Timestamp;
use judge::{Checks, Observer};
use model::{Party, Witness, WitnessKind};
use plugin::{Call, Plugin, PluginError, ScriptRunner};
use serde_json::{Value, json};
use store::{CaseJournal, CaseOpening, OpenCase};

use crate::dossier::{self, Dossier};
use crate::keeping::Keeping;
use crate::logs::CaseLogs;
use crate::objects::{Objects, said};
use crate::record::{End, Identity};
use crate::script::Script;
use crate::watches::Watches;
use crate::{Cancel, Setting, claims};

/// Cluster time for the workload to become healthy.
const PREPARE: Duration = Duration::from_secs(300);
/// Cluster time for every watch to tell what has happened until then.
const LAG: Duration = Duration::from_secs(10);
/// Wall and cluster time for one call of `induce` or `stop`.
const CALL: Duration = Duration::from_secs(120);
/// The shortest time in which a failure must take hold, whatever it expects.
const WITNESS_AT_LEAST: Duration = Duration::from_secs(60);
/// Wall time for one step of putting back, whatever the cluster's clock does.
pub(crate) const PUT_BACK: Duration = Duration::from_secs(300);
/// What the journal says of a case that has touched nothing yet.
const OPENED: &str = "";
/// What it says before the failure is induced, and from then on.
const PREPARE_PHASE: &str = "prepare";
const INDUCE_PHASE: &str = "induce";

/// What a scene is made from.
pub(crate) struct SceneRequest {
    pub(crate) setting: Setting,
    pub(crate) failure: Failure,
    pub(crate) params: BTreeMap<String, Value>,
    pub(crate) cluster: Arc<Cluster>,
    /// As the matrix names it.
    pub(crate) cluster_name: String,
    /// The namespace of the case; see [`namespace_of`].
    pub(crate) namespace: String,
    pub(crate) seed: u64,
    pub(crate) logs: Arc<CaseLogs>,
    pub(crate) cancel: Cancel,
    /// Whose case it is, for the journal.
    pub(crate) owner: Owner,
}

/// Whose a case is, as the journal says it.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// None for a failure that is held by hand.
    pub(crate) identity: Option<Identity>,
    pub(crate) case: String,
    pub(crate) run: String,
    /// The folder whose lock is held as long as its process lives.
    pub(crate) run_dir: PathBuf,
    /// Value of the label on everything that is made.
    pub(crate) label: String,
}

/// See the module.
pub(crate) struct Scene {
    pub(crate) gate: Gate,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) namespace: String,
    pub(crate) resolved: Resolved,
    pub(crate) checks: Arc<Checks>,
    pub(crate) cluster: Arc<Cluster>,
    /// As the matrix names it.
    pub(crate) cluster_name: String,
    pub(crate) cancel: Cancel,
    pub(crate) keeping: Keeping,
    pub(crate) baseline: Option<Baseline>,
    pub(crate) script: Option<(Arc<Script>, Endpoint)>,
    pub(crate) induced: bool,
    pub(crate) label: String,
    host: Objects,
    failure: Failure,
    plugin: Plugin,
    plugin_policy: Arc<Policy>,
    workload_policy: Arc<Policy>,
    /// What holds the limits that the operator set for this cluster.
    limits: Vec<Value>,
    state: Arc<Mutex<Option<String>>>,
    seed: u64,
    logs: Arc<CaseLogs>,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// The namespace of the case of this seed.
pub(crate) fn namespace_of(seed: u64) -> String {
    format!("c-{:05x}", seed & 0xf_ffff)
}

/// Why a failure cannot be used on this machine, whatever the cluster; none when it can.
pub(crate) fn missing_programs(failure: &Failure) -> Option<String> {
    failure.metadata.prerequisites.iter().find_map(|prerequisite| match prerequisite {
        Prerequisite::Program(program) if executor::find_program(program).is_none() => Some(format!(
            "failure `{}` needs the program `{program}`, which is not on PATH; install it or leave the failure out",
            failure.id()
        )),
        _ => None,
    })
}

impl Scene {
    /// Sets the scene up without touching the cluster yet. What another process would need to put it back is on disk
    /// when this returns, where the cluster outlives this one.
    pub(crate) async fn open(request: SceneRequest) -> Result<Self, End> {
        let SceneRequest { setting, failure, params, cluster_name, owner, seed, .. } = &request;
        let namespace = request.namespace.clone();
        let site = request.cluster.site(cluster_name);
        claims::check(&setting.plugins, failure).await?;
        let limits = setting.grants.cluster(site).map_err(|error| End::test(error.to_string()))?;
        let limits = limits.map(|cluster| cluster.limit_objects(&namespace)).unwrap_or_default();
        let granted = setting.grants.failure(failure.into(), site);
        if needs_host_script(failure) && !granted.allows(Hazard::HostScript) {
            let mut needed = Power::from(&failure.metadata.capabilities);
            needed.hazards.insert(Hazard::HostScript);
            return Err(End::test(format!(
                "failure `{}` was imported and runs a script on this machine; if you trust it: {}",
                failure.id(),
                granted.lines_for(&needed).unwrap_or_default()
            )));
        }
        let resolved =
            failure.resolve(params, &namespace).map_err(|error| End::test(format!("parameters: {error}")))?;
        let subject = format!("failure `{}`", failure.id());
        let policy = granted.effective(&resolved.capabilities, &namespace).with_subject(subject);
        let keeping = match &request.cluster.reference {
            None => Keeping::memory(),
            Some(reference) => {
                let dossier = Dossier::new(owner.identity.clone(), reference.clone(), params.clone(), &policy, *seed);
                let opening = CaseOpening {
                    run_id: owner.run.clone(),
                    run_dir: owner.run_dir.clone(),
                    case_id: owner.case.clone(),
                    cluster: reference.server.clone(),
                    namespace: namespace.clone(),
                    label: owner.label.clone(),
                    document: serde_json::to_value(&dossier).unwrap_or_default(),
                    package: dossier::pack(failure),
                };
                let kept = Keeping::disk(&setting.journals, opening).await;
                kept.map_err(|error| End::infrastructure(error.to_string()))?
            }
        };
        crash_point("case.opened");
        let past = Past { namespace, keeping, policy, limits, state: None, induced: false, baseline: None };
        Self::assemble(request, past).await
    }

    /// The scene of a case that another process left, for putting it back.
    pub(crate) async fn reopen(
        request: SceneRequest,
        dossier: &Dossier,
        left: OpenCase,
        journal: CaseJournal,
    ) -> Result<Self, End> {
        let baseline = left.baseline.as_deref().map(serde_json::from_slice).transpose();
        let past = Past {
            namespace: left.opening.namespace,
            keeping: Keeping::Disk(journal),
            policy: dossier.policy(),
            limits: Vec::new(),
            state: left.state,
            induced: left.phase != OPENED && left.phase != PREPARE_PHASE,
            baseline: baseline.map_err(|error| End::infrastructure(format!("the saved baseline: {error}")))?,
        };
        Self::assemble(request, past).await
    }

    async fn assemble(request: SceneRequest, past: Past) -> Result<Self, End> {
        let SceneRequest { setting, failure, params, cluster, cluster_name, seed, logs, cancel, owner, .. } = request;
        let Past { namespace, keeping, policy, limits, state, induced, baseline } = past;
        let resolved =
            failure.resolve(&params, &namespace).map_err(|error| End::test(format!("parameters: {error}")))?;
        let checks = Checks::compile(&resolved).map_err(|error| End::test(format!("checks: {error}")))?;
        let plugin = setting.plugins.load(&failure).map_err(|error| End::test(error.to_string()))?;
        let sink = Arc::clone(&logs);
        let sink = Arc::new(move |record| sink.request(record));
        let gate = Gate::new(GateConfig {
            journal: keeping.journal(),
            label: owner.label.clone(),
            ..GateConfig::new(cluster.upstream.clone(), namespace.clone(), sink)
        });
        let workload_policy = Policy::from_power(workload_grants(policy.hazards()).in_case(&namespace))
            .with_subject(format!("workload of {}", policy.subject()));
        let host = Objects::new(gate.client(Party::Host, Arc::new(Policy::everything())));
        let mut scene = Self {
            clock: Arc::clone(&cluster.clock),
            gate,
            namespace,
            resolved,
            checks: Arc::new(checks),
            cluster,
            keeping,
            baseline,
            cancel: cancel.clone(),
            script: None,
            induced,
            label: owner.label,
            host,
            failure,
            plugin,
            plugin_policy: Arc::new(policy.within_limits()),
            workload_policy: Arc::new(workload_policy.within_limits()),
            limits,
            cluster_name,
            state: Arc::new(Mutex::new(state)),
            seed,
            logs,
        };
        scene.lay_out_script(&setting, cancel).await?;
        Ok(scene)
    }

    async fn lay_out_script(&mut self, setting: &Setting, cancel: Cancel) -> Result<(), End> {
        if !matches!(self.failure.implementation, Implementation::Script) {
            return Ok(());
        }
        let endpoint = self
            .gate
            .serve(Party::Script, Arc::clone(&self.plugin_policy))
            .map_err(|error| End::infrastructure(format!("the gate's proxy: {error}")))?;
        let logs = Arc::clone(&self.logs);
        let script = Script::lay_out(
            setting,
            &self.failure,
            endpoint.kubeconfig(),
            &self.namespace,
            &self.pod_name(),
            CALL,
            Arc::new(move |line| logs.failure(line)),
            cancel,
        )
        .map_err(|error| End::infrastructure(format!("the script's folder: {error}")))?;
        self.script = Some((Arc::new(script), endpoint));
        Ok(())
    }

    /// Checks what the failure needs of the cluster, makes namespace and workload, waits until health holds.
    pub(crate) async fn prepare(&mut self) -> Result<Watches, End> {
        self.check_kinds().await?;
        let baseline = Baseline::take(&self.gate.keeper()).await;
        let baseline = baseline.map_err(|error| End::infrastructure(format!("the baseline: {error}")))?;
        self.keeping.baseline(&baseline).await?;
        self.baseline = Some(baseline);
        self.keeping.phase(PREPARE_PHASE).await?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        self.host.create(&namespace, "").await.map_err(|error| End::infrastructure(error.to_string()))?;
        for object in &self.limits {
            self.host.create(object, &self.namespace).await.map_err(|error| End::infrastructure(error.to_string()))?;
        }
        let selects = self.checks.selects();
        let observer = Observer::new(Arc::clone(&self.checks));
        let mut watches = Watches::open(&self.host, &selects, observer, &self.namespace, Arc::clone(&self.clock))
            .await
            .map_err(|error| End::test(error.to_string()))?;
        // Manifests come with the failure: they may hold no more than what the failure itself may do.
        let workload = Objects::new(self.gate.client(Party::Host, Arc::clone(&self.workload_policy)));
        for manifest in &self.resolved.workload {
            workload
                .create(manifest, &self.namespace)
                .await
                .map_err(|error| End::test(format!("the workload: {error}")))?;
        }
        self.become_healthy(&mut watches).await?;
        Ok(watches)
    }

    /// Waits until health holds and no symptom does.
    async fn become_healthy(&self, watches: &mut Watches) -> Result<(), End> {
        let healthy = watches.pump_until(PREPARE, |observer, _| {
            observer.set_baseline();
            observer.holds_now()
        });
        if healthy.await.is_err() {
            let broken = broken(&watches.observer, self.clock.now());
            return Err(End::invalid(format!(
                "the workload did not become healthy within {} s of cluster time: {broken} did not hold",
                PREPARE.as_secs()
            )));
        }
        // Watches of several kinds come in no common order: what one tells may be older than what another has told.
        let unseen = watches.pump_until(LAG, |observer, _| {
            observer.set_baseline();
            observer.holds_now() && observer.symptom_holding_now().is_none()
        });
        if unseen.await.is_ok() {
            return Ok(());
        }
        Err(End::invalid(match watches.observer.symptom_holding_now() {
            Some(symptom) => format!("symptom `{symptom}` holds already before the failure is induced"),
            None => {
                let broken = broken(&watches.observer, self.clock.now());
                format!("the workload did not stay healthy until the failure was induced: {broken} did not hold")
            }
        }))
    }

    async fn check_kinds(&self) -> Result<(), End> {
        for prerequisite in &self.failure.metadata.prerequisites {
            if let Prerequisite::Kind { api_version, kind } = prerequisite {
                self.host
                    .api(api_version, kind, None)
                    .await
                    .map_err(|error| End::skipped(format!("failure `{}` needs it: {error}", self.failure.id())))?;
            }
        }
        Ok(())
    }

    /// Calls `induce`. What comes back is the time that the agent may take.
    pub(crate) async fn induce(&mut self, watches: &mut Watches) -> Result<Option<Duration>, End> {
        watches.observer.arm();
        self.keeping.phase(INDUCE_PHASE).await?;
        self.induced = true;
        let call = self.call();
        let induced = watches.pump_while(self.plugin.induce(call)).await.map_err(|error| blame(&error))?;
        if induced.state.is_some() {
            self.keeping.state(induced.state.clone()).await?;
            *self.state.lock().unwrap_or_else(PoisonError::into_inner) = induced.state;
        }
        if induced.agent_time.is_some_and(|time| time.is_zero()) {
            return Err(End::test(
                "the failure gives the agent no time: it asks for 0 s, in a script with `TIMEOUT=0`",
            ));
        }
        Ok(induced.agent_time)
    }

    /// Cluster time that a failure has for showing itself.
    pub(crate) fn witness_time(&self) -> Duration {
        (self.failure.metadata.expected_duration * 3).max(WITNESS_AT_LEAST)
    }

    /// Somebody else induces the failure from now on: the host watches for it, and will put it back.
    pub(crate) async fn let_induce(&mut self, watches: &mut Watches) -> Result<(), End> {
        watches.observer.arm();
        self.keeping.phase(INDUCE_PHASE).await?;
        self.induced = true;
        Ok(())
    }

    /// `TEST_POD_NAME` of scripts.
    pub(crate) fn pod_name(&self) -> String {
        format!("pod-{:05x}", (self.seed >> 20) & 0xf_ffff)
    }

    /// What the failure may do, in this case.
    pub(crate) fn plugin_policy(&self) -> &Policy {
        &self.plugin_policy
    }

    /// Waits until the failure has shown itself.
    pub(crate) async fn witness(&self, watches: &mut Watches) -> Result<Witness, End> {
        let max = self.witness_time();
        let seen = watches.pump_until(max, |observer, _| observer.witnessed()).await;
        let witness = self.testimony(&watches.observer);
        match seen {
            Ok(()) => Ok(witness),
            Err(_) => {
                let missing: Vec<&str> =
                    witness.symptoms.iter().filter(|s| s.at.is_none()).map(|s| s.name.as_str()).collect();
                let why = if missing.is_empty() {
                    "every health check still holds".to_owned()
                } else {
                    format!("not seen: {}", missing.join(", "))
                };
                Err(End::invalid(format!(
                    "the failure did not take hold within {} s of cluster time: {why}",
                    max.as_secs()
                )))
            }
        }
    }

    /// What has been seen so far.
    pub(crate) fn testimony(&self, observer: &Observer) -> Witness {
        let declared = self.checks.declares_anything();
        Witness {
            kind: if declared { WitnessKind::Host } else { WitnessKind::None },
            symptoms: observer.symptoms(),
            health_broken: observer.health_broken(),
        }
    }

    /// Whether the cluster still answers.
    pub(crate) async fn answers(&self) -> Result<(), End> {
        let lost = |why: String| End::no_cluster(format!("the cluster does not answer: {why}"));
        let api = self.host.api("v1", "Namespace", None).await.map_err(|error| lost(error.to_string()))?;
        api.get_opt(&self.namespace).await.map(|_| ()).map_err(|error| lost(said(&error)))
    }

    /// Calls `stop` in a fresh store, once `induce` was called; whatever became of it.
    pub(crate) async fn stop(&mut self) -> Result<(), End> {
        if !self.induced {
            return Ok(());
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match tokio::time::timeout(PUT_BACK, self.plugin.stop(self.call(), state)).await {
            Ok(stopped) => stopped.map_err(|error| blame(&error)),
            Err(_) => Err(End::test(format!("it did not return within {} s", PUT_BACK.as_secs()))),
        }
    }

    fn call(&self) -> Call {
        let logs = Arc::clone(&self.logs);
        let (state, keeping) = (Arc::clone(&self.state), self.keeping.clone());
        Call {
            client: self.gate.client(Party::Plugin, Arc::clone(&self.plugin_policy)),
            clock: Arc::clone(&self.clock),
            namespace: self.namespace.clone(),
            params: self.resolved.params.clone(),
            metadata: self.resolved.to_json(),
            seed: self.seed,
            log: Arc::new(move |line| logs.failure(line)),
            checkpoint: Arc::new(move |saved| {
                let (state, keeping) = (Arc::clone(&state), keeping.clone());
                let keep = async move {
                    keeping.state(Some(saved.clone())).await.map_err(|error| error.to_string())?;
                    *state.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
                    Ok(())
                };
                keep.boxed()
            }),
            script: self.script.as_ref().map(|(script, _)| Arc::clone(script) as Arc<dyn ScriptRunner>),
            deadline: CALL,
        }
    }
}

/// What a scene begins with: nothing, or what another process left.
struct Past {
    namespace: String,
    keeping: Keeping,
    policy: Policy,
    limits: Vec<Value>,
    state: Option<String>,
    induced: bool,
    baseline: Option<Baseline>,
}

/// A script from a folder of one's own may run; one that came in a file from somebody else needs a grant.
fn needs_host_script(failure: &Failure) -> bool {
    matches!((&failure.implementation, &failure.origin), (Implementation::Script, Origin::Wasm(_)))
}

/// The names of the health checks that do not hold.
pub(crate) fn broken(observer: &Observer, now: Timestamp) -> String {
    let names: Vec<String> = observer
        .health(now)
        .into_iter()
        .filter(|state| !state.holds)
        .map(|state| format!("`{}`", state.name))
        .collect();
    if names.is_empty() { "no check".into() } else { names.join(", ") }
}

/// Whose fault an error of a component is.
fn blame(error: &PluginError) -> End {
    if error.is_host_fault() { End::infrastructure(error.to_string()) } else { End::test(error.to_string()) }
}
