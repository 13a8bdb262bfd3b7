//! A run: the cases of a matrix in expansion order, one after another, and what they come to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::{AgentPreset, Failure};
use cluster::{ProvisionError, Provisioner};
use gate::{NoSuchAccess, NotNamed};
use jiff::Timestamp;
use matrix::{CaseSpec, ClusterSpec, Matrix};
use model::{
    CaseFile, Class, ClusterRecord, EventKind, FailureRecord, LogStream, Outcome, Rule, RunDocument, RunFile, RunId,
    SCHEMA, TAXONOMY_VERSION, Totals,
};
use sha2::{Digest, Sha256};
use store::StoreError;

use crate::accept::exit_code_of;
use crate::agent::prompt;
use crate::case::{CaseRequest, is_verdict, run_case};
use crate::dispatcher::Dispatcher;
use crate::occupancy::Occupancy;
use crate::record::Identity;
use crate::recover::left_open;
use crate::{Cancel, FilterError, Listener, RecordError, RunRequest, Selection};

/// The time of a case where the matrix does not say.
const TIMEOUT_PER_TEST: Duration = Duration::from_secs(600);
/// The access of agents where the matrix does not say.
const ACCESS: &str = "edit-case";

/// Why there is no run, or no end of one.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A filter cannot be read; nothing was run.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The filters leave no case; nothing was run.
    #[error("no case of the matrix is selected by the filters")]
    NothingSelected,
    /// The matrix names something that is not there; nothing was run.
    #[error("{what} `{name}` is not there")]
    Unknown {
        /// `failure`, `agent`.
        what: &'static str,
        /// As the matrix names it.
        name: String,
    },
    /// A cluster of the matrix cannot be provisioned here; nothing was run.
    #[error("cluster `{0}`: {1}")]
    Cluster(String, ProvisionError),
    /// A cluster of the matrix is not ours, and the operator has not named it; nothing was run.
    #[error("cluster `{0}`: {1}")]
    NotNamed(String, NotNamed),
    /// The matrix gives agents an access that the grants file does not know; nothing was run.
    #[error(transparent)]
    Access(#[from] NoSuchAccess),
    /// The results cannot be written.
    #[error("the run could not be recorded: {0}")]
    Record(#[from] RecordError),
    /// The results cannot be written.
    #[error("the run could not be recorded: {0}")]
    Store(#[from] StoreError),
    /// What earlier runs left cannot be read, so nothing may be touched.
    #[error(transparent)]
    Journal(#[from] gate::JournalError),
}

/// Finds the provisioner that a matrix asks for.
pub type FindProvisioner = dyn Fn(&cluster::Source<'_>) -> Result<Arc<dyn Provisioner>, ProvisionError> + Send + Sync;

/// Runs the matrix. Listeners see every event; `cancel` ends the run early, with everything put back.
///
/// # Errors
/// See [`EngineError`]: before anything is run, or when results cannot be written.
pub async fn run(
    request: RunRequest,
    listeners: Vec<Box<dyn Listener>>,
    cancel: Cancel,
) -> Result<RunDocument, EngineError> {
    run_on(request, &cluster::provisioner, listeners, cancel).await
}

/// The same, on clusters that the caller finds: those of a test that breaks them on purpose.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    mut request: RunRequest,
    provisioner: &FindProvisioner,
    listeners: Vec<Box<dyn Listener>>,
    cancel: Cancel,
) -> Result<RunDocument, EngineError> {
    if let Some(repeats) = request.options.repeat {
        request.matrix.execution.repeats = repeats;
    }
    let selection = Selection::parse(&request.options.filter)?;
    let total = request.matrix.cases().filter(|case| selection.selects(case)).count() as u64;
    if total == 0 && !request.options.filter.is_empty() {
        return Err(EngineError::NothingSelected);
    }
    let cast = Cast::of(&request, provisioner)?;
    cast.admitted(&request)?;
    let seed = request.options.seed.unwrap_or_else(rand::random);
    let run_id = RunId::from_bits(rand::random());
    let run_file = run_file(&request, &cast, run_id.clone());
    let writer = request.store.begin(&run_file, &request.matrix_bytes)?;
    let dir = writer.dir().to_path_buf();
    let started = EventKind::RunStarted { matrix: run_file.matrix.clone(), dir: dir.display().to_string(), total };
    let paths = Paths::of(&writer);
    let occupancy = Arc::new(Occupancy::of_run(run_id.as_str()));
    for open in left_open(&request.setting.journals).await? {
        occupancy.quarantine(
            &open.opening.cluster,
            format!("{} of run {} was left", open.opening.case_id, open.opening.run_id),
        );
    }
    let dispatcher = Dispatcher::start(run_id.clone(), writer, listeners);
    dispatcher.event(None, started).await;
    let run = Run { request, cast, selection, seed, total, paths, dispatcher, cancel, run_file, occupancy };
    run.to_the_end().await.map(|(run_file, cases, exit_code)| RunDocument {
        run_id,
        dir: dir.display().to_string(),
        matrix: run_file.matrix,
        exit_code,
        totals: run_file.totals,
        cases,
    })
}

/// What a matrix says of a cluster, as provisioners take it.
pub fn source(spec: &ClusterSpec) -> cluster::Source<'_> {
    cluster::Source {
        provisioner: &spec.provisioner,
        template: spec.template.as_deref(),
        kubeconfig: spec.kubeconfig.as_deref(),
        context: spec.context.as_deref(),
    }
}

/// Where the files of cases lie.
struct Paths {
    dir: std::path::PathBuf,
    logs: std::path::PathBuf,
    artifacts: std::path::PathBuf,
}

impl Paths {
    fn of(writer: &store::RunWriter) -> Self {
        Self {
            dir: writer.dir().to_path_buf(),
            logs: writer.dir().join("logs"),
            artifacts: writer.dir().join("artifacts"),
        }
    }
}

/// Everybody who plays in the run, looked up before it starts.
struct Cast {
    provisioners: HashMap<String, Arc<dyn Provisioner>>,
    failures: HashMap<String, Failure>,
    agents: HashMap<String, AgentPreset>,
}

impl Cast {
    fn of(request: &RunRequest, provisioner: &FindProvisioner) -> Result<Self, EngineError> {
        let Matrix { clusters, failures, agents, .. } = &request.matrix;
        let unknown = |what, name: &str| EngineError::Unknown { what, name: name.to_owned() };
        Ok(Self {
            provisioners: clusters
                .iter()
                .map(|cluster| {
                    provisioner(&source(cluster))
                        .map(|provisioner| (cluster.id.to_string(), provisioner))
                        .map_err(|error| EngineError::Cluster(cluster.id.to_string(), error))
                })
                .collect::<Result<_, _>>()?,
            failures: failures
                .iter()
                .map(|failure| {
                    let found = request.setting.library.get(failure.id.as_str());
                    let found = found.ok_or_else(|| unknown("failure", failure.id.as_str()))?;
                    Ok((failure.name.to_string(), found.clone()))
                })
                .collect::<Result<_, EngineError>>()?,
            agents: agents
                .iter()
                .map(|agent| {
                    let found = request.setting.agents.get(agent.id.as_str());
                    let found = found.ok_or_else(|| unknown("agent", agent.id.as_str()))?;
                    Ok((agent.name.to_string(), found.clone()))
                })
                .collect::<Result<_, EngineError>>()?,
        })
    }
}

impl Cast {
    /// Whether the operator lets all of them play: what is not allowed at all is told before anything is run.
    fn admitted(&self, request: &RunRequest) -> Result<(), EngineError> {
        let grants = &request.setting.grants;
        let access = request.matrix.agent_access.as_deref().unwrap_or(ACCESS);
        for (id, provisioner) in &self.provisioners {
            let site = cluster::site(provisioner.existing(), id);
            grants.cluster(site).map_err(|error| EngineError::NotNamed(id.clone(), error))?;
            for agent in &request.matrix.agents {
                grants.agent(agent.id.as_str(), access, site)?;
            }
        }
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn run_file(request: &RunRequest, cast: &Cast, run_id: RunId) -> RunFile {
    let matrix = &request.matrix;
    RunFile {
        schema: SCHEMA,
        run_id,
        matrix: matrix.name.to_string(),
        matrix_digest: digest(&request.matrix_bytes),
        prompt_digest: digest(prompt("$(case)", matrix.objective).as_bytes()),
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        scoring: judge::SCORING_VERSION,
        taxonomy: TAXONOMY_VERSION,
        started_at: Timestamp::now(),
        finished_at: None,
        totals: Totals::default(),
        exit_code: None,
        clusters: matrix
            .clusters
            .iter()
            .filter_map(|cluster| {
                let provisioner = cast.provisioners.get(cluster.id.as_str())?;
                Some(ClusterRecord { id: cluster.id.clone(), kind: provisioner.kind(), version: None })
            })
            .collect(),
        failures: matrix
            .failures
            .iter()
            .filter_map(|used| {
                let failure = cast.failures.get(used.name.as_str())?;
                Some(FailureRecord {
                    name: used.name.clone(),
                    id: used.id.clone(),
                    digest: failure.digest.clone(),
                    version: failure.metadata.version.to_string(),
                })
            })
            .collect(),
        git_commit: request.options.git_commit.clone(),
    }
}

struct Run {
    request: RunRequest,
    cast: Cast,
    selection: Selection,
    seed: u64,
    total: u64,
    paths: Paths,
    dispatcher: Dispatcher,
    cancel: Cancel,
    run_file: RunFile,
    occupancy: Arc<Occupancy>,
}

impl Run {
    async fn to_the_end(mut self) -> Result<(RunFile, Vec<CaseFile>, u8), EngineError> {
        let mut cases: Vec<CaseFile> = Vec::new();
        let mut group_start = 0;
        let mut stopped = false;
        for spec in self.request.matrix.cases().filter(|case| self.selection.selects(case)) {
            if self.cancel.interrupted().is_some() || stopped {
                break;
            }
            if cases.get(group_start).is_some_and(|first| !same_group(first, &spec)) {
                self.void_group(&mut cases[group_start..]).await?;
                group_start = cases.len();
            }
            let case = self.one(&spec, cases.len() as u64 + 1).await?;
            let failed = matches!(case.outcome, Outcome::Failed | Outcome::TimedOut | Outcome::Error);
            stopped = self.request.options.fail_fast && failed && !case.control;
            cases.push(case);
        }
        self.void_group(&mut cases[group_start..]).await?;
        for problem in self.occupancy.release().await {
            let line = EventKind::Log { stream: LogStream::Harness, line: problem };
            self.dispatcher.event(None, line).await;
        }
        for case in &cases {
            self.run_file.totals.add(case.outcome, case.control, !case.leaks.is_empty());
        }
        let interrupt = self.cancel.interrupted();
        let accept = self.request.matrix.accept.as_ref();
        let exit_code = exit_code_of(&cases, accept, &self.request.options, interrupt);
        self.run_file.exit_code = Some(exit_code);
        self.run_file.finished_at = Some(Timestamp::now());
        let finished = EventKind::RunFinished { totals: self.run_file.totals, exit_code };
        self.dispatcher.event(None, finished).await;
        self.dispatcher.finish(self.run_file.clone()).await?;
        Ok((self.run_file, cases, exit_code))
    }

    async fn one(&self, spec: &CaseSpec<'_>, index: u64) -> Result<CaseFile, EngineError> {
        let lost = |what, name: &str| EngineError::Unknown { what, name: name.to_owned() };
        let failure = self.cast.failures.get(spec.failure.name.as_str());
        let preset = self.cast.agents.get(spec.agent.name.as_str());
        let provisioner = self.cast.provisioners.get(spec.cluster.id.as_str());
        let failure = failure.ok_or_else(|| lost("failure", spec.failure.name.as_str()))?;
        let preset = preset.ok_or_else(|| lost("agent", spec.agent.name.as_str()))?;
        let provisioner = provisioner.ok_or_else(|| lost("cluster", spec.cluster.id.as_str()))?;
        self.dispatcher.event(Some(&spec.id), EventKind::CaseStarted { index, control: spec.agent.control }).await;
        let matrix = &self.request.matrix;
        let options = &self.request.options;
        let case = run_case(CaseRequest {
            identity: Identity {
                id: spec.id.clone(),
                cluster: spec.cluster.id.clone(),
                cluster_kind: provisioner.kind(),
                failure: spec.failure.name.clone(),
                agent: spec.agent.name.clone(),
                repeat: spec.repeat,
                control: spec.agent.control,
            },
            setting: self.request.setting.clone(),
            failure: failure.clone(),
            params: spec.failure.params.clone(),
            preset: preset.clone(),
            args: spec.agent.args.clone(),
            objective: matrix.objective,
            access: matrix.agent_access.clone().unwrap_or_else(|| ACCESS.to_owned()),
            time: options.timeout_per_test.or(matrix.execution.timeout_per_test).unwrap_or(TIMEOUT_PER_TEST),
            provisioner: Arc::clone(provisioner),
            occupancy: Arc::clone(&self.occupancy),
            run: self.run_file.run_id.clone(),
            run_dir: self.paths.dir.clone(),
            seed: case_seed(self.seed, spec.id.as_str()),
            log_dir: self.paths.logs.join(spec.id.as_str()),
            artifacts_dir: self.paths.artifacts.join(spec.id.as_str()),
            dispatcher: self.dispatcher.clone(),
            cancel: self.cancel.clone(),
        })
        .await;
        self.dispatcher.case(case.clone()).await?;
        let finished = EventKind::CaseFinished {
            outcome: case.outcome,
            class: case.class,
            status: case.status,
            control: case.control,
            message: case.message.clone(),
            duration_ms: case.duration_ms,
            finished: index,
            total: self.total,
        };
        self.dispatcher.event(Some(&spec.id), finished).await;
        Ok(case)
    }

    /// A control that passes shows that the failure can be passed without any work: then no agent is judged by it.
    /// Where nothing is wrong, passing without work is right under `mitigate`, and says nothing.
    async fn void_group(&self, group: &mut [CaseFile]) -> Result<(), EngineError> {
        let passing = group.iter().find(|case| case.control && case.outcome == Outcome::Passed);
        let Some(control) = passing.map(|case| case.agent.clone()) else { return Ok(()) };
        let healthy = group.first().and_then(|case| self.cast.failures.get(case.failure.as_str()));
        if healthy.is_some_and(|failure| failure.metadata.ground_truth_is_none()) {
            return Ok(());
        }
        for case in group.iter_mut().filter(|case| !case.control && is_verdict(case.outcome)) {
            case.outcome = Outcome::Invalid;
            case.class = Some(Class::Test);
            case.rule = Some(Rule::ControlPassed);
            case.status = case.outcome.status(case.class);
            case.message = format!("control `{control}` passed, so passing this failure proves nothing");
            self.dispatcher.case(case.clone()).await?;
            let revised = EventKind::CaseRevised {
                outcome: case.outcome,
                class: case.class,
                status: case.status,
                message: case.message.clone(),
            };
            self.dispatcher.event(Some(&case.id), revised).await;
        }
        Ok(())
    }
}

fn same_group(case: &CaseFile, spec: &CaseSpec<'_>) -> bool {
    case.cluster == spec.cluster.id && case.failure == spec.failure.name
}

/// The same run seed and case id give the same case, whatever else is in the matrix.
fn case_seed(run: u64, case: &str) -> u64 {
    let digest = Sha256::new().chain_update(run.to_le_bytes()).chain_update(case.as_bytes()).finalize();
    digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}
