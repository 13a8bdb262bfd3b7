//! Agents: what there is, what it needs, trying one on an easy case.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use catalog::{AgentPreset, Agents, Problem};
use engine::{Cancel, Listener, RunOptions, RunRequest};
use matrix::{Known, Matrix};
use model::{CaseFile, Objective};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{RunDir, Store};
use yaml::Source;

use crate::{ApiError, Harness};

/// The failure that agents are tried on: quick to take hold, and plain to see.
const EASY: &str = "image-pull-error";
/// How many lines of the agent's output are shown.
const SHOWN_LINES: usize = 20;

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
    /// The task as the agent found it; none when it was not started.
    pub task: Option<Value>,
    /// The names of its environment, sorted.
    pub environment: Vec<String>,
    /// The end of its standard output.
    pub stdout: Vec<String>,
    /// The end of its standard error.
    pub stderr: Vec<String>,
    /// The case, with its answer and usage.
    pub case: CaseFile,
    /// What a run of this case exits with.
    pub exit_code: u8,
}

impl Harness {
    /// Every agent that can be used, by id.
    pub async fn agents_list(&self) -> AgentList {
        let mut list = AgentList { agents: Vec::new(), problems: self.agents().problems().to_vec() };
        for preset in self.agents().iter() {
            list.agents.push(AgentEntry {
                id: preset.id.to_string(),
                description: preset.description.clone(),
                executor: preset.executor.as_str().to_owned(),
                supports: preset.supports.clone(),
                missing: executor::agent::missing(preset).await,
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
        let missing = executor::agent::missing(preset).await;
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
        let seen = folder.path().join("seen.json");
        let mut setting = self.setting()?;
        setting.agents = Arc::new(watched(preset, &seen)?);
        let (matrix, matrix_bytes) = easy(preset)?;
        let store = Store::open(&folder.path().join("results"))?;
        let options = RunOptions { timeout_per_test: test.timeout_per_test, ..RunOptions::default() };
        let request = RunRequest { matrix, matrix_bytes, setting, store, options };
        let document = engine::run(request, listeners, cancel).await?;
        let Some(case) = document.cases.into_iter().next() else {
            return Err(ApiError::Unjudged("interrupted before the case began".to_owned()));
        };
        let logs = RunDir::at(PathBuf::from(&document.dir)).case_logs(&case.id);
        let seen = std::fs::read(&seen).ok().and_then(|bytes| serde_json::from_slice::<Seen>(&bytes).ok());
        let seen = seen.unwrap_or_default();
        Ok(AgentTested {
            task: seen.task,
            environment: seen.environment,
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
    let objective = match preset.supports.as_slice() {
        [] => Objective::Diagnose,
        all if all.contains(&Objective::Diagnose) => Objective::Diagnose,
        [first, ..] => *first,
    };
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

/// The agent's preset with this program before its command: it writes down what the agent finds, then becomes it.
fn watched(preset: &AgentPreset, seen: &Path) -> Result<Agents, ApiError> {
    let mut preset = preset.clone();
    if !preset.command.is_empty() {
        let before =
            ["$(harness)".to_owned(), "probe".to_owned(), seen.to_string_lossy().into_owned(), "--".to_owned()];
        preset.command.splice(0..0, before);
    }
    let text = without_empty(preset.to_json()).to_string();
    let agents = Agents::load(&[], vec![(preset.id.to_string(), text)]);
    match agents.problems() {
        [] => Ok(agents),
        [problem, ..] => Err(ApiError::Invalid(problem.diagnostics.clone())),
    }
}

/// A preset as a person would write it: what is empty or null is the default, and not everything may be said empty.
fn without_empty(value: Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(key, value)| (key, without_empty(value)));
            Value::Object(members.filter(|(_, value)| !is_empty(value)).collect())
        }
        other => other,
    }
}

/// What an agent finds.
#[derive(Default, Serialize, Deserialize)]
struct Seen {
    environment: Vec<String>,
    task: Option<Value>,
}

/// Writes down the names of this process's environment and its task, then becomes the program: for
/// [`Harness::agents_test`], inside what the executor sets up. Returns only when that failed.
pub fn probe(seen: &Path, program: &str, args: &[String]) -> io::Error {
    let mut environment: Vec<String> =
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    environment.sort();
    let task = std::env::var_os("HARNESS_TASK").and_then(|path| std::fs::read(path).ok());
    let task = task.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let written = serde_json::to_vec(&Seen { environment, task })
        .map_err(io::Error::from)
        .and_then(|bytes| std::fs::write(seen, bytes));
    match written {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(error) => error,
    }
}

fn last_lines(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}
