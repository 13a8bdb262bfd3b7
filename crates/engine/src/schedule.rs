//! Which case may begin next: a pure state machine over the clusters of a matrix. It knows limits and order, and nothing
//! of what a case is or how it is run.

use std::fmt;
use std::iter::Peekable;

/// How much may go on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Clusters that are at work: from their first case until they have been given back.
    pub(crate) clusters: usize,
    /// Cases on one cluster.
    pub(crate) cases_per_cluster: usize,
}

/// A case that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) case: T,
    /// Nothing else may happen on its cluster meanwhile.
    pub(crate) exclusive: bool,
}

/// Where the cases of a run are. Their sum is always the number of cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) queued: u64,
    pub(crate) active: u64,
    pub(crate) done: u64,
}

/// What the end of a case means for its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// There is more to do on it.
    Goes,
    /// Nothing more happens on it: it can be given back, and counts until [`Schedule::given_back`].
    Ends,
}

/// See the module. Cases of one cluster begin in their order, clusters begin in theirs; so with limits of one, all cases
/// run in expansion order. What waits is asked for only when it can begin: memory does not grow with the number of cases.
pub(crate) struct Schedule<I: Iterator> {
    limits: Limits,
    lanes: Vec<State<I>>,
    counts: Counts,
    closed: bool,
}

struct State<I: Iterator> {
    waiting: Peekable<I>,
    running: usize,
    /// The one that runs wants the cluster for itself.
    alone: bool,
    at_work: bool,
}

impl<I: Iterator> fmt::Debug for Schedule<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").field("limits", &self.limits).field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl<T, I: Iterator<Item = Waiting<T>>> Schedule<I> {
    /// The cases of each cluster, and how many there are in all.
    pub(crate) fn new(limits: Limits, lanes: impl IntoIterator<Item = I>, total: u64) -> Self {
        let lane = |cases: I| State { waiting: cases.peekable(), running: 0, alone: false, at_work: false };
        let counts = Counts { queued: total, ..Counts::default() };
        Self { limits, lanes: lanes.into_iter().map(lane).collect(), counts, closed: false }
    }

    /// The next case that may begin now, with the number of its cluster; it counts as begun.
    pub(crate) fn next(&mut self) -> Option<(usize, T)> {
        if self.closed {
            return None;
        }
        let mut room = self.limits.clusters.saturating_sub(self.lanes.iter().filter(|lane| lane.at_work).count());
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if !lane.at_work && (room == 0 || lane.waiting.peek().is_none()) {
                continue;
            }
            if let Some(case) = lane.next(self.limits.cases_per_cluster) {
                self.counts.queued = self.counts.queued.saturating_sub(1);
                self.counts.active += 1;
                return Some((number, case));
            }
            room = room.saturating_sub(usize::from(!lane.at_work));
        }
        None
    }

    /// A case on this cluster has ended.
    pub(crate) fn finished(&mut self, number: usize) -> Lane {
        self.counts.active = self.counts.active.saturating_sub(1);
        self.counts.done += 1;
        let closed = self.closed;
        let Some(lane) = self.lanes.get_mut(number) else { return Lane::Goes };
        lane.running = lane.running.saturating_sub(1);
        lane.alone = false;
        let over = lane.running == 0 && (closed || lane.waiting.peek().is_none());
        if over { Lane::Ends } else { Lane::Goes }
    }

    /// A cluster on which nothing more happens has been given back: another one may begin.
    pub(crate) fn given_back(&mut self, number: usize) {
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.at_work = false;
        }
    }

    /// No case begins from now on. Whether that is new.
    pub(crate) fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }

    /// Where the cases are.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

impl<T, I: Iterator<Item = Waiting<T>>> State<I> {
    fn next(&mut self, most: usize) -> Option<T> {
        if self.running >= most || self.alone {
            return None;
        }
        let running = self.running;
        let next = self.waiting.next_if(|next| running == 0 || !next.exclusive)?;
        self.alone = next.exclusive;
        self.running += 1;
        self.at_work = true;
        Some(next.case)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Case = (usize, usize, bool);

    /// Lanes of cases; each says whether it is exclusive.
    fn schedule(limits: Limits, lanes: &[Vec<bool>]) -> Schedule<std::vec::IntoIter<Waiting<Case>>> {
        let total = lanes.iter().map(Vec::len).sum::<usize>() as u64;
        let lanes = lanes.iter().enumerate().map(|(lane, cases)| {
            let waiting = cases
                .iter()
                .enumerate()
                .map(move |(number, exclusive)| Waiting { case: (lane, number, *exclusive), exclusive: *exclusive });
            waiting.collect::<Vec<_>>().into_iter()
        });
        Schedule::new(limits, lanes.collect::<Vec<_>>(), total)
    }

    #[test]
    fn one_at_a_time_is_expansion_order() {
        let mut schedule = schedule(Limits { clusters: 1, cases_per_cluster: 1 }, &vec![vec![false; 4]; 3]);
        let mut order = Vec::new();
        while let Some((lane, case)) = schedule.next() {
            assert_eq!(schedule.next(), None, "one at a time");
            order.push((case.0, case.1));
            if schedule.finished(lane) == Lane::Ends {
                assert_eq!(schedule.next(), None, "the cluster is still there");
                schedule.given_back(lane);
            }
        }
        assert_eq!(order, (0..3).flat_map(|lane| (0..4).map(move |case| (lane, case))).collect::<Vec<_>>());
        assert_eq!(schedule.counts(), Counts { queued: 0, active: 0, done: 12 });
    }

    #[test]
    fn an_exclusive_case_waits_for_its_cluster_and_has_it_alone() {
        let limits = Limits { clusters: 1, cases_per_cluster: 3 };
        let mut schedule = schedule(limits, &[vec![false, true, false, false]]);
        assert_eq!(schedule.next(), Some((0, (0, 0, false))));
        assert_eq!(schedule.next(), None, "the next wants to be alone, and is not overtaken");
        assert_eq!(schedule.finished(0), Lane::Goes);
        assert_eq!(schedule.next(), Some((0, (0, 1, true))));
        assert_eq!(schedule.next(), None);
        schedule.finished(0);
        assert_eq!(schedule.next(), Some((0, (0, 2, false))));
        assert_eq!(schedule.next(), Some((0, (0, 3, false))));
    }

    #[test]
    fn nothing_begins_once_closed() {
        let mut schedule = schedule(Limits { clusters: 2, cases_per_cluster: 1 }, &[vec![false; 3], vec![false; 3]]);
        assert_eq!(schedule.next().map(|(lane, _)| lane), Some(0));
        assert!(schedule.close() && !schedule.close());
        assert_eq!(schedule.next(), None);
        assert_eq!(schedule.finished(0), Lane::Ends, "although cases wait");
        assert_eq!(schedule.counts(), Counts { queued: 5, active: 0, done: 1 });
    }

    proptest! {
        /// Cases end in any order, clusters are given back late: limits hold at every moment, every case runs once, the
        /// cases of a cluster begin in order, an exclusive one is alone, the counts always add up.
        #[test]
        fn limits_hold_on_every_schedule(
            lanes in proptest::collection::vec(proptest::collection::vec(proptest::bool::weighted(0.2), 0..6), 1..6),
            clusters in 1_usize..5,
            cases_per_cluster in 1_usize..4,
            picks in proptest::collection::vec(any::<proptest::sample::Index>(), 200),
            close_at in proptest::option::of(0_usize..40),
        ) {
            let total = lanes.iter().map(Vec::len).sum::<usize>() as u64;
            let mut schedule = schedule(Limits { clusters, cases_per_cluster }, &lanes);
            let mut running: Vec<Case> = Vec::new();
            let mut ending: Vec<usize> = Vec::new();
            let mut begun: BTreeMap<usize, usize> = BTreeMap::new();
            let mut picks = picks.into_iter();
            for step in 0.. {
                if close_at == Some(step) {
                    schedule.close();
                }
                while let Some((lane, case)) = schedule.next() {
                    prop_assert!(close_at.is_none_or(|at| step < at));
                    prop_assert_eq!(lane, case.0);
                    prop_assert_eq!(begun.insert(lane, case.1 + 1).unwrap_or(0), case.1, "in order");
                    running.push(case);
                    let mut at_work: Vec<usize> = running.iter().map(|case| case.0).chain(ending.clone()).collect();
                    at_work.sort_unstable();
                    at_work.dedup();
                    prop_assert!(at_work.len() <= clusters);
                    let here: Vec<_> = running.iter().filter(|other| other.0 == lane).collect();
                    prop_assert!(here.len() <= cases_per_cluster);
                    prop_assert!(here.len() == 1 || here.iter().all(|case| !case.2), "alone");
                }
                let counts = schedule.counts();
                prop_assert_eq!(counts.queued + counts.active + counts.done, total);
                prop_assert_eq!(counts.active, running.len() as u64);
                if running.is_empty() && ending.is_empty() {
                    break;
                }
                let Some(pick) = picks.next() else { break };
                let which = pick.index(running.len() + ending.len());
                if which < running.len() {
                    let case = running.swap_remove(which);
                    if schedule.finished(case.0) == Lane::Ends {
                        ending.push(case.0);
                    }
                } else {
                    schedule.given_back(ending.swap_remove(which - running.len()));
                }
            }
            if close_at.is_none() {
                prop_assert_eq!(schedule.counts(), Counts { queued: 0, active: 0, done: total });
            }
        }
    }
}
