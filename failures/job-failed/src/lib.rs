//! Runs a Job once more with a command that fails: a Job's template cannot be changed, so it is deleted and made again.

use std::time::Duration;

use failure_sdk::{Case, Error, Failure, Induced, Result, Target, Value, clock, create, json, log, random};

struct JobFailed;

failure_sdk::failure!(JobFailed);

/// Seconds for the Job to go.
const GONE: u32 = 60;

/// What it says before it gives up: the seed's choice.
const LAST_WORDS: [&str; 4] = [
    "error: column total of relation orders does not exist",
    "error: 3 of 4096 records could not be read",
    "fatal: the lock is held by another process",
    "error: unexpected end of file in line 118",
];

impl Failure for JobFailed {
    fn induce(case: &Case) -> Result<Induced> {
        let target = Target::new("batch/v1", "Job", case.text("job")?);
        let before = again(&target.get()?);
        case.checkpoint(&before)?;
        let words = random::pick(&LAST_WORDS).copied().unwrap_or_default();
        let mut broken = before;
        let script = ["echo migrating; sleep 1; echo '", words, "' >&2; exit 1"].concat();
        broken["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["sh", "-c", script]);
        log::info(["run ", &target.describe(), " again, to fail"].concat());
        replace(&target, &broken)?;
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(before) = case.state() else { return Ok(()) };
        let target = Target::new("batch/v1", "Job", case.text("job")?);
        match target.get() {
            Err(error) if !error.is_not_found() => Err(error),
            // It was never broken, or is repaired.
            Ok(now) if again(&now)["spec"]["template"] == before["spec"]["template"] => Ok(()),
            _ => replace(&target, before),
        }
    }
}

fn replace(target: &Target, job: &Value) -> Result<()> {
    target.delete()?;
    // Asked again and again instead of watched: so it needs no more than `get`.
    for _ in 0..GONE {
        match target.get() {
            Err(error) if error.is_not_found() => break,
            Err(error) => return Err(error),
            Ok(_) => clock::sleep(Duration::from_secs(1))?,
        }
    }
    match create(job) {
        Ok(_) | Err(Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The same Job as it could be made again: without what the server has put into it.
fn again(job: &Value) -> Value {
    let mut spec = job["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("selector");
    }
    if let Some(metadata) = spec["template"].as_object_mut() {
        metadata.remove("metadata");
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["metadata"]["name"]}, "spec": spec})
}
