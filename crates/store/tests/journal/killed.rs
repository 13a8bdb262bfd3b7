//! Processes that write a journal and are killed in the middle of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use futures::future::join_all;
use gate::{Journal, State};
use store::{CaseJournal, JournalDb, RunLock};

use crate::{contents, intent, opening};

/// Where the child writes; without it the child's test does nothing.
const RESULTS: &str = "JOURNAL_TEST_RESULTS";

/// What the parent starts: cases side by side, each of which writes as fast as it can and tells what was acknowledged.
#[test]
#[ignore = "the child process of the tests in this file"]
fn child() {
    let Some(results) = std::env::var_os(RESULTS) else { return };
    let results = Path::new(&results);
    let _lock = RunLock::acquire(&results.join(std::env::var("JOURNAL_TEST_RUN").expect("a run"))).expect("locked");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let journal = JournalDb::open(results).expect("opens");
        let cases = join_all((0..6).map(|number| {
            let journal = journal.clone();
            async move { journal.begin(opening(&format!("case-{number}"))).await.expect("begins") }
        }));
        join_all(cases.await.into_iter().map(write)).await;
    });
}

async fn write(case: CaseJournal) {
    for turn in 0.. {
        let name = format!("{}-{turn}", case.id());
        let number = case.intend(intent(&name, &"x".repeat(turn % 3000))).await.expect("acknowledged");
        tell(&format!("intended {} {number} {turn}", case.id()));
        if turn % 3 == 0 {
            case.settle(number, State::Refused).await.expect("queued");
        }
        if turn % 5 == 0 {
            case.set_state(Some(format!("state {turn}"))).await.expect("acknowledged");
            tell(&format!("settled {} {number}", case.id()));
        }
    }
}

/// One write, past the test harness's capture, so that a kill never tears a line.
fn tell(line: &str) {
    std::io::stderr().write_all(format!("ack {line}\n").as_bytes()).expect("the parent reads");
}

/// A child that is killed when its guard is dropped.
struct Writing(Child, BufReader<ChildStderr>);

impl Writing {
    fn start(results: &Path, run: &str) -> Self {
        std::fs::create_dir_all(results.join(run)).expect("a run directory");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["killed::child", "--exact", "--ignored", "--nocapture"])
            .env(RESULTS, results)
            .env("JOURNAL_TEST_RUN", run)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let stderr = child.stderr.take().expect("piped");
        Self(child, BufReader::new(stderr))
    }

    fn acknowledged(&mut self, count: usize) -> Vec<String> {
        let lines: Vec<String> = self.1.by_ref().lines().map(|line| line.expect("text")).take(count).collect();
        assert_eq!(lines.len(), count, "the child has ended: {lines:?}");
        lines
    }

    /// Kills it, and answers with what it has told since.
    fn kill(mut self) -> Vec<String> {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
        self.1.by_ref().lines().map(|line| line.expect("text")).collect()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Case and number of each entry that was acknowledged, and whether its end was durable too.
fn told(lines: &[String]) -> BTreeMap<(i64, u64), (Option<usize>, bool)> {
    let mut told = BTreeMap::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ack", "intended", case, number, turn] => {
                let key = (case.parse().expect("a number"), number.parse().expect("a number"));
                told.insert(key, (turn.parse().ok(), false));
            }
            ["ack", "settled", case, number] => {
                let key = (case.parse().expect("a number"), number.parse().expect("a number"));
                told.entry(key).or_insert((None, false)).1 = true;
            }
            _ => panic!("{line}"),
        }
    }
    told
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_one_of_two_processes_is_killed() {
    let results = tempfile::tempdir().expect("a folder");
    let mut lines = Vec::new();
    let mut lasting = Writing::start(results.path(), "lasting");
    for (round, acknowledgements) in [40, 150, 7].into_iter().enumerate() {
        let run = format!("run-{round}");
        let mut killed = Writing::start(results.path(), &run);
        lines.extend(killed.acknowledged(acknowledgements));
        assert!(RunLock::is_held(&results.path().join(&run)), "its run is alive");
        lines.extend(killed.kill());
        assert!(!RunLock::is_held(&results.path().join(&run)), "the kernel has freed its lock");
        // The other goes on, whatever the killed one was in the middle of.
        lines.extend(lasting.acknowledged(20));
    }
    assert!(RunLock::is_held(&results.path().join("lasting")));
    lines.extend(lasting.kill());

    let contents = contents(&JournalDb::open(results.path()).expect("opens")).await;
    assert_eq!(contents.len(), 24, "six cases of each process");
    let told = told(&lines);
    assert!(told.len() >= 150, "{}", told.len());
    for ((case, number), (turn, settled)) in told {
        let (_, entries) = &contents[&case];
        let entry =
            entries.iter().find(|entry| entry.id == number).unwrap_or_else(|| panic!("{case} {number} is lost"));
        if let Some(turn) = turn {
            assert_eq!(entry.intent, intent(&format!("{case}-{turn}"), &"x".repeat(turn % 3000)));
            let ends = turn % 15 == 0 && settled;
            assert!(!ends || entry.state == State::Refused, "what was told before a sync is in it: {entry:?}");
        }
    }
    for (case, entries) in contents.values() {
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "case {} has a gap", case.id);
    }
}
