//! One case to its end: tried again after infrastructure errors, and only after those, as long as the cluster is known to
//! be clean.

use std::path::Path;
use std::time::Duration;

use model::{CaseFile, Class, EarlierAttempt, EventKind, Outcome};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::apart::apart;
use crate::case::{CaseRequest, run_case};
use crate::record::{End, Record};
use crate::run::case_seed;

/// Before the second attempt; each later pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, without jitter.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Runs a case, and again after an infrastructure error, at most `retries` times. The last attempt is the result; it says
/// what became of the others.
pub(crate) async fn run_with_retries(request: CaseRequest, retries: u32) -> CaseFile {
    // Clients and Leases of clusters that cases share stay with the runtime of the run.
    if request.pool.is_shared(request.lane) {
        return attempts(request, retries).await;
    }
    let record = Record::new(request.identity.clone(), request.dispatcher.clone());
    let ended = apart(attempts(request, retries)).await;
    ended.unwrap_or_else(|error| record.finish(End::infrastructure(format!("a thread for the case: {error}"))))
}

async fn attempts(mut request: CaseRequest, retries: u32) -> CaseFile {
    let run_seed = request.seed;
    let id = request.identity.id.clone();
    let mut earlier: Vec<EarlierAttempt> = Vec::new();
    loop {
        let attempt = u32::try_from(earlier.len()).unwrap_or(u32::MAX) + 1;
        request.seed = case_seed(run_seed, id.as_str(), attempt);
        let mut case = run_case(&request, attempt).await;
        request.spending.add(case.usage.cost_usd);
        // Where nothing may be spent, or no cluster is tried any more, another attempt would come to nothing.
        let over = attempt > retries || !may_be_tried_again(&case) || request.spending.is_over();
        if over || request.pool.has_given_up(request.lane).await {
            case.earlier = earlier;
            return case;
        }
        let pause = pause(attempt, request.seed);
        let delay_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let again = EventKind::CaseRetried { attempt, message: case.message.clone(), delay_ms };
        request.dispatcher.event(Some(&id), again).await;
        if request.cancel.unless(tokio::time::sleep(pause)).await.is_none() {
            case.earlier = earlier;
            return case;
        }
        if let Err(error) = set_aside(&request.log_dir, attempt) {
            tracing::warn!(%error, case = id.as_str(), "the logs of an attempt could not be kept apart");
        }
        earlier.push(EarlierAttempt {
            attempt,
            outcome: case.outcome,
            message: case.message,
            started_at: case.started_at,
            duration_ms: case.duration_ms,
            cost_usd: case.usage.cost_usd,
        });
    }
}

/// Never a verdict, never what a failure did, and never on a cluster that may not be as it was.
fn may_be_tried_again(case: &CaseFile) -> bool {
    case.outcome == Outcome::Error && case.class == Some(Class::Infrastructure) && case.leaks.is_empty()
}

/// Twice as long each time, by half more or less, so that cases that failed together do not come back together.
fn pause(attempt: u32, seed: u64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_PAUSE);
    doubled.mul_f64(StdRng::seed_from_u64(seed).random_range(0.5..1.5))
}

/// Moves the logs of an attempt into a folder of their own.
fn set_aside(log_dir: &Path, attempt: u32) -> std::io::Result<()> {
    let folder = log_dir.join(format!("attempt-{attempt}"));
    let files: Vec<_> = match std::fs::read_dir(log_dir) {
        Ok(entries) => entries.collect::<Result<_, _>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    std::fs::create_dir_all(&folder)?;
    for file in files {
        if file.file_type()?.is_file() {
            std::fs::rename(file.path(), folder.join(file.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_have_a_bound_and_differ() {
        let seconds = |attempt, seed| pause(attempt, seed).as_secs_f64();
        for seed in 0..50 {
            assert!((0.5..1.5).contains(&seconds(1, seed)));
            assert!((2.0..6.0).contains(&seconds(3, seed)));
            assert!((30.0..90.0).contains(&seconds(4_000_000, seed)));
        }
        assert_ne!(pause(1, 1), pause(1, 2));
        assert_eq!(pause(2, 7), pause(2, 7), "the same run is the same again");
    }

    #[test]
    fn logs_of_an_attempt_are_kept_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        set_aside(&folder.path().join("not there"), 1).expect("nothing to do");
        for attempt in 1..3 {
            std::fs::write(folder.path().join("gate.jsonl"), format!("{attempt}")).expect("written");
            set_aside(folder.path(), attempt).expect("moved");
        }
        let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).expect("a log");
        assert_eq!((read("attempt-1/gate.jsonl"), read("attempt-2/gate.jsonl")), ("1".into(), "2".into()));
    }
}
