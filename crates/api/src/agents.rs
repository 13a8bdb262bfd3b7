//! Agents: what there is, what it needs, trying one on an easy case.

use std::path::{Path, PathBuf};
use std::time::Duration;

use catalog::{AgentPreset, Problem};
use engine::{Cancel, Listener, RunOptions, RunRequest, VisitRequest};
use executor::agent::Given;
use executor::{Exit, OnLine};
use matrix::{Known, Matrix};
use model::{AnswerRecord, CaseFile, Objective, Outcome, Usage, exit_code};
use serde::Serialize;
use serde_json::Value;
use store::{RunDir, Store};
use yaml::Source;

use crate::{ApiError, Harness};

/// The failure that agents are tried on: quick to take hold, and plain to see.
const EASY: &str = "image-pull-error";
/// How many lines of the agent's output are shown.
const SHOWN_LINES: usize = 20;
/// The time of an agent that is run by itself.
const VISIT: Duration = Duration::from_secs(600);

/// An agent in a list.
#[derive(Clone, Debug, Serialize)]
pub struct AgentEntry {
    /// The name that matrices use.
    pub id: String,
    /// One line for people.
    pub description: Option<String>,
    /// What runs it.
    pub executor: String,
    /// The objectives that it can work under.
    pub supports: Vec<Objective>,
    /// What it needs and is not there, with how to install it.
    pub missing: Option<String>,
    /// Where the sample of its output comes from that its preset was checked with; none while nobody has seen any.
    pub verified: Option<String>,
}

/// The agents that are there, and the files that should hold one and do not.
#[derive(Clone, Debug, Default)]
pub struct AgentList {
    /// By id.
    pub agents: Vec<AgentEntry>,
    /// What is wrong with the others.
    pub problems: Vec<Problem>,
}

/// Everything about an agent.
#[derive(Clone, Debug, Serialize)]
pub struct AgentDetails {
    /// The name that matrices use.
    pub id: String,
    /// What it needs and is not there, with how to install it.
    pub missing: Option<String>,
    /// Its preset, whole.
    pub preset: Value,
}

/// How an agent is tried.
#[derive(Clone, Debug, Default)]
pub struct AgentTest {
    /// Which.
    pub id: String,
    /// The time that it gets; 10 minutes when none.
    pub timeout_per_test: Option<Duration>,
}

/// What came of trying an agent.
#[derive(Clone, Debug, Serialize)]
pub struct AgentTested {
    /// Task, names of its environment, sandbox and limits as the agent had them; none when it was not started.
    #[serde(flatten)]
    pub given: Option<Given>,
    /// The end of its standard output.
    pub stdout: Vec<String>,
    /// The end of its standard error.
    pub stderr: Vec<String>,
    /// The case, with its answer and usage.
    pub case: CaseFile,
    /// What a run of this case exits with.
    pub exit_code: u8,
}

/// An agent to be let at a cluster that is there, by itself.
#[derive(Clone, Debug, Default)]
pub struct AgentVisit {
    /// Which.
    pub id: String,
    /// Appended to its command.
    pub args: Vec<String>,
    /// The cluster that this file leads to; none: `$KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<String>,
    /// Its context there; none: the current one.
    pub context: Option<String>,
    /// What it is to look at, and the only place where it may change anything.
    pub namespace: String,
    /// The time that it gets; 10 minutes when none.
    pub time: Option<Duration>,
    /// Where its answer goes, once it can be read.
    pub answer: Option<PathBuf>,
}

/// What became of it.
#[derive(Clone, Debug, Serialize)]
pub struct AgentVisited {
    /// How its process ended.
    pub ended: String,
    /// Its provider was not available: why.
    pub unavailable: Option<String>,
    /// What it handed in.
    pub answer: AnswerRecord,
    /// What it used.
    pub usage: Usage,
    /// 0 with an answer, 10 without one by its own doing, 11 when it could not work.
    pub exit_code: u8,
}

impl Harness {
    /// Lets an agent at a cluster that the grants file names, through a gate, with nothing induced and nothing judged.
    ///
    /// # Errors
    /// There is no such agent or cluster, or it may not or cannot be let in.
    pub async fn agents_run(
        &self,
        visit: AgentVisit,
        on_line: OnLine,
        cancel: Cancel,
    ) -> Result<AgentVisited, ApiError> {
        let preset = self.agent(&visit.id)?.clone();
        let source = cluster::Source {
            provisioner: "stub",
            template: None,
            kubeconfig: visit.kubeconfig.as_deref(),
            context: visit.context.as_deref(),
        };
        let provisioner = cluster::provisioner(&source).map_err(|error| ApiError::input(error.to_string()))?;
        let setting = self.setting()?;
        let named = setting.grants.cluster(cluster::site(provisioner.existing(), "local")).map(|_| ());
        named.map_err(|error| ApiError::input(error.to_string()))?;
        let folder = tempfile::Builder::new().prefix("harness-").tempdir();
        let folder = folder.map_err(|error| ApiError::io("create a folder in", &std::env::temp_dir(), error))?;
        let request = VisitRequest {
            setting,
            objective: objective(&preset),
            preset,
            args: visit.args,
            provisioner,
            namespace: visit.namespace,
            access: "edit-case".to_owned(),
            time: visit.time.unwrap_or(VISIT),
            folder: folder.path().to_owned(),
            on_line,
            cancel,
        };
        let result = engine::visit(request).await.map_err(|error| ApiError::Unjudged(error.to_string()))?;
        if let (Some(path), Some(answer)) = (&visit.answer, &result.answer.parsed) {
            let text = serde_json::to_vec_pretty(answer).unwrap_or_default();
            std::fs::write(path, text).map_err(|error| ApiError::io("write", path, error))?;
        }
        let kept_from_work = result.unavailable.is_some()
            || result.outcome == Some(Outcome::Error)
            || matches!(result.exit, Exit::NotStarted(_) | Exit::Cancelled);
        let answered = result.answer.parsed.is_some() && !matches!(result.exit, Exit::TimedOut | Exit::Capped(_));
        Ok(AgentVisited {
            ended: result.exit.to_string(),
            unavailable: result.unavailable,
            answer: result.answer,
            usage: result.usage,
            exit_code: match (kept_from_work, answered) {
                (true, _) => exit_code::UNJUDGED,
                (false, false) => exit_code::FAILED,
                (false, true) => exit_code::OK,
            },
        })
    }

    /// Every agent that can be used, by id.
    pub async fn agents_list(&self) -> AgentList {
        let mut list = AgentList { agents: Vec::new(), problems: self.agents().problems().to_vec() };
        for preset in self.agents().iter() {
            list.agents.push(AgentEntry {
                id: preset.id.to_string(),
                description: preset.description.clone(),
                executor: preset.executor.as_str().to_owned(),
                supports: preset.supports.clone(),
                missing: executor::agent::missing(preset, &self.config.harness_exe).await,
                verified: preset.verified.clone(),
            });
        }
        list
    }

    /// One agent.
    ///
    /// # Errors
    /// There is none of this id, or its file has errors.
    pub async fn agents_show(&self, id: &str) -> Result<AgentDetails, ApiError> {
        let preset = self.agent(id)?;
        let missing = executor::agent::missing(preset, &self.config.harness_exe).await;
        Ok(AgentDetails { id: preset.id.to_string(), missing, preset: preset.to_json() })
    }

    /// Tries an agent on one easy case on an embedded cluster. Nothing is stored.
    ///
    /// # Errors
    /// There is no such agent, or the case could not be run at all.
    pub async fn agents_test(
        &self,
        test: AgentTest,
        listeners: Vec<Box<dyn Listener>>,
        cancel: Cancel,
    ) -> Result<AgentTested, ApiError> {
        let preset = self.agent(&test.id)?;
        let folder = tempfile::Builder::new().prefix("harness-").tempdir();
        let folder = folder.map_err(|error| ApiError::io("create a folder in", &std::env::temp_dir(), error))?;
        let setting = self.setting()?;
        let (matrix, matrix_bytes) = easy(preset)?;
        let store = Store::open(&folder.path().join("results"))?;
        let options = RunOptions { timeout_per_test: test.timeout_per_test, ..RunOptions::default() };
        let request = RunRequest { matrix, matrix_bytes, setting, store, options };
        let document = engine::run(request, listeners, cancel).await?;
        let Some(case) = document.cases.into_iter().next() else {
            return Err(ApiError::Unjudged("interrupted before the case began".to_owned()));
        };
        let logs = RunDir::at(PathBuf::from(&document.dir)).case_logs(&case.id);
        let given = std::fs::read(logs.join(engine::GIVEN)).ok();
        Ok(AgentTested {
            given: given.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
            stdout: last_lines(&logs.join("agent.stdout")),
            stderr: last_lines(&logs.join("agent.stderr")),
            case,
            exit_code: document.exit_code,
        })
    }

    fn agent(&self, id: &str) -> Result<&AgentPreset, ApiError> {
        let agents = self.agents();
        match (agents.get(id), agents.problem(id)) {
            (Some(preset), _) => Ok(preset),
            (None, Some(problem)) => Err(ApiError::Invalid(problem.diagnostics.clone())),
            (None, None) => Err(ApiError::unknown("agent", id, &agents.ids())),
        }
    }
}

/// One case: the easy failure with this agent, under an objective that it supports.
fn easy(preset: &AgentPreset) -> Result<(Matrix, Vec<u8>), ApiError> {
    let objective = objective(preset);
    let text = format!(
        "name: agent-test\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [{EASY}]\nagents: [{}]\n\
         objective: {objective}\n",
        preset.id
    );
    let known = Known {
        failures: vec![EASY.to_owned()],
        agents: vec![preset.id.to_string()],
        provisioners: vec!["embedded".to_owned()],
        ..Known::default()
    };
    Ok((Matrix::parse(&Source::new("agent test", &text), &known)?, text.into_bytes()))
}

/// To diagnose, where it can.
fn objective(preset: &AgentPreset) -> Objective {
    match preset.supports.as_slice() {
        [] => Objective::Diagnose,
        all if all.contains(&Objective::Diagnose) => Objective::Diagnose,
        [first, ..] => *first,
    }
}

fn last_lines(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}
