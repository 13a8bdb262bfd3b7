//! A run: what must be known and allowed before it begins, its directory, and its description of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::{ProvisionError, Provisioner};
use gate::{NoSuchAccess, NotNamed};
use jiff::Timestamp;
use matrix::{ClusterSpec, Matrix};
use model::{
    ClusterRecord, EventKind, FailureRecord, Id, Objective, PlannedCases, RunDocument, RunFile, RunId, SCHEMA,
    TAXONOMY_VERSION, Totals,
};
use sha2::{Digest, Sha256};
use store::StoreError;

use crate::agent::prompt;
use crate::cast::Cast;
use crate::course::{Course, Paths};
use crate::dispatcher::Dispatcher;
use crate::occupancy::Occupancy;
use crate::pool::Pool;
use crate::recover::left_open;
use crate::spending::Spending;
use crate::{Cancel, Listener, RecordError, RunRequest, Selection};

/// Why there is no run, or no end of one.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No case is selected; nothing was run.
    #[error("no case of the matrix is selected")]
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
    let selection = std::mem::take(&mut request.options.selection);
    if selection.is_empty(&request.matrix) {
        return Err(EngineError::NothingSelected);
    }
    let planned = planned(&selection, &request.matrix);
    let total = planned.iter().map(|some| some.cases).sum();
    let cast = Cast::of(&request, provisioner)?;
    cast.admitted(&request)?;
    let seed = request.options.seed.unwrap_or_else(rand::random);
    let run_id = RunId::from_bits(rand::random());
    let run_file = run_file(&request, &cast, run_id.clone());
    let writer = request.store.begin(&run_file, &request.matrix_bytes)?;
    let dir = writer.dir().to_path_buf();
    let (matrix, shown) = (run_file.matrix.clone(), dir.display().to_string());
    let started = EventKind::RunStarted { matrix, dir: shown, total, planned };
    let paths = Paths { logs: dir.join("logs"), artifacts: dir.join("artifacts"), dir: dir.clone() };
    let occupancy = Arc::new(Occupancy::of_run(run_id.as_str()));
    for open in left_open(&request.setting.journals).await? {
        occupancy.quarantine(
            &open.opening.cluster,
            format!("{} of run {} was left", open.opening.case_id, open.opening.run_id),
        );
    }
    let lanes = request.matrix.clusters.iter().filter_map(|cluster| {
        let provisioner = cast.provisioners.get(cluster.id.as_str())?;
        Some((cluster.id.to_string(), Arc::clone(provisioner)))
    });
    let pool = Arc::new(Pool::new(occupancy.label(), lanes));
    let dispatcher = Dispatcher::start(run_id.clone(), writer, listeners);
    dispatcher.event(None, started).await;
    let spending = Arc::new(Spending::of(request.matrix.execution.max_cost_usd));
    let course = Course {
        request,
        cast,
        selection,
        seed,
        total,
        paths,
        dispatcher,
        cancel,
        run_file,
        occupancy,
        pool,
        spending,
    };
    let (run_file, cases) = course.run().await?;
    Ok(RunDocument {
        run_id,
        dir: dir.display().to_string(),
        matrix: run_file.matrix,
        exit_code: run_file.exit_code.unwrap_or_default(),
        totals: run_file.totals,
        acceptance: run_file.acceptance,
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

/// How many cases of each failure and agent there will be.
fn planned(selection: &Selection, matrix: &Matrix) -> Vec<PlannedCases> {
    let mut counts: BTreeMap<(&Id, &Id), u64> = BTreeMap::new();
    for case in selection.cases(matrix) {
        *counts.entry((&case.failure.name, &case.agent.name)).or_default() += 1;
    }
    let planned = |((failure, agent), cases): ((&Id, &Id), u64)| PlannedCases {
        failure: failure.clone(),
        agent: agent.clone(),
        cases,
    };
    counts.into_iter().map(planned).collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// What identifies what agents are asked: results are comparable where it is the same.
pub fn prompt_digest(objective: Objective) -> String {
    digest(prompt("$(case)", objective).as_bytes())
}

fn run_file(request: &RunRequest, cast: &Cast, run_id: RunId) -> RunFile {
    let matrix = &request.matrix;
    RunFile {
        schema: SCHEMA,
        run_id,
        matrix: matrix.name.to_string(),
        matrix_digest: digest(&request.matrix_bytes),
        prompt_digest: prompt_digest(matrix.objective),
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        scoring: judge::SCORING_VERSION,
        taxonomy: TAXONOMY_VERSION,
        started_at: Timestamp::now(),
        finished_at: None,
        totals: Totals::default(),
        exit_code: None,
        acceptance: None,
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
                let failure = cast.failure_named(used.name.as_str())?;
                Some(FailureRecord {
                    name: used.name.clone(),
                    id: used.id.clone(),
                    digest: failure.digest.clone(),
                    version: failure.metadata.version.to_string(),
                    params: used.params.clone(),
                })
            })
            .collect(),
        git_commit: request.options.git_commit.clone(),
        stopped: None,
        not_run: 0,
        left: Vec::new(),
    }
}

/// The same run seed, case id and attempt give the same case, whatever else is in the matrix.
pub(crate) fn case_seed(run: u64, case: &str, attempt: u32) -> u64 {
    let mut digest = Sha256::new().chain_update(run.to_le_bytes()).chain_update(case.as_bytes());
    if attempt > 1 {
        digest.update(attempt.to_le_bytes());
    }
    let digest = digest.finalize();
    digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}
