//! About how long the rest of a run takes, from how long its cases have taken so far. Pure: times are given.

use std::collections::HashMap;
use std::time::Duration;

use model::{CaseId, Id, PlannedCases};

/// What cases of one kind took.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    cases: u32,
    sum: Duration,
    /// Not run at all, for want of something that will be wanting again.
    skipped: bool,
}

impl Taken {
    fn mean(self) -> Option<Duration> {
        self.sum.checked_div(self.cases)
    }

    fn only_skipped(self) -> bool {
        self.skipped && self.cases == 0
    }
}

/// Failure and agent.
type Kind = (Id, Id);

/// See the module. A case is thought to take what those of its failure and agent took on average; where there is none yet,
/// what those of its failure took, or those of its agent, whichever is longer; and where neither is known, what all took.
#[derive(Debug, Default)]
pub(crate) struct Estimate {
    kinds: HashMap<Kind, Taken>,
    failures: HashMap<Id, Taken>,
    agents: HashMap<Id, Taken>,
    all: Taken,
    /// Cases that have not begun.
    waiting: HashMap<Kind, u64>,
}

impl Estimate {
    pub(crate) fn of(planned: &[PlannedCases]) -> Self {
        let waiting = planned.iter().map(|some| ((some.failure.clone(), some.agent.clone()), some.cases));
        Self { waiting: waiting.collect(), ..Self::default() }
    }

    /// A case has begun.
    pub(crate) fn began(&mut self, case: &CaseId) {
        if let Some(waiting) = kind(case).and_then(|kind| self.waiting.get_mut(&kind)) {
            *waiting = waiting.saturating_sub(1);
        }
    }

    /// No other will.
    pub(crate) fn stops(&mut self) {
        self.waiting.clear();
    }

    /// One was run, and took its place for so long, with all its attempts.
    pub(crate) fn took(&mut self, case: &CaseId, time: Duration) {
        self.note(case, |taken| (taken.cases, taken.sum) = (taken.cases + 1, taken.sum.saturating_add(time)));
        (self.all.cases, self.all.sum) = (self.all.cases + 1, self.all.sum.saturating_add(time));
    }

    /// One was not.
    pub(crate) fn skipped(&mut self, case: &CaseId) {
        self.note(case, |taken| taken.skipped = true);
    }

    fn note(&mut self, case: &CaseId, mut note: impl FnMut(&mut Taken)) {
        let Some(kind) = kind(case) else { return };
        note(self.failures.entry(kind.0.clone()).or_default());
        note(self.agents.entry(kind.1.clone()).or_default());
        note(self.kinds.entry(kind).or_default());
    }

    /// What a case of this kind takes; none as long as nothing is known at all.
    fn case(&self, kind: &Kind) -> Option<Duration> {
        let own = self.kinds.get(kind).copied().unwrap_or_default();
        let failure = self.failures.get(&kind.0).copied().unwrap_or_default();
        let agent = self.agents.get(&kind.1).copied().unwrap_or_default();
        if [own, failure, agent].into_iter().any(Taken::only_skipped) {
            return Some(Duration::ZERO);
        }
        own.mean().or_else(|| failure.mean().max(agent.mean())).or_else(|| self.all.mean())
    }

    /// What is left when these cases have run for so long, and so many are at work at a time. None as long as nothing is
    /// known, and when all that is left takes longer than was thought.
    pub(crate) fn rest<'a>(
        &self,
        running: impl Iterator<Item = (&'a CaseId, Duration)>,
        at_a_time: u32,
    ) -> Option<Duration> {
        self.all.mean()?;
        let (mut work, mut longest) = (Duration::ZERO, Duration::ZERO);
        for (case, elapsed) in running {
            let whole = kind(case).and_then(|kind| self.case(&kind)).or_else(|| self.all.mean())?;
            let left = whole.saturating_sub(elapsed);
            (work, longest) = (work.saturating_add(left), longest.max(left));
        }
        for (kind, cases) in self.waiting.iter().filter(|(_, cases)| **cases > 0) {
            let each = self.case(kind)?;
            let cases = u32::try_from(*cases).unwrap_or(u32::MAX);
            (work, longest) = (work.saturating_add(each.saturating_mul(cases)), longest.max(each));
        }
        // One case is not done faster by many.
        Some((work / at_a_time.max(1)).max(longest)).filter(|rest| !rest.is_zero())
    }
}

fn kind(case: &CaseId) -> Option<Kind> {
    case.parts().map(|parts| (parts.failure, parts.agent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(text: &str) -> Id {
        text.parse().expect("an id")
    }

    fn case(failure: &str, agent: &str, repeat: u32) -> CaseId {
        CaseId::new(&id("local"), &id(failure), &id(agent), repeat)
    }

    fn estimate(planned: &[(&str, &str, u64)]) -> Estimate {
        let planned = planned.iter().map(|(failure, agent, cases)| PlannedCases {
            failure: id(failure),
            agent: id(agent),
            cases: *cases,
        });
        Estimate::of(&planned.collect::<Vec<_>>())
    }

    /// Runs a case to its end.
    fn ran(estimate: &mut Estimate, case: &CaseId, seconds: u32) {
        estimate.began(case);
        estimate.took(case, seconds * SECOND);
    }

    fn rest(estimate: &Estimate, at_a_time: u32) -> Option<Duration> {
        estimate.rest(std::iter::empty(), at_a_time)
    }

    #[test]
    fn a_case_takes_what_its_like_took() {
        let mut run = estimate(&[("quick", "a", 3), ("quick", "b", 2), ("slow", "a", 2), ("slow", "b", 1)]);
        assert_eq!(rest(&run, 1), None, "nothing is known");
        ran(&mut run, &case("quick", "a", 1), 2);
        assert_eq!(rest(&run, 1), Some(14 * SECOND), "seven like the only one");
        ran(&mut run, &case("quick", "a", 2), 4);
        assert_eq!(rest(&run, 1), Some(18 * SECOND), "six of 3 s");
        ran(&mut run, &case("slow", "a", 1), 60);
        // quick--a 3, two of quick--b 3, slow--a 60, slow--b 60: nothing of the mean of all, which is 22.
        assert_eq!(rest(&run, 1), Some(129 * SECOND));
        ran(&mut run, &case("quick", "b", 1), 90);
        // quick--a 3, quick--b 90, slow--a 60, slow--b 90: as its agent is slower still.
        assert_eq!(rest(&run, 1), Some(243 * SECOND));
    }

    #[test]
    fn what_is_at_work_counts_with_what_it_has_left() {
        let mut run = estimate(&[("f", "a", 6)]);
        ran(&mut run, &case("f", "a", 1), 10);
        let (second, third) = (case("f", "a", 2), case("f", "a", 3));
        run.began(&second);
        run.began(&third);
        let left = |run: &Estimate, one: u32, other: u32| {
            run.rest([(&second, one * SECOND), (&third, other * SECOND)].into_iter(), 2)
        };
        assert_eq!(left(&run, 4, 10), Some(18 * SECOND), "6 s and nothing, and three of 10 s, two at a time");
        assert_eq!(left(&run, 400, 10), Some(15 * SECOND), "never less than nothing");
        run.stops();
        assert_eq!(left(&run, 4, 10), Some(6 * SECOND), "one case is not halved by two places");
        assert_eq!(left(&run, 10, 11), None, "both take longer than was thought, and nobody knows how much");
    }

    #[test]
    fn a_long_case_that_waits_is_not_shared_out() {
        let mut run = estimate(&[("long", "a", 2), ("short", "a", 5)]);
        ran(&mut run, &case("long", "a", 1), 60);
        ran(&mut run, &case("short", "a", 1), 1);
        assert_eq!(rest(&run, 8), Some(60 * SECOND));
    }

    #[test]
    fn what_is_skipped_takes_no_time_and_says_nothing_of_the_others() {
        let mut run = estimate(&[("f", "missing", 1), ("f", "there", 2), ("g", "missing", 1), ("g", "there", 1)]);
        run.began(&case("f", "missing", 1));
        run.skipped(&case("f", "missing", 1));
        assert_eq!(rest(&run, 1), None);
        ran(&mut run, &case("f", "there", 1), 10);
        assert_eq!(rest(&run, 1), Some(20 * SECOND), "f and g of the agent that is there");
    }

    proptest! {
        #[test]
        fn it_is_known_once_a_case_has_ended_and_then_finite(
            times in prop::collection::vec((0_usize..3, 0_usize..3, 0_u64..100_000), 0..20),
            elapsed in prop::collection::vec(0_u64..1_000_000, 0..5),
            at_a_time in 0_u32..5,
        ) {
            let (failures, agents) = (["f", "g", "h"], ["a", "b", "c"]);
            let planned: Vec<(&str, &str, u64)> =
                failures.iter().flat_map(|f| agents.iter().map(move |a| (*f, *a, 4))).collect();
            let mut run = estimate(&planned);
            for (f, a, millis) in &times {
                let case = case(failures[*f], agents[*a], 1);
                run.began(&case);
                run.took(&case, Duration::from_millis(*millis));
            }
            let at_work = case("f", "a", 2);
            let rest = run.rest(elapsed.iter().map(|ms| (&at_work, Duration::from_millis(*ms))), at_a_time);
            let longest = times.iter().map(|(.., ms)| Duration::from_millis(*ms)).max();
            match longest {
                None => prop_assert_eq!(rest, None),
                Some(longest) => prop_assert!(rest.is_none_or(|rest| rest <= longest * 36 + longest * 5)),
            }
        }
    }
}
