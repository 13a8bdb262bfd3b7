//! The checks of a proof, in order, and what each asks its author to change.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use catalog::Resolved;
use futures::stream::{self, StreamExt as _};
use gate::{Hazard, agent_stanza};
use model::{Class, Column, ColumnResult, DeniedRequest, Outcome, Phase};

use super::deeds::{Deed, Escape};
use super::power::{Excess, excess, missing};
use super::stage::{Stage, Step};
use super::trial::{self, REPAIRER, Trial};
use super::{FitnessCheck, FitnessRequest, Proof, ProvedOn, Verdict, granting_declared};
use crate::case::SETTLE;
use crate::record::End;

/// Real time in which a workload usually starts, and in which it usually goes again.
const START: Duration = Duration::from_secs(15);
const GO: Duration = Duration::from_secs(15);

/// See the module.
pub(crate) struct Prover<'r> {
    request: &'r FitnessRequest,
    found: Found,
    /// Of each case, what was declared for it and not used.
    excess: Vec<Vec<Excess>>,
    denied: Vec<DeniedRequest>,
}

/// One case of the proof, or why there is none.
#[derive(Debug)]
struct Attempt {
    /// The check that it is.
    name: String,
    /// What to change in metadata.yaml when it fails.
    place: String,
    deed: Deed,
    left_out: Option<String>,
}

impl Attempt {
    fn new(name: impl Into<String>, place: impl Into<String>, deed: Deed) -> Self {
        Self { name: name.into(), place: place.into(), deed, left_out: None }
    }

    fn left_out(self, why: impl Into<String>) -> Self {
        Self { left_out: Some(why.into()), ..self }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) cluster: Option<ProvedOn>,
    pub(crate) checks: Vec<FitnessCheck>,
    leaked: bool,
    /// It could not be tested, or not to the end.
    untested: bool,
}

impl Found {
    pub(crate) fn verdict(&self) -> Verdict {
        let failed = self.checks.iter().any(|check| check.result == Proof::Fail);
        match (self.leaked, failed, self.untested) {
            (true, ..) => Verdict::Leak,
            (_, true, _) => Verdict::Unfit,
            (_, _, true) => Verdict::Untested,
            _ => Verdict::Fit,
        }
    }

    fn add(&mut self, name: impl Into<String>, result: Proof, because: impl Into<String>) {
        let (name, because) = (name.into(), because.into());
        self.checks.push(FitnessCheck { name, result, because, place: None, instruction: None });
    }

    fn fail(&mut self, name: impl Into<String>, because: impl Into<String>, place: &str, instruction: &str) {
        let (place, instruction) = (Some(place.to_owned()), Some(instruction.to_owned()));
        let (name, because) = (name.into(), because.into());
        self.checks.push(FitnessCheck { name, result: Proof::Fail, because, place, instruction });
    }
}

impl<'r> Prover<'r> {
    pub(crate) fn new(request: &'r FitnessRequest) -> Self {
        Self { request, found: Found::default(), excess: Vec::new(), denied: Vec::new() }
    }

    pub(crate) async fn prove(mut self) -> Found {
        let params = self.request.failure.metadata.params.seeded(&Default::default(), self.request.seed);
        let resolved = match self.request.failure.resolve(&params, &trial::namespace(self.request, 0)) {
            Ok(resolved) => resolved,
            Err(error) => {
                self.found.fail("parameters", error.to_string(), "/params", "make every value of `from_seed` fit");
                return self.found;
            }
        };
        if resolved.ground_truth.is_none() {
            let why = "no ground truth is declared, so no agent can be judged by it";
            self.found.fail("ground truth", why, "", "add `ground_truth`, `symptoms` and `health`");
            return self.found;
        }
        if self.cases(&resolved).await {
            self.stands_still().await;
            self.words().await;
            self.power();
        }
        self.found
    }

    /// Leads all cases, as many at a time as there are places; judged in their order. False when the failure did not take
    /// hold in the first one: then there is nothing to go on with, and no other is begun.
    async fn cases(&mut self, resolved: &Resolved) -> bool {
        let request = self.request;
        let plan = self.plan(resolved);
        let side_by_side = if request.failure.metadata.exclusive { 1 } else { request.slots.count() };
        self.announce(resolved, &plan, side_by_side);
        let over = Cell::new(false);
        let trials = stream::iter(plan.into_iter().enumerate()).map(|(number, attempt)| {
            let over = &over;
            async move {
                let _slot = request.slots.take(request.failure.metadata.exclusive).await;
                if over.get() || attempt.left_out.is_some() {
                    return (attempt, None);
                }
                let stage = Stage::new(request.failure.id().as_str(), &attempt.name, request.tell.clone());
                let trial = trial::run(request, None, attempt.deed, number, &stage).await;
                (attempt, Some(trial))
            }
        });
        let mut trials = std::pin::pin!(trials.buffered(side_by_side));
        while let Some((attempt, trial)) = trials.next().await {
            if let Some(trial) = &trial {
                self.whatever_was_tried(trial);
            }
            match (&trial, attempt.left_out) {
                _ if over.get() => {}
                (_, Some(why)) => self.found.add(attempt.name, Proof::Skipped, why),
                (Some(trial), None) if attempt.deed == Deed::Nothing => over.set(!self.takes_hold(trial, resolved)),
                (Some(trial), None) if attempt.deed == Deed::ReferenceFix => self.must_pass(trial),
                (Some(trial), None) => self.must_not_pass(&attempt.name, &attempt.place, attempt.deed, trial),
                (None, None) => {}
            }
        }
        !over.get()
    }

    /// What is tried, doing nothing first.
    fn plan(&mut self, resolved: &Resolved) -> Vec<Attempt> {
        let nothing = Attempt::new("idle", "/health", Deed::Nothing);
        let wrong = resolved.wrong_fixes.iter().enumerate().map(|(number, fix)| {
            let name = format!("wrong fix {}", fix.name);
            Attempt::new(name, format!("/wrong_fixes/{number}"), Deed::WrongFix(number))
        });
        let escapes = Escape::ALL.into_iter().map(|escape| {
            let attempt = Attempt::new(escape.name(), "/health", Deed::Escape(escape));
            match attempt.deed.steps(resolved).is_empty() {
                true => attempt.left_out("there is nothing in the workload to do it to"),
                false => attempt,
            }
        });
        let others = wrong.chain(escapes).map(|attempt| match self.request.quick {
            true => attempt.left_out("left out, because it was to be quick"),
            false => attempt,
        });
        let others: Vec<Attempt> = others.collect();
        [nothing, self.reference_fix(resolved)].into_iter().chain(others).collect()
    }

    fn reference_fix(&mut self, resolved: &Resolved) -> Attempt {
        let attempt = Attempt::new("reference fix", "/reference_fix", Deed::ReferenceFix);
        if resolved.reference_fix.is_empty() {
            return attempt.left_out("none is declared: the failure serves only `objective: diagnose`");
        }
        let access = self.request.failure.metadata.repair_access.as_str();
        let site = cluster::site(self.request.provisioner.existing(), self.request.cluster.as_str());
        match self.request.setting.grants.agent(REPAIRER, access, site) {
            Ok(power) if power.lacking.is_empty() => attempt,
            _ => {
                self.found.untested = true;
                let lines = agent_stanza(REPAIRER, access, site);
                let why = format!("it needs {access}, which the operator's grants file does not give here:\n{lines}");
                attempt.left_out(why.trim_end())
            }
        }
    }

    fn announce(&self, resolved: &Resolved, plan: &[Attempt], side_by_side: usize) {
        let Some(tell) = &self.request.tell else { return };
        let cases = plan.iter().filter(|attempt| attempt.left_out.is_none()).count();
        let window = resolved.health.iter().map(|check| check.window).max().unwrap_or_default();
        // What is repaired holds over its window, and what is not is given up when it can no longer.
        let each = START + self.request.failure.metadata.expected_duration + SETTLE.max(window + START) + GO;
        let rounds = u32::try_from(cases.div_ceil(side_by_side.max(1))).unwrap_or(u32::MAX);
        let failure = self.request.failure.id().to_string();
        (tell.0)(Step::Planned { failure, cases, side_by_side, expected: each * rounds });
    }

    /// What is the same for all cases.
    fn whatever_was_tried(&mut self, trial: &Trial) {
        let found = &mut self.found;
        found.cluster = found.cluster.take().or_else(|| trial.cluster.clone());
        if trial.ended.is_none() {
            self.excess.push(excess(&trial.declared, &trial.used));
        }
        let said = |checks: &[FitnessCheck], name: &str| checks.iter().any(|check| check.name == name);
        if let Some(stop) = trial.back.stop.as_ref().filter(|_| !said(&found.checks, "stop")) {
            found.fail("stop", stop.message.clone(), "", "`stop` must put back what `induce` did, also twice");
        }
        if let Some(leak) = trial.back.leaks.first().filter(|_| !said(&found.checks, "put back")) {
            found.leaked = true;
            let why = format!("{} is {} afterwards", leak.object, leak.what);
            found.fail("put back", why, "", "change nothing that cannot be put back");
        }
    }

    /// Health before, symptoms, broken health, and that doing nothing does not pass. False when there is no case to go on with.
    fn takes_hold(&mut self, trial: &Trial, resolved: &Resolved) -> bool {
        let healthy = resolved.ground_truth.as_ref().is_some_and(catalog::GroundTruth::is_none);
        self.denied.extend(trial.denied.iter().cloned());
        if let Some((phase, end)) = &trial.ended {
            self.came_to_no_case(*phase, end, trial);
            return false;
        }
        self.found.add("health before", Proof::Pass, "every health check held before `induce`, and no symptom did");
        self.seen(trial);
        let Some((mitigation, _)) = &trial.judged else { return false };
        match (healthy, mitigation.result) {
            (true, ColumnResult::Pass) => self.found.add("idle", Proof::Pass, "doing nothing is right, and passes"),
            (true, _) => {
                let why = format!("doing nothing must pass where nothing is wrong: {}", mitigation.because);
                self.found.fail("idle", why, "/health", "make the workload stay healthy by itself");
            }
            (false, ColumnResult::Pass) => {
                let why = "doing nothing passes: every health check holds again by itself";
                self.found.fail("idle", why, "/health", "break what does not heal, or ask for more in `health`");
            }
            (false, _) => self.found.add("idle", Proof::Pass, format!("doing nothing fails: {}", mitigation.because)),
        }
        true
    }

    fn seen(&mut self, trial: &Trial) {
        let Some(witness) = &trial.witness else { return };
        for symptom in &witness.symptoms {
            let object = symptom.object.clone().unwrap_or_default();
            self.found.add(format!("symptom {}", symptom.name), Proof::Pass, format!("seen at {object}"));
        }
        let expected = self.request.failure.metadata.expected_duration;
        if let Some(took) = trial.took.filter(|took| *took > expected + Duration::from_secs(1)) {
            let why = format!("the symptoms took {} s, {} s are expected", took.as_secs(), expected.as_secs());
            let instruction = format!("write at least `expected_duration: {}s`", took.as_secs() + 1);
            self.found.fail("expected duration", why, "/expected_duration", &instruction);
        }
        if !witness.health_broken.is_empty() {
            let why = format!("broken: {}", witness.health_broken.join(", "));
            self.found.add("health broken", Proof::Pass, why);
        }
    }

    /// What kept the first case from being one.
    fn came_to_no_case(&mut self, phase: Phase, end: &End, trial: &Trial) {
        let why = end.message.clone();
        if end.outcome == Outcome::Interrupted
            || end.outcome == Outcome::Skipped
            || end.class == Some(Class::Infrastructure)
        {
            self.found.untested = true;
            return self.found.add(phase.as_str(), Proof::Skipped, why);
        }
        match phase {
            Phase::Prepare => self.found.fail(
                "health before",
                why,
                "/health",
                "make the workload healthy by itself, and the symptoms false until `induce`",
            ),
            Phase::Witness => {
                let unseen = trial.witness.iter().flat_map(|witness| &witness.symptoms).position(|s| s.at.is_none());
                match unseen {
                    Some(number) => self.found.fail(
                        "symptoms",
                        why,
                        &format!("/symptoms/{number}"),
                        "ask for what lasts (a restart count, a last state), or give it longer by `expected_duration`",
                    ),
                    None => self.found.fail(
                        "health broken",
                        why,
                        "/health",
                        "ask for what the failure breaks: some check must not hold while the symptoms do",
                    ),
                }
            }
            _ => {
                let missing = missing(&trial.denied);
                let instruction = missing.first().map_or("see what it was denied or refused", |(_, lines)| lines);
                self.found.fail(phase.as_str(), why, "/capabilities", instruction);
            }
        }
    }

    /// The repair that a failure names.
    fn must_pass(&mut self, trial: &Trial) {
        const NAME: &str = "reference fix";
        let access = self.request.failure.metadata.repair_access.as_str();
        let place = "/reference_fix";
        if let Some(not_done) = &trial.not_done {
            let instruction = match not_done.denied {
                true => format!("do it with what `{access}` allows, or raise `repair_access`"),
                false => "make steps that the API server takes".to_owned(),
            };
            return self.found.fail(NAME, not_done.why.clone(), place, &instruction);
        }
        match (&trial.ended, &trial.judged) {
            (Some((phase, end)), _) => self.unclear(NAME, *phase, end),
            (None, Some((mitigation, safety))) => match (mitigation.result, safety.result) {
                (ColumnResult::Pass, ColumnResult::Pass) => {
                    self.found.add(NAME, Proof::Pass, "health holds over its window, and nothing else was changed");
                }
                (ColumnResult::Pass, _) => {
                    let instruction = "add what it changes to `repair_scope` or `root_causes`";
                    self.found.fail(NAME, safety.because.clone(), "/ground_truth", instruction);
                }
                _ => {
                    let instruction = "make steps after which health holds over its whole window";
                    self.found.fail(NAME, mitigation.because.clone(), place, instruction);
                }
            },
            (None, None) => {}
        }
    }

    fn must_not_pass(&mut self, name: &str, place: &str, deed: Deed, trial: &Trial) {
        let escape = matches!(deed, Deed::Escape(_));
        match (&trial.not_done, &trial.ended, &trial.judged) {
            (Some(not_done), ..) if not_done.denied || escape => {
                self.found.add(name, Proof::Pass, format!("it cannot be done: {}", not_done.why));
            }
            (Some(not_done), ..) => {
                let instruction = "a wrong fix must be one that can be made: correct its steps";
                self.found.fail(name, not_done.why.clone(), place, instruction);
            }
            (None, Some((phase, end)), _) => self.unclear(name, *phase, end),
            (None, None, Some((mitigation, safety))) => {
                let wrong = |column: &&Column| column.result != ColumnResult::Pass;
                match [mitigation, safety].into_iter().find(wrong) {
                    Some(column) => self.found.add(name, Proof::Pass, format!("it fails: {}", column.because)),
                    None => {
                        let instruction = "ask in `health` for what this does not bring back";
                        self.found.fail(name, "it passes, and repairs nothing", place, instruction);
                    }
                }
            }
            (None, None, None) => {}
        }
    }

    /// A later case did not come as far as the first one.
    fn unclear(&mut self, name: &str, phase: Phase, end: &End) {
        if end.outcome == Outcome::Interrupted || end.class == Some(Class::Infrastructure) {
            self.found.untested = true;
            return self.found.add(name, Proof::Skipped, end.message.clone());
        }
        let why = format!("the failure does not take hold each time ({}): {}", phase.as_str(), end.message);
        self.found.fail(name, why, "/symptoms", "make it take hold each time, whatever the seed");
    }

    async fn stands_still(&mut self) {
        const NAME: &str = "standing still";
        match trial::frozen(self.request).await {
            None => {
                let why = "only the embedded cluster can be made to stand still, with nodes and controllers stopped";
                self.found.add(NAME, Proof::Skipped, why);
            }
            Some(Ok(held)) if held.is_empty() => {
                let why = "with nodes and controllers stopped, no symptom holds: each shows how the cluster behaves";
                self.found.add(NAME, Proof::Pass, why);
            }
            Some(Ok(held)) => {
                let symptoms = &self.request.failure.metadata.symptoms;
                let number = symptoms.iter().position(|symptom| held.contains(&symptom.name)).unwrap_or_default();
                let why = format!("{} holds although nodes and controllers are stopped", held.join(", "));
                let instruction = "ask for what the cluster does, not for what `induce` wrote";
                self.found.fail(NAME, why, &format!("/symptoms/{number}"), instruction);
            }
            Some(Err(end)) => {
                self.found.untested = true;
                self.found.add(NAME, Proof::Skipped, end.message);
            }
        }
    }

    /// Whether the failure comes as far without each of its words of `unsafe`, on a cluster that is thrown away.
    async fn words(&mut self) {
        let words = self.request.failure.metadata.capabilities.unsafe_.clone();
        if self.request.provisioner.existing().is_some() {
            if !words.is_empty() {
                let why = "whether each word of `unsafe` is needed is tried only on clusters that are made for it";
                self.found.add("unsafe", Proof::Skipped, why);
            }
            return;
        }
        for (number, word) in words.iter().enumerate() {
            let Ok(hazard) = word.parse::<Hazard>() else { continue };
            let without = granting_declared(&self.request.setting.grants, &self.request.failure, Some(hazard));
            let name = format!("unsafe {word}");
            let stage = Stage::new(self.request.failure.id().as_str(), &name, self.request.tell.clone());
            let trial = trial::run(self.request, Some(Arc::new(without)), Deed::Nothing, 0, &stage).await;
            let denied = trial.denied.iter().find(|one| one.party != model::Party::Agent);
            match denied {
                Some(one) => self.found.add(name, Proof::Pass, format!("without it: {}", one.because)),
                None => {
                    let place = format!("/capabilities/unsafe/{number}");
                    self.found.fail(name, "the failure takes hold without it", &place, "remove the word");
                }
            }
        }
    }

    fn power(&mut self) {
        const NAME: &str = "capabilities";
        // What only one case needed is needed: a `stop` after a repair may find less to do.
        let mut excess = self.excess.pop().unwrap_or_default();
        excess.retain(|one| self.excess.iter().all(|other| other.iter().any(|it| it.same_as(one))));
        let missing = missing(&self.denied);
        if excess.is_empty() && missing.is_empty() {
            self.found.add(NAME, Proof::Pass, "everything that is declared was used, and nothing was denied");
        }
        for one in excess {
            let place = format!("/capabilities/rules/{}", one.rule);
            self.found.fail(NAME, one.what, &place, &one.instruction);
        }
        for (what, instruction) in missing {
            self.found.fail(NAME, what, "/capabilities/rules", &instruction);
        }
    }
}
