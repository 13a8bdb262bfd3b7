//! Many cases in one run: each comes to what it must, nothing is left, and memory does not grow with their number.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use e2e::{Running, Sandbox, peak_kilobytes};
use model::Outcome;

const CASES: u64 = 500;
/// From here on memory may not grow by much.
const WARM: u64 = 150;
const MOST_KILOBYTES: u64 = 400 * 1024;
const MOST_GROWTH_KILOBYTES: u64 = 64 * 1024;

#[test]
fn five_hundred_cases_end_as_they_must_in_memory_that_does_not_grow() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "m.yaml",
        format!(
            "name: many\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [no-fault, oom-killed]\n\
             agents: [idle]\nobjective: diagnose\n\
             execution: {{repeats: {}, parallel_tests_per_cluster: 2, timeout_per_test: 2m}}\n",
            CASES / 2
        ),
    );
    let mut command = sandbox.command();
    command.args(["run", "m.yaml", "--exit-zero"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = Running::start(&mut command);
    let stderr = process.child().stderr.take().expect("stderr is piped");
    let id = process.id();
    // To the very end: reports are written from all cases at once.
    let watching = std::thread::spawn(move || {
        let mut most = 0;
        while let Some(peak) = peak_kilobytes(id) {
            most = peak.max(most);
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let (mut finished, mut warm) = (0, 0);
    for line in BufReader::new(stderr).lines() {
        finished += u64::from(line.expect("stderr can be read").starts_with('['));
        if finished <= WARM {
            warm = peak_kilobytes(id).unwrap_or(warm);
        }
    }
    assert_eq!(process.wait(Duration::from_secs(60)).code(), Some(0));
    let most = watching.join().expect("memory was watched");
    println!("{} MB after {WARM} cases, at most {} MB", warm / 1024, most / 1024);
    assert_eq!(finished, CASES, "one line of progress a case");
    assert!(most < MOST_KILOBYTES, "{most} KB");
    assert!(most < warm + MOST_GROWTH_KILOBYTES, "{warm} KB after {WARM} cases, {most} KB in the end");
    let run = sandbox.only_run();
    let cases = run.cases();
    assert_eq!(cases.len() as u64, CASES);
    for case in &cases {
        assert_eq!((case.outcome, case.leaks.len()), (Outcome::Failed, 0), "{}: {}", case.id, case.message);
    }
    assert_eq!(run.run().totals.failed, CASES);
    sandbox.assert_nothing_left();
}
