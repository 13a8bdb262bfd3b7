//! One cluster in a process of its own, the program killed on it again and again, and what must hold after each kill.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use e2e::{Cluster, Dump, Finished, Kubectl, Running, Sandbox, processes_mentioning, wait_until};
use jiff::Timestamp;
use model::{CaseFile, Event, EventKind, Outcome, Phase, RunFile};
use rusqlite::Connection;
use rustix::process::Signal;

use super::scenery::{self, FAILURES};

/// Wall time for one run, and for one recovery.
const LONGEST: Duration = Duration::from_secs(90);
/// Wall time, after the cluster was put back, for pods to run again.
const SETTLE: Duration = Duration::from_secs(30);

/// When to kill.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// A run, when it passes a crash point for the n-th time.
    Run(&'static str, u32),
    /// A recovery after a run was killed at its agent's end, when it passes a crash point for the n-th time.
    Recovery(&'static str, u32),
    /// A run, at a moment between 0 and 1: the first half is until it begins to put back, which alone takes seconds.
    Moment(f64),
}

impl When {
    /// The crash point, where it is one.
    pub(super) fn place(&self) -> Option<String> {
        match self {
            Self::Run(point, _) => Some(format!("{point} in a run")),
            Self::Recovery(point, _) => Some(format!("{point} in a recovery")),
            Self::Moment(_) => None,
        }
    }
}

/// What to kill, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kill {
    pub(super) when: When,
    /// Number of the failure.
    pub(super) failure: usize,
    /// How many failures were tried for the same point.
    pub(super) tries: usize,
}

impl Kill {
    /// The same point at its next pass, up to a limit.
    pub(super) fn at_next_pass(self, limit: u32) -> Option<Self> {
        let (pass, when) = match self.when {
            When::Run(point, pass) => (pass, When::Run(point, pass + 1)),
            When::Recovery(point, pass) => (pass, When::Recovery(point, pass + 1)),
            When::Moment(_) => return None,
        };
        (pass < limit).then_some(Self { when, ..self })
    }

    /// With another failure: not each makes the undo pass every point.
    pub(super) fn with_next_failure(self) -> Option<Self> {
        let first = matches!(self.when, When::Run(_, 1) | When::Recovery(_, 1));
        let failure = (self.failure + 1) % FAILURES.len();
        (first && self.tries < FAILURES.len()).then_some(Self { failure, tries: self.tries + 1, ..self })
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Killed {
    /// Whether anything was killed: not when the point was not passed so often, or when the run was over.
    pub(super) killed: bool,
    /// Where the run was.
    pub(super) phase: String,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Stage {
    cluster: Cluster,
    kubectl: Kubectl,
    sandbox: Sandbox,
    path: String,
    kinds: String,
    before: Dump,
    /// How long a run takes that nobody kills, until it begins to put back and to its end.
    forth: Duration,
    whole: Duration,
}

impl Stage {
    /// A cluster with something in it, and one run that nobody kills. None where there is no kubectl.
    pub(super) fn set_up() -> Option<Self> {
        let program = e2e::kubectl_or_skip("kills")?;
        let (cluster, kubectl) = Cluster::with_kubectl("kills")?;
        let sandbox = Sandbox::new();
        scenery::set_up(&kubectl, &sandbox);
        let programs = program.parent().unwrap_or(Path::new("/")).to_path_buf();
        scenery::write_inputs(&sandbox, &kubectl, cluster.kubeconfig(), &programs);
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let kinds = Dump::kinds(&kubectl);
        let before = Dump::of(&kubectl, &kinds);
        assert!(before.len() > 20, "the dump is of a whole cluster: {before:?}");
        let mut stage =
            Self { cluster, kubectl, sandbox, path, kinds, before, forth: Duration::ZERO, whole: Duration::ZERO };
        let (begun, start) = (Timestamp::now(), Instant::now());
        let status = stage.run(0, None, None);
        stage.whole = start.elapsed();
        stage.assert_whole(status);
        let run = stage.runs().pop_first().expect("a run that was not killed leaves its directory");
        let back = events(&run).into_iter().find(|event| is_stop(&event.event)).expect("each case is put back");
        stage.forth = Duration::try_from(begun.duration_until(back.at)).unwrap_or_default();
        stage.assert_as_before("a whole run");
        Some(stage)
    }

    /// Kills once, recovers, checks everything that must hold then.
    pub(super) fn kill(&self, kill: Kill) -> Killed {
        let what = format!("{kill:?} of `{}` in {}", FAILURES[kill.failure], self.sandbox.path().display());
        let runs_before = self.runs();
        let status = match kill.when {
            When::Run(point, times) => self.run(kill.failure, Some(&format!("{point}:{times}")), None),
            When::Recovery(..) => self.run(kill.failure, Some("case.agent:1"), None),
            When::Moment(moment) => self.run(kill.failure, None, Some(self.moment(moment))),
        };
        let mut killed = status.signal() == Some(9);
        let run = self.runs().difference(&runs_before).next().cloned();
        let phase = run.as_deref().map_or("before the run".into(), phase);
        let stored: BTreeSet<PathBuf> = run.iter().flat_map(|run| case_files(run)).collect();
        if !killed {
            self.assert_whole(status);
        } else if let When::Recovery(point, times) = kill.when {
            let recovery = self.recover(Some(&format!("{point}:{times}")));
            killed = recovery.code == 128 + 9;
            assert!(killed || recovery.code == 0, "{what}: {recovery:#?}");
        }
        let recovery = self.recover(None);
        assert_eq!(recovery.code, 0, "{what}: {recovery:#?}");
        self.assert_as_before(&format!("{what}\n{recovery:#?}"));
        self.assert_recorded(&what, run.as_deref(), &stored, killed);
        let again = self.recover(None);
        assert!(again.code == 0 && again.stdout.contains("nothing to recover"), "{what}: {again:#?}");
        // It was looked at; each recovery looks at all that are there, and the thousandth is to cost what the first did.
        run.inspect(|run| fs::remove_dir_all(run).expect("a run's directory can be removed"));
        Killed { killed, phase }
    }

    /// See [`When::Moment`].
    fn moment(&self, moment: f64) -> Duration {
        match moment * 2.0 {
            first if first < 1.0 => self.forth.mul_f64(first),
            second => self.forth + self.whole.saturating_sub(self.forth).mul_f64(second - 1.0),
        }
    }

    /// Ends the cluster.
    pub(super) fn end(self) {
        self.cluster.interrupt();
    }

    fn command(&self, args: &[&str], crash_at: Option<&str>) -> Command {
        let mut command = self.sandbox.command();
        command.args(args).env("PATH", &self.path);
        if let Some(point) = crash_at {
            command.env("HARNESS_CRASH_AT", point);
        }
        command
    }

    /// Runs one case; kills it after some time, when it has not ended by then.
    fn run(&self, failure: usize, crash_at: Option<&str>, after: Option<Duration>) -> ExitStatus {
        let matrix = format!("{}.yaml", FAILURES[failure]);
        let mut command = self.command(&["run", &matrix, "--agents-dir", "agents"], crash_at);
        let log = fs::File::create(self.sandbox.path().join("run.stderr")).expect("a file in the sandbox");
        let mut process = Running::start(command.stdout(Stdio::null()).stderr(log));
        if let Some(moment) = after {
            std::thread::sleep(moment);
            if process.child().try_wait().expect("a child can be waited for").is_none() {
                process.signal(Signal::KILL);
            }
        }
        process.wait(LONGEST)
    }

    fn recover(&self, crash_at: Option<&str>) -> Finished {
        Finished::of(&mut self.command(&["recover"], crash_at))
    }

    /// A run that nobody killed has judged its case and has put the cluster back.
    fn assert_whole(&self, status: ExitStatus) {
        let said = fs::read_to_string(self.sandbox.path().join("run.stderr")).unwrap_or_default();
        assert!(matches!(status.code(), Some(0 | 10)), "a whole run judges its case: {status}\n{said}");
    }

    /// The cluster is what it was, and no process is left of what was killed.
    fn assert_as_before(&self, what: &str) {
        let start = Instant::now();
        loop {
            let difference = self.before.difference(&Dump::of(&self.kubectl, &self.kinds));
            if difference.is_empty() {
                break;
            }
            assert!(start.elapsed() < SETTLE, "{what}: the cluster is not as it was:\n{}", difference.join("\n"));
            std::thread::sleep(Duration::from_millis(100));
        }
        wait_until(&format!("no process to be left: {what}"), Duration::from_secs(10), || {
            processes_mentioning(self.sandbox.path()).is_empty()
        });
    }

    /// The databases are whole, the run is over, and what was under way is interrupted.
    fn assert_recorded(&self, what: &str, run: Option<&Path>, stored: &BTreeSet<PathBuf>, killed: bool) {
        let results = self.sandbox.path().join("results");
        for name in ["harness.db", "journal.db"] {
            let path = results.join(name);
            if path.exists() {
                let database = Connection::open(&path).unwrap_or_else(|error| panic!("{what}: {name}: {error}"));
                let check: String =
                    database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it can be checked");
                assert_eq!(check, "ok", "{what}: {name}");
            }
        }
        let Some(run) = run.filter(|run| run.join("run.json").exists()) else { return };
        let file: RunFile = serde_json::from_str(&read(&run.join("run.json"))).expect("run.json has its shape");
        assert!(file.finished_at.is_some(), "{what}: {file:?}");
        for path in case_files(run) {
            let case: CaseFile = serde_json::from_str(&read(&path)).expect("a case file has its shape");
            let interrupted = killed && !stored.contains(&path);
            assert!(!interrupted || case.outcome == Outcome::Interrupted, "{what}: {case:#?}");
            assert!(case.leaks.is_empty(), "{what}: {case:#?}");
        }
        let started = events(run).iter().any(|event| matches!(event.event, EventKind::PhaseStarted { .. }));
        assert!(!started || case_files(run).len() == 1, "{what}: a case that had begun is on record");
    }

    fn runs(&self) -> BTreeSet<PathBuf> {
        let results = fs::read_dir(self.sandbox.path().join("results"));
        let entries = results.into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}

/// The files of finished cases; not what a kill left half-written.
fn case_files(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.join("results")).into_iter().flatten().filter_map(Result::ok);
    let is_case = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    entries.filter(is_case).map(|entry| entry.path()).collect()
}

/// The events of a run, less a torn last line.
fn events(run: &Path) -> Vec<Event> {
    let text = fs::read_to_string(run.join("events.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn is_stop(event: &EventKind) -> bool {
    matches!(event, EventKind::PhaseStarted { phase: Phase::Stop })
}

/// Where a run was when it was killed.
fn phase(run: &Path) -> String {
    let mut phase = "before the case".to_owned();
    for event in events(run) {
        match event.event {
            EventKind::PhaseStarted { phase: started } => phase = started.to_string(),
            EventKind::PhaseFinished { phase: finished, .. } => phase = format!("after {finished}"),
            EventKind::CaseFinished { .. } => phase = "after the case".to_owned(),
            EventKind::RunFinished { .. } => phase = "at the end".to_owned(),
            _ => {}
        }
    }
    phase
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
