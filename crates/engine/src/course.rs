//! The course of a run: begins cases as the schedule allows, takes in what they come to, and ends the run. One place where
//! ends of cases, clusters that were given back and interruption meet, in one order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use matrix::CaseSpec;
use model::{CaseFile, EventKind, LogStream, Outcome, RunFile, StopReason, exit_code};
use tokio::task::{Id as TaskId, JoinError, JoinSet};

use crate::accept::{acceptance, counts, exit_code_of};
use crate::attempts::run_with_retries;
use crate::case::CaseRequest;
use crate::cast::{ACCESS, Cast};
use crate::dispatcher::Dispatcher;
use crate::groups::{Complete, Groups};
use crate::occupancy::Occupancy;
use crate::pool::Pool;
use crate::record::{End, Identity, Record};
use crate::run::case_seed;
use crate::schedule::{Lane, Limits, Schedule, Waiting};
use crate::spending::Spending;
use crate::void::void;
use crate::{Cancel, EngineError, RunRequest, Selection};

/// The time of a case where the matrix does not say.
const TIMEOUT_PER_TEST: Duration = Duration::from_secs(600);

/// Where the files of cases lie.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) dir: std::path::PathBuf,
    pub(crate) logs: std::path::PathBuf,
    pub(crate) artifacts: std::path::PathBuf,
}

/// A run that goes on.
pub(crate) struct Course {
    pub(crate) request: RunRequest,
    pub(crate) cast: Cast,
    pub(crate) selection: Selection,
    pub(crate) seed: u64,
    pub(crate) total: u64,
    pub(crate) paths: Paths,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) cancel: Cancel,
    pub(crate) run_file: RunFile,
    pub(crate) occupancy: Arc<Occupancy>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) spending: Arc<Spending>,
}

impl std::fmt::Debug for Course {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Course").field("run", &self.run_file.run_id).finish_non_exhaustive()
    }
}

/// What a task of the run came to.
enum Done {
    Case(Box<CaseFile>),
    /// The cluster is gone; what could not be removed.
    GivenBack(Option<String>),
}

/// A task of the run, so that one that panics is known.
struct Task {
    lane: usize,
    /// None: it gives a cluster back.
    case: Option<Identity>,
}

/// What has come of the run so far.
#[derive(Default)]
struct Progress {
    groups: Groups,
    tasks: HashMap<TaskId, Task>,
    running: JoinSet<Done>,
    stopped: Option<StopReason>,
    /// Clusters that could not be removed.
    left: Vec<String>,
}

impl Course {
    /// Runs every case, and gives everything back.
    pub(crate) async fn run(mut self) -> Result<(RunFile, Vec<CaseFile>), EngineError> {
        let progress = self.cases().await?;
        let mut left = progress.left;
        left.extend(self.pool.close().await);
        for problem in left.iter().cloned().chain(self.occupancy.release().await) {
            self.say(problem).await;
        }
        let cases = self.request.store.cases(&self.run_file.run_id)?;
        for case in &cases {
            self.run_file.totals.add(case.outcome, case.control, !case.leaks.is_empty());
        }
        let interrupt = self.cancel.interrupted();
        self.run_file.stopped = interrupt.map(|_| StopReason::Interrupted).or(progress.stopped);
        self.run_file.not_run = self.total.saturating_sub(self.run_file.totals.total);
        self.run_file.left = left;
        let (accept, options) = (self.request.matrix.accept.as_ref(), &self.request.options);
        let acceptance = accept.map(|accept| acceptance(&cases, accept, options, &self.run_file.failures));
        let exit_code = match exit_code_of(&cases, acceptance.as_ref(), options, interrupt) {
            _ if !self.run_file.left.is_empty() => exit_code::LEAK,
            // What was not run for want of money was not judged.
            exit_code::OK if self.run_file.not_run > 0 && !options.exit_zero => exit_code::UNJUDGED,
            code => code,
        };
        self.run_file.acceptance = acceptance;
        self.run_file.exit_code = Some(exit_code);
        self.run_file.finished_at = Some(Timestamp::now());
        let finished = EventKind::RunFinished { totals: self.run_file.totals, exit_code };
        self.dispatcher.event(None, finished).await;
        self.dispatcher.finish(self.run_file.clone()).await?;
        Ok((self.run_file, cases))
    }

    async fn say(&self, line: String) {
        self.dispatcher.event(None, EventKind::Log { stream: LogStream::Harness, line }).await;
    }

    /// Until no case runs and none may begin.
    async fn cases(&self) -> Result<Progress, EngineError> {
        let mut schedule = Schedule::new(self.limits(), self.lanes(), self.total);
        let mut progress = Progress::default();
        loop {
            // Asked each time: a case or a cluster may end of the interruption before it is seen here.
            while !self.closes(&mut schedule, &progress).await
                && let Some((lane, (position, spec))) = schedule.next()
            {
                self.begin(&mut progress, lane, position, &spec).await?;
            }
            for group in progress.groups.complete() {
                self.void(&group).await?;
            }
            if progress.running.is_empty() {
                break;
            }
            let ended = if self.cancel.interrupted().is_some() {
                progress.running.join_next_with_id().await
            } else {
                match self.cancel.unless(progress.running.join_next_with_id()).await {
                    Some(ended) => ended,
                    None => continue,
                }
            };
            let Some(ended) = ended else { break };
            let (lane, done) = progress.take(ended, &self.dispatcher);
            match done {
                Done::Case(case) => {
                    self.ended(&mut progress, lane, *case, schedule.counts().done + 1).await?;
                    // Before the schedule is asked: what waits for a cluster that gets no more cases does not keep it.
                    self.closes(&mut schedule, &progress).await;
                    if schedule.finished(lane) == Lane::Ends {
                        progress.give_back(&self.pool, lane);
                    }
                }
                Done::GivenBack(problem) => {
                    progress.left.extend(problem);
                    schedule.given_back(lane);
                }
            }
        }
        for group in std::mem::take(&mut progress.groups).rest() {
            self.void(&group).await?;
        }
        Ok(progress)
    }

    /// Whether no case may begin any more; the first time that it is so is told.
    async fn closes<T, I>(&self, schedule: &mut Schedule<I>, progress: &Progress) -> bool
    where
        I: Iterator<Item = Waiting<T>>,
    {
        let interrupted = self.cancel.interrupted().map(|_| StopReason::Interrupted);
        let Some(reason) = interrupted.or(progress.stopped) else { return false };
        if schedule.close() {
            self.dispatcher.event(None, EventKind::RunStopping { reason }).await;
        }
        true
    }

    fn limits(&self) -> Limits {
        let execution = &self.request.matrix.execution;
        let clusters = self.request.options.parallel_clusters.unwrap_or(execution.parallel_clusters);
        let at_least_one = |number: u32| usize::try_from(number).unwrap_or(usize::MAX).max(1);
        Limits {
            clusters: at_least_one(clusters),
            cases_per_cluster: at_least_one(execution.parallel_tests_per_cluster),
        }
    }

    /// The selected cases of each cluster, with their position in the run, from 1.
    fn lanes(&self) -> Vec<impl Iterator<Item = Waiting<(u64, CaseSpec<'_>)>>> {
        let matrix = &self.request.matrix;
        let of = |cluster: &'_ matrix::ClusterSpec| {
            let id = cluster.id.clone();
            (1..).zip(self.selection.cases(matrix)).filter(move |(_, case)| case.cluster.id == id).map(
                |(position, case)| Waiting {
                    exclusive: self.cast.failure(&case).is_some_and(|failure| failure.metadata.exclusive),
                    case: (position, case),
                },
            )
        };
        matrix.clusters.iter().map(of).collect()
    }

    async fn begin(
        &self,
        progress: &mut Progress,
        lane: usize,
        position: u64,
        spec: &CaseSpec<'_>,
    ) -> Result<(), EngineError> {
        let request = self.case_request(lane, spec)?;
        let identity = request.identity.clone();
        progress.groups.begins(lane, identity.failure.as_str());
        let started = EventKind::CaseStarted { index: position, control: identity.control };
        self.dispatcher.event(Some(&identity.id), started).await;
        let retries = self.request.options.retries.unwrap_or(self.request.matrix.execution.retries);
        let case = async move { Done::Case(Box::new(run_with_retries(request, retries).await)) };
        let task = progress.running.spawn(case).id();
        progress.tasks.insert(task, Task { lane, case: Some(identity) });
        Ok(())
    }

    /// The same for every agent and cluster, so that all of them are given the same names.
    fn scenario_seed(&self, spec: &CaseSpec<'_>) -> u64 {
        case_seed(self.seed, &format!("{}.r{}", spec.failure.name, spec.repeat), 1)
    }

    fn case_request(&self, lane: usize, spec: &CaseSpec<'_>) -> Result<CaseRequest, EngineError> {
        let (failure, preset, provisioner) = self.cast.of_case(spec)?;
        let matrix = &self.request.matrix;
        let options = &self.request.options;
        Ok(CaseRequest {
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
            params: failure.metadata.params.seeded(&spec.failure.params, self.scenario_seed(spec)),
            preset: preset.clone(),
            args: spec.agent.args.clone(),
            objective: matrix.objective,
            access: matrix.agent_access.clone().unwrap_or_else(|| ACCESS.to_owned()),
            time: options.timeout_per_test.or(matrix.execution.timeout_per_test).unwrap_or(TIMEOUT_PER_TEST),
            pool: Arc::clone(&self.pool),
            lane,
            occupancy: Arc::clone(&self.occupancy),
            spending: Arc::clone(&self.spending),
            run: self.run_file.run_id.clone(),
            run_dir: self.paths.dir.clone(),
            seed: self.seed,
            log_dir: self.paths.logs.join(spec.id.as_str()),
            artifacts_dir: self.paths.artifacts.join(spec.id.as_str()),
            dispatcher: self.dispatcher.clone(),
            cancel: self.cancel.clone(),
        })
    }

    /// Stores a case that has ended, and decides whether more may begin.
    async fn ended(
        &self,
        progress: &mut Progress,
        lane: usize,
        case: CaseFile,
        finished: u64,
    ) -> Result<(), EngineError> {
        progress.groups.ended(lane, &case);
        let options = &self.request.options;
        if options.fail_fast && case.outcome != Outcome::Passed && counts(&case, options) {
            progress.stopped.get_or_insert(StopReason::FailFast);
        }
        if self.spending.is_over() {
            progress.stopped.get_or_insert(StopReason::MaxCost);
        }
        let event = EventKind::CaseFinished {
            outcome: case.outcome,
            class: case.class,
            status: case.status,
            control: case.control,
            message: case.message.clone(),
            duration_ms: case.duration_ms,
            finished,
            total: self.total,
        };
        let id = case.id.clone();
        self.dispatcher.case(case).await?;
        self.dispatcher.event(Some(&id), event).await;
        Ok(())
    }

    async fn void(&self, group: &Complete) -> Result<(), EngineError> {
        let failure = self.cast.failure_named(&group.failure);
        void(group, failure, &self.run_file.run_id, &self.request.store, &self.dispatcher).await
    }
}

impl Progress {
    /// What a task came to. One that panicked is a bug of ours: its case says so, and the others go on.
    fn take(&mut self, ended: Result<(TaskId, Done), JoinError>, dispatcher: &Dispatcher) -> (usize, Done) {
        let (id, done) = match ended {
            Ok((id, done)) => (id, Ok(done)),
            Err(error) => (error.id(), Err(error)),
        };
        let task = self.tasks.remove(&id).unwrap_or(Task { lane: usize::MAX, case: None });
        let done = match (done, task.case) {
            (Ok(done), _) => done,
            (Err(error), Some(identity)) => {
                let record = Record::new(identity, dispatcher.clone());
                let end = End::infrastructure(format!("a bug in the harness: {error}"));
                Done::Case(Box::new(record.finish(end)))
            }
            (Err(error), None) => Done::GivenBack(Some(format!("a cluster could not be given back: {error}"))),
        };
        (task.lane, done)
    }

    fn give_back(&mut self, pool: &Arc<Pool>, lane: usize) {
        let pool = Arc::clone(pool);
        let retire = async move { Done::GivenBack(pool.retire(lane).await.err().map(|error| error.to_string())) };
        let task = self.running.spawn(retire).id();
        self.tasks.insert(task, Task { lane, case: None });
    }
}
