//! Matrices: checked against what is there, and listed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use catalog::{AgentPreset, Agents, Executor, ExecutorFrom, Library, Problem};
use engine::{Selection, Setting};
use matrix::{CaseSpec, Known, Matrix, ObjectiveCheck, ParamsCheck};
use model::Objective;
use serde::Serialize;
use yaml::{Diagnostic, Diagnostics, Severity, Source};

use crate::baseline::{Found, of_matrix};
use crate::harness::shown;
use crate::{ApiError, Choice, Harness};

/// A matrix without errors.
pub(crate) struct Checked {
    pub(crate) matrix: Matrix,
    /// The file, byte for byte.
    pub(crate) bytes: Vec<u8>,
    pub(crate) warnings: Diagnostics,
    /// What its `accept` compares with.
    pub(crate) baseline: Option<Found>,
}

/// What came of checking a matrix.
#[derive(Clone, Debug, Serialize)]
pub struct Validation {
    /// The file, as it was named.
    pub file: String,
    /// Whether it can be run.
    pub valid: bool,
    /// How many cases it has; 0 when it is invalid.
    pub cases: u64,
    /// Its agents and what runs them.
    pub agents: Vec<AgentPlan>,
    /// What is wrong, everything at once.
    pub errors: Vec<Finding>,
    /// What is odd.
    pub warnings: Vec<Finding>,
    /// Errors and warnings with their source, for people.
    #[serde(skip)]
    pub diagnostics: Diagnostics,
}

/// An error or a warning.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// From 1; none when it is about the file as a whole.
    pub line: Option<usize>,
    /// From 1.
    pub column: Option<usize>,
    /// A stable word.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// An agent of a matrix.
#[derive(Clone, Debug, Serialize)]
pub struct AgentPlan {
    /// As the matrix names it.
    pub name: String,
    /// The preset.
    pub id: String,
    /// A control: never decides.
    pub control: bool,
    /// What runs it.
    pub executor: String,
    /// Who says so: a key of a preset, or the default.
    pub executor_from: String,
    /// What it needs and is not there: its cases would be skipped.
    pub missing: Option<String>,
}

/// A case before it is run.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedCase {
    /// Its id.
    pub id: String,
    /// As the matrix names it.
    pub cluster: String,
    /// As the matrix names it.
    pub failure: String,
    /// As the matrix names it.
    pub agent: String,
    /// From 1.
    pub repeat: u32,
    /// Never decides.
    pub control: bool,
}

/// The cases of a matrix; made one after the other, so that a million of them take no memory.
#[derive(Debug)]
pub struct Listing {
    /// What is odd in the matrix.
    pub warnings: Diagnostics,
    matrix: Matrix,
    selection: Selection,
}

impl Listing {
    /// The selected cases, in the order in which they run.
    pub fn cases(&self) -> impl Iterator<Item = PlannedCase> + '_ {
        self.selection.cases(&self.matrix).map(|case| planned(&case))
    }

    /// Whether nothing is selected, in whichever partition.
    pub(crate) fn is_empty(&self) -> bool {
        self.selection.is_empty(&self.matrix)
    }

    /// How many cases there are, selected or not.
    pub(crate) fn all(&self) -> u64 {
        self.matrix.case_count()
    }

    pub(crate) fn matrix(&self) -> &Matrix {
        &self.matrix
    }
}

fn planned(case: &CaseSpec<'_>) -> PlannedCase {
    PlannedCase {
        id: case.id.to_string(),
        cluster: case.cluster.id.to_string(),
        failure: case.failure.name.to_string(),
        agent: case.agent.name.to_string(),
        repeat: case.repeat,
        control: case.agent.control,
    }
}

impl Harness {
    /// The cases that are chosen.
    pub(crate) fn listing(&self, checked: Checked, choice: &Choice, path: &Path) -> Result<Listing, ApiError> {
        let Checked { matrix, mut warnings, .. } = checked;
        let (selection, odd) = self.selection(choice, &matrix, path)?;
        warnings.0.extend(odd);
        Ok(Listing { warnings, matrix, selection })
    }

    /// Checks a matrix: the file by itself, against the failures and agents that are there, and its parameters.
    ///
    /// # Errors
    /// None today: what is wrong with the matrix is in the answer.
    pub async fn validate(&self, path: &Path) -> Result<Validation, ApiError> {
        let (checked, diagnostics) = match self.check(path) {
            Ok(checked) => {
                let warnings = checked.warnings.clone();
                (Some(checked), warnings)
            }
            Err(ApiError::Invalid(diagnostics)) => (None, diagnostics),
            Err(other) => return Err(other),
        };
        let of = |severity| diagnostics.iter().filter(move |one| one.severity == severity).map(finding).collect();
        let agents = match &checked {
            Some(checked) => self.agent_plans(&checked.matrix).await?,
            None => Vec::new(),
        };
        Ok(Validation {
            file: shown(path),
            valid: checked.is_some(),
            cases: checked.as_ref().map_or(0, |checked| checked.matrix.case_count()),
            agents,
            errors: of(Severity::Error),
            warnings: of(Severity::Warning),
            diagnostics: diagnostics.clone(),
        })
    }

    /// The cases of a matrix.
    ///
    /// # Errors
    /// The matrix is invalid, a filter cannot be read, or there is no such run.
    pub fn list(&self, path: &Path, choice: &Choice) -> Result<Listing, ApiError> {
        self.listing(self.check(path)?, choice, path)
    }

    async fn agent_plans(&self, matrix: &Matrix) -> Result<Vec<AgentPlan>, ApiError> {
        let setting = self.setting_for(matrix)?;
        let mut plans = Vec::new();
        for used in &matrix.agents {
            let Some(preset) = setting.agents.get(used.id.as_str()) else { continue };
            plans.push(AgentPlan {
                name: used.name.to_string(),
                id: used.id.to_string(),
                control: used.control,
                executor: preset.executor.as_str().to_owned(),
                executor_from: executor_from(preset, &setting),
                missing: engine::missing(preset, &setting).await,
            });
        }
        Ok(plans)
    }

    /// What the engine needs for the cases of a matrix: also agents without a preset, which `run-live-test.sh` runs.
    pub(crate) fn setting_for(&self, matrix: &Matrix) -> Result<Setting, ApiError> {
        let mut setting = self.setting()?;
        setting.agents = Arc::new(setting.agents.with_live_tests(matrix.agents.iter().map(|used| &used.id)));
        Ok(setting)
    }

    /// A matrix without errors, or all its errors.
    pub(crate) fn check(&self, path: &Path) -> Result<Checked, ApiError> {
        let (source, bytes) = read(path)?;
        let matrix = Matrix::parse(&source, &self.known()?)?;
        let baseline = of_matrix(&matrix, &source, path)?;
        Ok(Checked { warnings: matrix.warnings.clone(), matrix, bytes, baseline })
    }

    /// What a matrix may name.
    fn known(&self) -> Result<Known, ApiError> {
        let unusable = |problems: &[Problem]| -> BTreeMap<String, String> {
            problems.iter().map(|problem| (problem.id.clone(), problem.to_string())).collect()
        };
        let (library, agents) = (Arc::clone(self.library()), Arc::clone(self.agents()));
        Ok(Known {
            failures: library.ids(),
            agents: agents.ids(),
            live_test: self.grants()?.executors.live_test_script.is_some(),
            provisioners: cluster::PROVISIONERS.iter().map(|name| (*name).to_owned()).collect(),
            template: Some(Arc::new(wrong_template)),
            access: self.grants()?.access_names().into_iter().map(str::to_owned).collect(),
            unusable_failures: unusable(library.problems()),
            unusable_agents: unusable(agents.problems()),
            params: Some(params_check(Arc::clone(&library))),
            failure_serves: Some(failure_serves(library)),
            agent_serves: Some(agent_serves(agents)),
        })
    }
}

/// Asks the provisioner, which looks at the operator's own files and at no cluster.
fn wrong_template(provisioner: &str, template: &str) -> Option<String> {
    let source = cluster::Source { provisioner, template: Some(template), ..cluster::Source::default() };
    cluster::provisioner(&source).err().map(|error| error.to_string())
}

/// Which words of which file give an agent its executor.
fn executor_from(preset: &AgentPreset, setting: &Setting) -> String {
    let file = setting.agents.origin(preset.id.as_str()).map(shown);
    let script = match (preset.executor, &setting.grants.executors.live_test_script) {
        (Executor::LiveTest, Some(script)) => format!("; {script}"),
        _ => String::new(),
    };
    let from = match (file, preset.executor_from) {
        (None, _) => "the default: it has no preset".to_owned(),
        (Some(file), ExecutorFrom::Key) => format!("`executor:` in {file}"),
        (Some(file), ExecutorFrom::Command) => format!("`command:` in {file}"),
        (Some(file), ExecutorFrom::Default) => format!("the default: {file} names none"),
    };
    format!("{from}{script}")
}

fn params_check(library: Arc<Library>) -> ParamsCheck {
    Arc::new(move |id, given| {
        let Some(failure) = library.get(id) else { return Vec::new() };
        let problems = failure.metadata.params.values(given).err().unwrap_or_default();
        problems.into_iter().map(|problem| (problem.name, problem.message)).collect()
    })
}

/// A repair can only be asked for where one is known to be possible.
fn failure_serves(library: Arc<Library>) -> ObjectiveCheck {
    Arc::new(move |id, objective| {
        let metadata = &library.get(id)?.metadata;
        let repairable = !metadata.reference_fix.is_empty() || metadata.ground_truth_is_none();
        let asked = objective != Objective::Diagnose;
        (asked && !repairable)
            .then(|| format!("failure `{id}` has no `reference_fix`, so it serves only `objective: diagnose`"))
    })
}

fn agent_serves(agents: Arc<Agents>) -> ObjectiveCheck {
    Arc::new(move |id, objective| {
        let preset = agents.get(id)?;
        let words: Vec<&str> = preset.supports.iter().map(|one| one.as_str()).collect();
        (!preset.supports(objective)).then(|| {
            format!(
                "agent `{id}` supports {}, not `{}`: choose another objective or agent",
                words.join(" and "),
                objective.as_str()
            )
        })
    })
}

/// The text for the parser and the bytes for the record: the parser leaves out a byte order mark, the record does not.
fn read(path: &Path) -> Result<(Source, Vec<u8>), ApiError> {
    let name = shown(path);
    let mut bytes = Vec::new();
    let most = yaml::MAX_BYTES as u64 + 1;
    match File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
        Ok(_) => Ok((Source::from_bytes(name, &bytes)?, bytes)),
        Err(error) => {
            let message = format!("cannot be read: {error}");
            Err(Diagnostic::without_span("io", &Source::new(name, ""), message).into())
        }
    }
}

fn finding(one: &Diagnostic) -> Finding {
    let (line, column) = one.location().unzip();
    Finding {
        file: one.source.name.clone(),
        line,
        column,
        code: one.code.to_owned(),
        message: one.message.clone(),
        help: one.help.clone(),
    }
}
