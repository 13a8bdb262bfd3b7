//! The program killed with SIGKILL, at every crash point and at random moments, against a cluster that goes on: after
//! `recover` the cluster equals its dump from before, every time.

mod scenery;
mod stage;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use scenery::FAILURES;
use stage::{Kill, Stage, When};

/// Clusters side by side: each waits for its pods and namespaces most of the time.
const STAGES: usize = 2;
/// In the soak, which has the machine to itself.
const SOAK_STAGES: usize = 6;
/// How often it is told how far it is.
const PROGRESS: Duration = Duration::from_secs(30);
/// How often a point is tried at most, where every run costs seconds: the first passes, and in the soak all.
const PASSES: u32 = 2;

/// Points that a run passes.
const IN_RUN: [&str; 19] = [
    "journal.before-intend",
    "journal.intended",
    "journal.forwarded",
    "journal.settled",
    "collection.between",
    "undo.planned",
    "undo.removed",
    "undo.restored",
    "undo.recreated",
    "undo.namespace",
    "case.opened",
    "case.prepared",
    "case.induced",
    "case.witnessed",
    "case.agent",
    "case.judged",
    "case.stopped",
    "case.undone",
    "case.certified",
];

/// Points that a recovery passes.
const IN_RECOVERY: [&str; 9] = [
    "case.stopped",
    "case.undone",
    "case.certified",
    "recover.undone",
    "undo.planned",
    "undo.removed",
    "undo.restored",
    "undo.recreated",
    "undo.namespace",
];

#[test]
fn a_kill_at_any_crash_point_is_recovered_from() {
    let first_passes = kill_all(points(), PASSES, STAGES);
    for (point, kills) in first_passes.at_points {
        assert!(kills > 0, "no kill ever hit {point}: it is not passed, or not called so");
    }
}

#[test]
fn a_kill_at_any_moment_is_recovered_from() {
    kill_all(moments(20), 1, STAGES);
}

/// `cargo xtask soak [--kills N]`
#[test]
#[ignore = "takes long; cargo xtask soak"]
fn soak() {
    let kills = std::env::var("HARNESS_SOAK_KILLS").map_or(1000, |kills| kills.parse().expect("a number of kills"));
    let mut all = points();
    all.extend(moments(kills));
    kill_all(all, u32::MAX, SOAK_STAGES);
}

fn points() -> VecDeque<Kill> {
    let in_run = IN_RUN.iter().map(|point| When::Run(point, 1));
    kills(in_run.chain(IN_RECOVERY.iter().map(|point| When::Recovery(point, 1))))
}

fn moments(count: usize) -> VecDeque<Kill> {
    let mut rng = StdRng::from_rng(&mut rand::rng());
    kills((0..count).map(|_| When::Moment(rng.random_range(0.0..1.0))))
}

/// The failures take turns.
fn kills(when: impl Iterator<Item = When>) -> VecDeque<Kill> {
    when.enumerate().map(|(turn, when)| Kill { when, failure: turn % FAILURES.len(), tries: 1 }).collect()
}

/// How many kills there were, by point and by phase.
#[derive(Debug)]
struct Tally {
    begun: Instant,
    /// When it was last told how far it is.
    told: Instant,
    at_points: BTreeMap<String, u32>,
    in_phases: BTreeMap<String, u32>,
}

impl Default for Tally {
    fn default() -> Self {
        let (begun, told) = (Instant::now(), Instant::now());
        Self { begun, told, at_points: BTreeMap::new(), in_phases: BTreeMap::new() }
    }
}

impl Tally {
    /// A long test that says nothing cannot be told from one that hangs.
    fn progress(&mut self, left: usize) {
        if self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            say(self, &format!("so far, and at most {left} to go"));
        }
    }
}

/// Kills as often as asked, on so many clusters. A point that was hit is tried at its next pass, up to `passes`.
fn kill_all(kills: VecDeque<Kill>, passes: u32, stages: usize) -> Tally {
    let (kills, tally) = (Mutex::new(kills), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..stages {
            scope.spawn(|| {
                let Some(stage) = Stage::set_up() else { return };
                let _first_failure_ends_all = Ending(&kills);
                while let Some(kill) = next(&kills) {
                    let outcome = stage.kill(kill);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    if outcome.killed {
                        *tally.in_phases.entry(outcome.phase).or_default() += 1;
                    }
                    tally.progress(kills.lock().unwrap_or_else(PoisonError::into_inner).len());
                    let Some(place) = kill.when.place() else { continue };
                    *tally.at_points.entry(place).or_default() += u32::from(outcome.killed);
                    let again = if outcome.killed { kill.at_next_pass(passes) } else { kill.with_next_failure() };
                    kills.lock().unwrap_or_else(PoisonError::into_inner).extend(again);
                }
                stage.end();
            });
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    say(&tally, "all recovered from");
    tally
}

/// Leaves the others nothing to do when a check has failed.
struct Ending<'a>(&'a Mutex<VecDeque<Kill>>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

fn next(kills: &Mutex<VecDeque<Kill>>) -> Option<Kill> {
    kills.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// Past the test harness's capture: the numbers are of interest when all is well, too.
fn say(tally: &Tally, how: &str) {
    let total: u32 = tally.in_phases.values().sum();
    let mut text = format!("{total} kills in {} s, {how}", tally.begun.elapsed().as_secs());
    for (title, counts) in [("by phase", &tally.in_phases), ("by crash point", &tally.at_points)] {
        if !counts.is_empty() {
            let counts: Vec<String> = counts.iter().map(|(place, count)| format!("{place} {count}")).collect();
            let _ = write!(text, "\n  {title}: {}", counts.join(", "));
        }
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}
