//! One agent, once: a fresh workspace, the environment that DESIGN lists and nothing else, a deadline; then what it
//! answered, used and left behind. Whether the answer is right is not asked here.

use std::fs::File;
use std::future::Future;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use catalog::{AgentOutput, AgentPreset, AgentRequirement, AnswerSource, Executor, StdinKind};
use expr::Expression;
use jiff::Timestamp;
use model::{AnswerRecord, Artifact, Isolation, Objective, Outcome, Task, Usage};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::limits::Limits;
use crate::output::Reading;
use crate::process::{self, Exit, OnLine, ProcessResult, ProcessSpec};
use crate::prompt::{Places, expand, prompt};
use crate::reach::Reach;
use crate::redact::Redactor;
use crate::sandbox::Sandbox;
use crate::workspace::Workspace;
use crate::{answer, artifacts, environment};

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of each log.
const MAX_LOG: u64 = 64 * 1024 * 1024;
/// Bytes of the end of the output in which answer and usage are looked for.
const KEPT_OUTPUT: usize = 8 * 1024 * 1024;
/// How long a version command may take.
const VERSION: Duration = Duration::from_secs(20);

/// An agent and what it is given.
pub struct AgentRun<'a> {
    /// How it is started and read.
    pub preset: &'a AgentPreset,
    /// Appended to the preset's command.
    pub args: &'a [String],
    /// What it is asked. The path of the answer is filled in here.
    pub task: &'a Task,
    /// The text of its kubeconfig.
    pub kubeconfig: &'a str,
    /// What `$(harness)` stands for, and what watches over it.
    pub harness_exe: &'a Path,
    /// What it must not read, wherever that lies.
    pub hidden: &'a [PathBuf],
    /// Where it is written down what the agent was given: task, names of its environment, what it may read and write.
    pub given_log: PathBuf,
    /// Where its standard output is written to.
    pub stdout_log: PathBuf,
    /// Where its standard error is written to.
    pub stderr_log: PathBuf,
    /// Where the files that it leaves are copied to; made when there are any.
    pub artifacts_dir: PathBuf,
    /// When it is ended.
    pub deadline: Instant,
    /// Called with each line of its output.
    pub on_line: OnLine,
}

impl std::fmt::Debug for AgentRun<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentRun").field("preset", &self.preset.id).finish_non_exhaustive()
    }
}

/// What became of an agent.
#[derive(Clone, Debug)]
pub struct AgentResult {
    /// How its process ended.
    pub exit: Exit,
    /// What it handed in.
    pub answer: AnswerRecord,
    /// What it says that it used.
    pub usage: Usage,
    /// What it left in its workspace, sorted by path.
    pub artifacts: Vec<Artifact>,
    /// What was enforced.
    pub isolation: Isolation,
    /// Why it could not work for reasons outside it, where its output says so: infrastructure, not the agent.
    pub unavailable: Option<String>,
    /// What the preset makes of the exit code.
    pub outcome: Option<Outcome>,
    /// Wall time.
    pub started_at: Timestamp,
    /// Wall time.
    pub finished_at: Timestamp,
}

impl AgentResult {
    fn not_started(why: String) -> Self {
        let now = Timestamp::now();
        Self {
            exit: Exit::NotStarted(why),
            answer: AnswerRecord::default(),
            usage: Usage::default(),
            artifacts: Vec::new(),
            isolation: Isolation::default(),
            unavailable: None,
            outcome: None,
            started_at: now,
            finished_at: now,
        }
    }
}

/// What the agent needs and is not there, with how to install it; none when everything is.
pub async fn missing(preset: &AgentPreset, harness_exe: &Path) -> Option<String> {
    for requirement in &preset.requires {
        if let Some(problem) = unmet(requirement, harness_exe).await {
            let install = requirement.install.as_deref().map(|how| format!("; install it with: {how}"));
            return Some(format!("agent `{}` needs {problem}{}", preset.id, install.unwrap_or_default()));
        }
    }
    let program = preset.command.first().filter(|program| !program.contains("$("))?;
    let missing = environment::find_program(program, &environment::path()).is_none();
    missing.then(|| format!("agent `{}` needs {}", preset.id, not_found(program)))
}

fn not_found(program: &str) -> String {
    format!("the program `{program}`, which is {}", absence(program))
}

fn absence(program: &str) -> &'static str {
    if program.contains('/') { "not there, or not executable" } else { "not on PATH" }
}

async fn unmet(requirement: &AgentRequirement, harness_exe: &Path) -> Option<String> {
    let path = environment::path();
    let program = &requirement.program;
    if environment::find_program(program, &path).is_none() {
        return Some(not_found(program));
    }
    let (first, args) = requirement.version.split_first()?;
    let Some(found) = environment::find_program(first, &path) else {
        return Some(not_found(first));
    };
    let spec = ProcessSpec {
        args: args.to_vec(),
        env: environment::for_probe(),
        grace: Duration::from_secs(1),
        keep_output: 4096,
        ..ProcessSpec::new(harness_exe, found, std::env::temp_dir(), Instant::now() + VERSION)
    };
    match process::run(spec, std::future::pending()).await.exit {
        Exit::Code(0) => None,
        exit => Some(format!("a working `{program}`, but `{}` ended with {exit}", requirement.version.join(" "))),
    }
}

/// Runs an agent to its end, to its deadline, or until `cancel` resolves. Dropping the future kills the agent.
pub async fn run(run: AgentRun<'_>, cancel: impl Future<Output = ()> + Send) -> AgentResult {
    let prepared = match prepare(&run) {
        Ok(prepared) => prepared,
        Err(why) => return AgentResult::not_started(why),
    };
    let Prepared { workspace, task, spec, redactor } = prepared;
    let given = Given {
        task,
        environment: spec.env.keys().cloned().collect(),
        sandbox: spec.sandbox.clone().unwrap_or_default(),
        limits: spec.limits,
        landlock: false,
    };
    let ended = process::run(spec, cancel).await;
    let isolation =
        Isolation { home: true, environment: true, process_tree: ended.contained, landlock: ended.landlock };
    given.write(&run.given_log, ended.landlock);
    let Gathered { answer, artifacts, reading } = gather(&run, &ended, workspace, redactor).await;
    let output = &run.preset.output;
    let command: Vec<String> = run.preset.command.iter().chain(run.args).cloned().collect();
    let condition = output.unavailable.as_deref().and_then(|source| Expression::compile(source).ok());
    let outcome = match &ended.exit {
        Exit::Code(code) => run.preset.exit_codes.get(code).copied(),
        _ => None,
    };
    AgentResult {
        answer,
        usage: reading.usage(output, &command),
        artifacts,
        isolation,
        unavailable: condition.and_then(|condition| reading.unavailable(&condition, &ended.stderr)),
        outcome,
        started_at: ended.started_at,
        finished_at: ended.finished_at,
        exit: ended.exit,
    }
}

/// What an agent was given: for whoever wonders why it could not do something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Given {
    /// As it found it.
    pub task: Task,
    /// The names of its environment, sorted.
    pub environment: Vec<String>,
    /// What it might touch, where `landlock` holds.
    pub sandbox: Sandbox,
    /// What it might use.
    pub limits: Limits,
    /// The kernel enforced the sandbox; otherwise it might touch whatever the user may.
    pub landlock: bool,
}

impl Given {
    fn write(mut self, to: &Path, landlock: bool) {
        self.landlock = landlock;
        let written =
            serde_json::to_vec_pretty(&self).map_err(io::Error::from).and_then(|text| std::fs::write(to, text));
        if let Err(error) = written {
            tracing::warn!(%error, path = %to.display(), "cannot write a log");
        }
    }
}

struct Prepared {
    workspace: Workspace,
    task: Task,
    spec: ProcessSpec,
    redactor: Redactor,
}

fn prepare(run: &AgentRun<'_>) -> Result<Prepared, String> {
    let preset = run.preset;
    if preset.executor != Executor::Command {
        return Err(format!("agent `{}` has no command: `run-live-test.sh` runs it", preset.id));
    }
    let Some((program, rest)) = preset.command.split_first() else {
        return Err(format!("the preset of agent `{}` has no command", preset.id));
    };
    let (workspace, task) = furnish(run).map_err(|e| format!("the agent's workspace: {e}"))?;
    let places = Places {
        harness: run.harness_exe,
        task: &workspace.task(),
        answer: &workspace.answer(),
        prompt: &prompt(run.task, preset.answer, &workspace.answer(), &workspace.task()),
    };
    let program = expand(program, &places);
    let Some(found) = environment::find_program(&program, &environment::path()) else {
        return Err(format!("the program `{program}` is {}", absence(&program)));
    };
    let mut env = environment::base(&workspace, &run.task.namespace);
    let passed: Vec<(String, String)> =
        preset.env.pass.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect();
    let mut secrets: Vec<String> = passed.iter().map(|(_, value)| value.clone()).collect();
    secrets.extend(kubeconfig_secrets(run.kubeconfig));
    env.extend(preset.env.set.clone());
    env.extend(passed);
    let stdin = match preset.stdin {
        StdinKind::Prompt => Some(places.prompt.as_bytes().to_vec()),
        StdinKind::Task => Some(std::fs::read(places.task).map_err(|e| format!("the task file: {e}"))?),
        StdinKind::None => None,
    };
    let own_args: Vec<String> = rest.iter().map(|arg| expand(arg, &places)).collect();
    let sandbox = sandbox(run, &found, &own_args, &workspace);
    let args = own_args.into_iter().chain(run.args.iter().cloned()).collect();
    let spec = ProcessSpec {
        args,
        env,
        stdin,
        sandbox: Some(sandbox),
        places: workspace.places(),
        grace: GRACE,
        stdout_log: Some(run.stdout_log.clone()),
        stderr_log: Some(run.stderr_log.clone()),
        max_log: MAX_LOG,
        keep_output: KEPT_OUTPUT,
        secrets: secrets.clone(),
        on_line: run.on_line.clone(),
        ..ProcessSpec::new(run.harness_exe, found, workspace.dir(), run.deadline)
    };
    Ok(Prepared { workspace, task, spec, redactor: Redactor::new(secrets) })
}

/// What the agent may touch. Arguments of the matrix open nothing: matrices come from strangers.
fn sandbox(run: &AgentRun<'_>, program: &Path, args: &[String], workspace: &Workspace) -> Sandbox {
    let mut reach = Reach::new();
    reach.program(program);
    for requirement in &run.preset.requires {
        if let Some(found) = environment::find_program(&requirement.program, &environment::path()) {
            reach.program(&found);
        }
    }
    for arg in args {
        let value = arg.split_once('=').map_or(arg.as_str(), |(_, value)| value);
        [arg.as_str(), value]
            .into_iter()
            .map(Path::new)
            .filter(|path| path.is_absolute())
            .for_each(|path| reach.file(path));
    }
    run.preset.sandbox.read.iter().for_each(|path| reach.named(path));
    Sandbox { read: reach.without(run.hidden), write: workspace.places() }
}

fn furnish(run: &AgentRun<'_>) -> io::Result<(Workspace, Task)> {
    let workspace = Workspace::new()?;
    let mut task = run.task.clone();
    task.answer.path = workspace.answer().to_string_lossy().into_owned();
    workspace.write(&workspace.task(), &serde_json::to_vec_pretty(&task)?)?;
    workspace.write(&workspace.kubeconfig(), run.kubeconfig.as_bytes())?;
    if let Some(home) = std::env::var_os("HOME").map(PathBuf::from) {
        run.preset.home_files.iter().try_for_each(|file| workspace.bring(&home, file))?;
    }
    Ok((workspace, task))
}

/// The token ends with the case, but a log that holds it looks like a leak.
pub(crate) fn kubeconfig_secrets(kubeconfig: &str) -> impl Iterator<Item = String> {
    kubeconfig.lines().filter_map(|line| line.trim().strip_prefix("token: ")).map(str::to_owned)
}

/// What an agent has left.
#[derive(Default)]
struct Gathered {
    answer: AnswerRecord,
    artifacts: Vec<Artifact>,
    reading: Reading,
}

async fn gather(run: &AgentRun<'_>, ended: &ProcessResult, workspace: Workspace, redactor: Redactor) -> Gathered {
    if let Exit::NotStarted(_) = ended.exit {
        return Gathered::default();
    }
    let optional = run.task.objective == Objective::Mitigate;
    let (source, output, stdout) = (run.preset.answer, run.preset.output.clone(), ended.stdout.clone());
    let (into, log) = (run.artifacts_dir.clone(), run.stdout_log.clone());
    let work = spawn_blocking(move || {
        let reading = read_output(&output, &workspace, &stdout, &log);
        let answer = match source {
            AnswerSource::File => answer::from_file(&workspace.dir(), &workspace.answer(), optional),
            AnswerSource::Stdout => answer::from_output(&stdout, optional),
            AnswerSource::Output => answer::from_value(reading.answer(&output), optional),
        };
        Gathered { answer, artifacts: artifacts::collect(&workspace.dir(), &into, &redactor), reading }
    });
    work.await.unwrap_or_else(|_| {
        let error = Some("the answer could not be read".to_owned());
        Gathered { answer: AnswerRecord { error, ..AnswerRecord::default() }, ..Gathered::default() }
    })
}

/// Standard output: its end from memory, the whole from the log. Or the file of the workspace that the preset names.
fn read_output(output: &AgentOutput, workspace: &Workspace, stdout: &str, log: &Path) -> Reading {
    let Some(name) = &output.file else {
        let mut reading = Reading::of(output, stdout);
        if let Ok(file) = File::open(log) {
            reading.count(output, BufReader::new(file));
        }
        return reading;
    };
    let path = workspace.dir().join(name);
    match answer::read_capped(&workspace.dir(), &path, KEPT_OUTPUT as u64, "the output file") {
        Ok(text) => Reading::of(output, &text.unwrap_or_default()),
        Err(error) => {
            tracing::debug!(%error, "an agent's output file is left out");
            Reading::default()
        }
    }
}
