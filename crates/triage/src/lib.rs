//! A rule-based troubleshooting agent: the floor that any other agent should beat. It knows a kubeconfig, the path of a
//! task and the path of an answer, and nothing of what may have been done to the cluster. It runs as a process of its
//! own, like every agent.

mod finding;
mod reader;
mod repair;
mod report;
mod rules;
mod snapshot;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

pub use finding::{Finding, Weight, analyse, unsettled};
pub use repair::{Rollback, plan};
pub use snapshot::{ObjectName, Snapshot};

use reader::Reader;
use report::Task;

/// Between two looks at something that is still on its way.
const SECOND_LOOK: Duration = Duration::from_secs(6);
/// Between two looks at a repair.
const POLL: Duration = Duration::from_secs(1);
/// How long a repair may take to show.
const REPAIR_SHOWS: Duration = Duration::from_secs(30);
/// Time that is kept for writing the answer.
const RESERVE_SECONDS: i64 = 5;

/// What kept the agent from answering.
#[derive(Debug, thiserror::Error)]
pub enum TriageError {
    /// A variable of the environment is missing.
    #[error("the environment variable {0} is not set; an agent needs KUBECONFIG, HARNESS_TASK and HARNESS_ANSWER")]
    Environment(&'static str),
    /// The task cannot be read.
    #[error("the task {} cannot be read: {why}", path.display())]
    Task {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(String),
    /// The cluster did not answer as it should.
    #[error("{what} failed: {source}")]
    Request {
        /// What was asked.
        what: String,
        /// What came of it.
        source: Box<kube::Error>,
    },
    /// The answer cannot be written.
    #[error("the answer cannot be written to {}: {source}", path.display())]
    Answer {
        /// Where it should go.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl TriageError {
    fn kubeconfig(error: impl std::fmt::Display) -> Self {
        Self::Kubeconfig(error.to_string())
    }
}

/// All that an agent is given.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The way to the cluster.
    pub kubeconfig: PathBuf,
    /// The task.
    pub task: PathBuf,
    /// Where the answer goes.
    pub answer: PathBuf,
    /// Between two looks at what is still on its way.
    pub second_look: Duration,
    /// Between two looks at a repair.
    pub poll: Duration,
}

impl Environment {
    /// Reads KUBECONFIG, HARNESS_TASK and HARNESS_ANSWER of this process.
    ///
    /// # Errors
    /// [`TriageError::Environment`] for the first one that is missing.
    pub fn of_process() -> Result<Self, TriageError> {
        let path = |name| std::env::var_os(name).map(PathBuf::from).ok_or(TriageError::Environment(name));
        Ok(Self {
            kubeconfig: path("KUBECONFIG")?,
            task: path("HARNESS_TASK")?,
            answer: path("HARNESS_ANSWER")?,
            second_look: SECOND_LOOK,
            poll: POLL,
        })
    }
}

/// Looks, concludes, answers; under an objective that asks for a repair it also tries one.
///
/// # Errors
/// [`TriageError`] when there is no answer; when one was written, a failed repair is no error.
pub async fn run(environment: Environment) -> Result<(), TriageError> {
    let task = Task::read(&environment.task)?;
    say(&format!("looking at namespace {}", task.namespace));
    let reader = Reader::new(&environment, &task.namespace).await?;
    let (snapshot, findings) = look(&reader, &task, environment.second_look).await?;
    let log = match findings.first() {
        Some(top) => log_of(&reader, &snapshot, top).await,
        None => None,
    };
    report::write(&environment.answer, &report::answer(&task, &findings, log.as_deref(), false))?;
    let Some(top) = findings.first() else {
        say("nothing is wrong");
        return Ok(());
    };
    say(&format!("root cause: {} ({}), seen on {}", top.root, top.fault_type, top.seen_on));
    if task.may_repair && repair(&reader, &task, rollback_for(&snapshot, top), environment.poll).await {
        report::write(&environment.answer, &report::answer(&task, &findings, log.as_deref(), true))?;
    }
    Ok(())
}

/// Does nothing at all: the control that every failure must be able to tell from an agent.
pub fn idle() {}

/// At most two looks: the second only when the first explains nothing well and something is still on its way.
async fn look(reader: &Reader, task: &Task, pause: Duration) -> Result<(Snapshot, Vec<Finding>), TriageError> {
    let snapshot = reader.snapshot().await?;
    let findings = tell(analyse(&snapshot));
    let explained = findings.first().is_some_and(|top| top.weight == Weight::Cause);
    let seconds = i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
    let time_left = task.seconds_left() > seconds.saturating_add(RESERVE_SECONDS);
    if explained || !unsettled(&snapshot) || !time_left {
        return Ok((snapshot, findings));
    }
    say(&format!("something is still on its way; looking again in {} s", pause.as_secs()));
    tokio::time::sleep(pause).await;
    let snapshot = reader.snapshot().await?;
    let findings = tell(analyse(&snapshot));
    Ok((snapshot, findings))
}

fn tell(findings: Vec<Finding>) -> Vec<Finding> {
    for finding in &findings {
        say(&format!("[{}] {}: {}", finding.rule, finding.seen_on, finding.message));
    }
    findings
}

/// What the container that a finding is about said last.
async fn log_of(reader: &Reader, snapshot: &Snapshot, top: &Finding) -> Option<String> {
    let pod = snapshot.find(&top.seen_on.kind, &top.seen_on.name).filter(|_| top.seen_on.kind == "Pod")?;
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let mut statuses = statuses.iter().flat_map(|pointer| snapshot::list(pod, pointer));
    let crashed = statuses.find(|status| {
        let ended = |state: &str| status[state]["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0);
        ended("state") || ended("lastState")
    })?;
    let log = reader.log(&top.seen_on.name, snapshot::text(crashed, "/name")).await?;
    say(&format!("log of {} ends with: {}", top.seen_on, log.trim().lines().last().unwrap_or_default()));
    Some(log)
}

fn rollback_for(snapshot: &Snapshot, top: &Finding) -> Option<Rollback> {
    let rollback = plan(snapshot, top);
    match &rollback {
        Some(rollback) => say(&format!("rolling {} back to revision {}", rollback.deployment, rollback.revision)),
        None => say("no repair follows from it"),
    }
    rollback
}

/// Tries the repair that follows from the finding. True only when it was seen to work.
async fn repair(reader: &Reader, task: &Task, rollback: Option<Rollback>, poll: Duration) -> bool {
    let Some(rollback) = rollback else { return false };
    if let Err(error) = reader.replace_template(&rollback.deployment, &rollback.template).await {
        say(&format!("the rollback was refused: {error}"));
        return false;
    }
    let until = tokio::time::Instant::now() + REPAIR_SHOWS;
    let mut available = 0;
    while tokio::time::Instant::now() < until && task.seconds_left() > RESERVE_SECONDS {
        tokio::time::sleep(poll).await;
        let deployment = reader.deployment(&rollback.deployment.name).await.unwrap_or(Value::Null);
        // Once is not enough: a crashing pod counts as available for the moment that it runs.
        available = if repair::is_available(&deployment) { available + 1 } else { 0 };
        if available >= 3 {
            say(&format!("{} is available again", rollback.deployment));
            return true;
        }
    }
    say(&format!("{} is not available yet", rollback.deployment));
    false
}

/// One line of the agent's own log.
fn say(line: &str) {
    eprintln!("{line}");
}
