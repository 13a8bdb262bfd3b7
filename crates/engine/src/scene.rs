//! The scene of a case: one namespace on one cluster with a workload in it, everything that is done to it by the host
//! and by the failure, and the way back. Agents are let in by `case`; this module knows nothing of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalog::{Failure, Implementation, Origin, Prerequisite, Resolved};
use clock::Clock;
use cluster::Cluster;
use gate::{Endpoint, Gate, GateConfig, Hazard, Policy, Power, default_grants};
use jiff::Timestamp;
use judge::{Checks, Observer};
use kube::api::DeleteParams;
use kube::runtime::wait::{await_condition, conditions};
use model::{Leak, Party, Witness, WitnessKind};
use plugin::{Call, Plugin, PluginError, ScriptRunner};
use serde_json::{Value, json};

use crate::logs::CaseLogs;
use crate::objects::Objects;
use crate::record::End;
use crate::script::Script;
use crate::watches::Watches;
use crate::{Cancel, Setting};

/// Cluster time for the workload to become healthy.
const PREPARE: Duration = Duration::from_secs(300);
/// Wall and cluster time for one call of `induce` or `stop`.
const CALL: Duration = Duration::from_secs(120);
/// The shortest time in which a failure must take hold, whatever it expects.
const WITNESS_AT_LEAST: Duration = Duration::from_secs(60);
/// Wall time for one step of putting back, whatever the cluster's clock does.
const PUT_BACK: Duration = Duration::from_secs(300);
/// Cluster time for a namespace to go.
const NAMESPACE_GONE: Duration = Duration::from_secs(180);

/// What a scene is made from.
pub(crate) struct SceneRequest {
    pub(crate) setting: Setting,
    pub(crate) failure: Failure,
    pub(crate) params: BTreeMap<String, Value>,
    pub(crate) cluster: Cluster,
    /// As the matrix names it.
    pub(crate) cluster_name: String,
    pub(crate) seed: u64,
    pub(crate) logs: Arc<CaseLogs>,
    pub(crate) cancel: Cancel,
}

/// See the module.
pub(crate) struct Scene {
    pub(crate) gate: Gate,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) namespace: String,
    pub(crate) resolved: Resolved,
    pub(crate) checks: Arc<Checks>,
    pub(crate) cluster: Cluster,
    /// As the matrix names it.
    pub(crate) cluster_name: String,
    host: Objects,
    failure: Failure,
    plugin: Plugin,
    plugin_policy: Arc<Policy>,
    workload_policy: Arc<Policy>,
    /// What holds the limits that the operator set for this cluster.
    limits: Vec<Value>,
    script: Option<(Arc<Script>, Endpoint)>,
    state: Arc<Mutex<Option<String>>>,
    induced: bool,
    seed: u64,
    logs: Arc<CaseLogs>,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene").field("namespace", &self.namespace).finish_non_exhaustive()
    }
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
    /// Sets the scene up without touching the cluster yet.
    pub(crate) async fn open(request: SceneRequest) -> Result<Self, End> {
        let SceneRequest { setting, failure, params, cluster, cluster_name, seed, logs, cancel } = request;
        let namespace = format!("c-{:05x}", seed & 0xf_ffff);
        let resolved =
            failure.resolve(&params, &namespace).map_err(|error| End::test(format!("parameters: {error}")))?;
        let checks = Checks::compile(&resolved).map_err(|error| End::test(format!("checks: {error}")))?;
        let plugin = setting.plugins.load(&failure).map_err(|error| End::test(error.to_string()))?;
        let sink = Arc::clone(&logs);
        let sink = Arc::new(move |record| sink.request(record));
        let gate = Gate::new(GateConfig::new(cluster.upstream.clone(), namespace.clone(), sink));
        let site = cluster.site(&cluster_name);
        let limits = setting.grants.cluster(site).map_err(|error| End::test(error.to_string()))?;
        let limits = limits.map(|cluster| cluster.limit_objects(&namespace)).unwrap_or_default();
        let granted = setting.grants.failure((&failure).into(), site);
        if needs_host_script(&failure) && !granted.allows(Hazard::HostScript) {
            let mut needed = Power::from(&failure.metadata.capabilities);
            needed.hazards.insert(Hazard::HostScript);
            return Err(End::test(format!(
                "failure `{}` was imported and runs a script on this machine; if you trust it: {}",
                failure.id(),
                granted.lines_for(&needed).unwrap_or_default()
            )));
        }
        let subject = format!("failure `{}`", failure.id());
        let plugin_policy = granted.effective(&resolved.capabilities, &namespace).with_subject(subject.clone());
        let in_case = Power { rules: default_grants().rules, hazards: plugin_policy.hazards().clone() };
        let workload_policy =
            Policy::from_power(in_case.in_case(&namespace)).with_subject(format!("workload of {subject}"));
        let host = Objects::new(gate.client(Party::Host, Arc::new(Policy::everything())));
        let mut scene = Self {
            clock: Arc::clone(&cluster.clock),
            gate,
            namespace,
            resolved,
            checks: Arc::new(checks),
            cluster,
            host,
            failure,
            plugin,
            plugin_policy: Arc::new(plugin_policy.within_limits()),
            workload_policy: Arc::new(workload_policy.within_limits()),
            limits,
            cluster_name,
            script: None,
            state: Arc::default(),
            induced: false,
            seed,
            logs,
        };
        scene.lay_out_script(cancel).await?;
        Ok(scene)
    }

    async fn lay_out_script(&mut self, cancel: Cancel) -> Result<(), End> {
        if !matches!(self.failure.implementation, Implementation::Script) {
            return Ok(());
        }
        let endpoint = self
            .gate
            .serve(Party::Script, Arc::clone(&self.plugin_policy))
            .map_err(|error| End::infrastructure(format!("the gate's proxy: {error}")))?;
        let logs = Arc::clone(&self.logs);
        let script = Script::lay_out(
            &self.failure,
            endpoint.kubeconfig(),
            &self.namespace,
            &format!("pod-{:05x}", (self.seed >> 20) & 0xf_ffff),
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
        let healthy = watches
            .pump_until(PREPARE, |observer, _| {
                observer.set_baseline();
                observer.holds_now()
            })
            .await;
        if healthy.is_err() {
            let broken = broken(&watches.observer, self.clock.now());
            return Err(End::invalid(format!(
                "the workload did not become healthy within {} s of cluster time: {broken} did not hold",
                PREPARE.as_secs()
            )));
        }
        if let Some(symptom) = watches.observer.symptom_holding_now() {
            return Err(End::invalid(format!("symptom `{symptom}` holds already before the failure is induced")));
        }
        Ok(watches)
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
        self.induced = true;
        let call = self.call();
        let induced = watches.pump_while(self.plugin.induce(call)).await.map_err(|error| blame(&error))?;
        if induced.state.is_some() {
            *self.state.lock().unwrap_or_else(PoisonError::into_inner) = induced.state;
        }
        Ok(induced.agent_time)
    }

    /// Waits until the failure has shown itself.
    pub(crate) async fn witness(&self, watches: &mut Watches) -> Result<Witness, End> {
        let max = (self.failure.metadata.expected_duration * 3).max(WITNESS_AT_LEAST);
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

    /// Calls `stop` in a fresh store, once `induce` was called; whatever became of it.
    pub(crate) async fn stop(&mut self) -> Result<(), String> {
        if !self.induced {
            return Ok(());
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match tokio::time::timeout(PUT_BACK, self.plugin.stop(self.call(), state)).await {
            Ok(stopped) => stopped.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it did not return within {} s", PUT_BACK.as_secs())),
        }
    }

    /// Deletes the namespace and waits until it is gone; what is left is a leak.
    pub(crate) async fn remove_namespace(&mut self) -> Vec<Leak> {
        if let Some((_, endpoint)) = self.script.take() {
            endpoint.shutdown().await;
        }
        let removed = match tokio::time::timeout(PUT_BACK, self.try_remove_namespace()).await {
            Ok(removed) => removed,
            Err(_) => Err(format!("the cluster did not answer within {} s", PUT_BACK.as_secs())),
        };
        let leak = |why| Leak {
            object: format!("v1 Namespace {}", self.namespace),
            what: "left_over".into(),
            evidence: vec![Value::String(why)],
        };
        removed.err().map(leak).into_iter().collect()
    }

    async fn try_remove_namespace(&self) -> Result<(), String> {
        let api = self.host.api("v1", "Namespace", None).await.map_err(|error| error.to_string())?;
        let found = api.get_opt(&self.namespace).await.map_err(|error| format!("it could not be read: {error}"))?;
        let Some(uid) = found.and_then(|namespace| namespace.metadata.uid) else { return Ok(()) };
        match api.delete(&self.namespace, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(format!("it could not be deleted: {error}")),
            Ok(_) => {}
        }
        // A watch, not a poll: while a poll is on its way, a cluster that hurries would run on.
        let gone = await_condition(api, &self.namespace, conditions::is_deleted(&uid));
        match clock::run_until(&self.clock, NAMESPACE_GONE, gone).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("its end could not be watched: {error}")),
            Err(_) => Err(format!("still there after {} s of cluster time", NAMESPACE_GONE.as_secs())),
        }
    }

    fn call(&self) -> Call {
        let logs = Arc::clone(&self.logs);
        let state = Arc::clone(&self.state);
        Call {
            client: self.gate.client(Party::Plugin, Arc::clone(&self.plugin_policy)),
            clock: Arc::clone(&self.clock),
            namespace: self.namespace.clone(),
            params: self.resolved.params.clone(),
            metadata: self.resolved.to_json(),
            seed: self.seed,
            log: Arc::new(move |line| logs.failure(line)),
            checkpoint: Arc::new(move |saved| {
                *state.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
                Box::pin(std::future::ready(Ok(())))
            }),
            script: self.script.as_ref().map(|(script, _)| Arc::clone(script) as Arc<dyn ScriptRunner>),
            deadline: CALL,
        }
    }
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
