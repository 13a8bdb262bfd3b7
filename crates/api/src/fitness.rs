//! `failures test`: which failures, on which cluster, several side by side, and which lines are to be changed.

use std::collections::VecDeque;
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use catalog::{Failure, Origin};
use engine::{Cancel, Fitness, FitnessRequest, FitnessStep, FitnessVerdict, Proof, Slots, TellFitness};
use gate::Grants;
use model::exit_code;
use serde::Serialize;
use yaml::{Diagnostics, Kind, Node, Source};

use crate::failures::seed;
use crate::harness::shown;
use crate::{ApiError, Harness};

/// What is to be tested, and where.
#[derive(Clone, Debug, Default)]
pub struct FailuresTest {
    /// These failures; all of them when there are none.
    pub ids: Vec<String>,
    /// On the existing cluster that this file leads to.
    pub kubeconfig: Option<String>,
    /// On the existing cluster of this context.
    pub context: Option<String>,
    /// Everything random follows from it; a random one when none.
    pub seed: Option<u64>,
    /// How many cases may be at work on an existing cluster at a time; a few when none is given.
    pub parallel: Option<NonZero<u32>>,
    /// Only what must pass, and doing nothing: no wrong fixes, no ways out.
    pub quick: bool,
}

/// What is told while failures are tested.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// Something goes on on an existing cluster, where time is real.
    Step(&'a FitnessStep),
    /// A failure is done.
    Tested(&'a FailureTested),
}

/// What became of one failure.
#[derive(Clone, Debug, Serialize)]
pub struct FailureTested {
    /// The proof.
    #[serde(flatten)]
    pub fitness: Fitness,
    /// What to change, with file and line where there is a file: empty when it is fit.
    pub instructions: Vec<String>,
}

impl Harness {
    /// Proves failures: several side by side where each has a cluster of its own; on an existing one their cases side by side,
    /// in namespaces of their own, but for those that change the cluster for all. `tell` hears of each as it is done. What
    /// comes back are all of them in the order of their ids, and the exit code that they mean.
    ///
    /// # Errors
    /// Before anything is run: an unknown id, a failure with errors, a cluster that may not be used.
    pub fn failures_test(
        &self,
        test: &FailuresTest,
        tell: impl Fn(Told<'_>) + Send + Sync + 'static,
        cancel: &Cancel,
    ) -> Result<(Vec<FailureTested>, u8), ApiError> {
        let failures = self.selected(&test.ids)?;
        let existing = test.kubeconfig.is_some() || test.context.is_some();
        let source = cluster::Source {
            provisioner: if existing { "stub" } else { "embedded" },
            template: None,
            kubeconfig: test.kubeconfig.as_deref(),
            context: test.context.as_deref(),
        };
        let provisioner = cluster::provisioner(&source).map_err(|error| ApiError::input(error.to_string()))?;
        let mut setting = self.setting()?;
        let site = cluster::site(provisioner.existing(), CLUSTER);
        setting.grants.cluster(site).map_err(|error| ApiError::input(error.to_string()))?;
        if !existing {
            // Whoever writes a failure need not grant it to himself first, where it can reach nothing of anybody's.
            let all = failures.iter().fold(Grants::clone(&setting.grants), |grants, failure| {
                engine::granting_declared(&grants, failure, None)
            });
            setting.grants = Arc::new(all);
        }
        let seed = test.seed.unwrap_or_else(seed);
        let (tell, shared) = (Arc::new(tell), Slots::new(test.parallel.unwrap_or(SIDE_BY_SIDE)));
        let steps = existing.then(|| {
            let tell = Arc::clone(&tell);
            TellFitness(Arc::new(move |step| tell(Told::Step(&step))))
        });
        let request = |failure: &Failure| -> Result<FitnessRequest, ApiError> {
            Ok(FitnessRequest {
                setting: setting.clone(),
                failure: failure.clone(),
                provisioner: Arc::clone(&provisioner),
                cluster: CLUSTER.parse().map_err(|error: model::IdError| ApiError::input(error.to_string()))?,
                seed,
                // The cases of one embedded cluster after another: its time hurries only while nothing else is at work.
                slots: if existing { shared.clone() } else { Slots::new(NonZero::<u32>::MIN) },
                quick: test.quick,
                tell: steps.clone(),
                cancel: cancel.clone(),
            })
        };
        let requests = failures.iter().map(|failure| request(failure)).collect::<Result<VecDeque<_>, _>>()?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        // On an existing cluster there is mostly waiting, and the places there are the limit.
        let workers = if existing { WAITING } else { cores };
        let mut tested = side_by_side(requests, workers, &*tell)?;
        tested.sort_by(|a, b| a.fitness.id.cmp(&b.fitness.id));
        let code = exit_code_of(&tested, cancel);
        Ok((tested, code))
    }

    fn selected(&self, ids: &[String]) -> Result<Vec<Failure>, ApiError> {
        if !ids.is_empty() {
            return ids.iter().map(|id| self.failure(id).cloned()).collect();
        }
        let problems = self.library().problems();
        if !problems.is_empty() {
            let all = problems.iter().flat_map(|problem| problem.diagnostics.0.clone()).collect();
            return Err(ApiError::Invalid(Diagnostics::new(all)));
        }
        Ok(self.library().iter().cloned().collect())
    }
}

/// Cases at a time on an existing cluster: about the number that a proof has, with three or four small pods each.
const SIDE_BY_SIDE: NonZero<u32> = NonZero::<u32>::MIN.saturating_add(7);
/// Failures whose cases wait for places there.
const WAITING: usize = 4;
/// The cluster's name for grants.
const CLUSTER: &str = "local";

/// Each worker has a runtime of its own, because the time of an embedded cluster only hurries while the runtime is idle.
fn side_by_side(
    requests: VecDeque<FitnessRequest>,
    workers: usize,
    tell: &(impl Fn(Told<'_>) + Sync),
) -> Result<Vec<FailureTested>, ApiError> {
    let runtimes = (0..workers.min(requests.len()).max(1))
        .map(|_| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build())
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|error| ApiError::input(format!("no runtime could be started: {error}")))?;
    let (queue, tested) = (Mutex::new(requests), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for runtime in &runtimes {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(request) = next else { return };
                    let failure = request.failure.clone();
                    let fitness = runtime.block_on(engine::prove(request));
                    let one = FailureTested { instructions: instructions(&fitness, &failure), fitness };
                    tell(Told::Tested(&one));
                    tested.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                }
            });
        }
    });
    Ok(tested.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn exit_code_of(tested: &[FailureTested], cancel: &Cancel) -> u8 {
    let any = |verdict| tested.iter().any(|one| one.fitness.verdict == verdict);
    match cancel.interrupted() {
        _ if any(FitnessVerdict::Leak) => exit_code::LEAK,
        Some(by) => by.exit_code(),
        None if any(FitnessVerdict::Unfit) => exit_code::FAILED,
        None if any(FitnessVerdict::Untested) => exit_code::UNJUDGED,
        None => exit_code::OK,
    }
}

/// `failures/x/metadata.yaml:31: symptom crashes holds …; ask for …`, one for each check that fails.
fn instructions(fitness: &Fitness, failure: &Failure) -> Vec<String> {
    let source = match &failure.origin {
        Origin::Folder(folder) => Source::read(&folder.join("metadata.yaml")).ok(),
        Origin::Builtin | Origin::Wasm(_) => None,
    };
    let failing = fitness.checks.iter().filter(|check| check.result == Proof::Fail);
    let instruction = |check: &engine::FitnessCheck| {
        let pointer = check.place.as_deref().unwrap_or_default();
        let place = match &source {
            Some(source) => format!("{}:{}", source.name, line(source, pointer)),
            None => format!("{}: {}", file(&failure.origin, failure.id().as_str()), pointer.trim_start_matches('/')),
        };
        let what = check.instruction.as_deref().unwrap_or_default();
        format!("{place}: {}: {}; {what}", check.name, check.because)
    };
    failing.map(instruction).collect()
}

fn file(origin: &Origin, id: &str) -> String {
    match origin {
        Origin::Wasm(path) => path.display().to_string(),
        Origin::Builtin | Origin::Folder(_) => shown(&Path::new("failures").join(id).join("metadata.yaml")),
    }
}

/// The line of a JSON pointer, or of as much of it as is there.
fn line(source: &Source, pointer: &str) -> usize {
    let parsed = yaml::parse(source);
    let (mut node, mut start): (&Node, usize) = (&parsed.root, 0);
    for part in pointer.split('/').skip(1) {
        let next = match &node.kind {
            Kind::Map(map) => map.get(part).map(|entry| (&entry.value, entry.key_span.start)),
            Kind::List(list) => {
                part.parse::<usize>().ok().and_then(|n| list.items.get(n)).map(|item| (item, item.span.start))
            }
            _ => None,
        };
        let Some((value, at)) = next else { break };
        (node, start) = (value, at);
    }
    source.location(start).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_line_of_what_is_there_of_it() {
        let source = Source::new("m.yaml", "id: x\nsymptoms:\n  - name: a\n  - name: b\nhealth: []\n");
        assert_eq!(line(&source, "/symptoms/1"), 4);
        assert_eq!(line(&source, "/symptoms/7"), 2);
        assert_eq!(line(&source, "/health"), 5);
        assert_eq!(line(&source, "/reference_fix"), 1);
        assert_eq!(line(&source, ""), 1);
    }
}
