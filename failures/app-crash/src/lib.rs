//! Puts a version of the program with a bug in it into the config map that a Deployment runs it from, and rolls that out.

use failure_sdk::{Case, Failure, Induced, Result, Target, json, log, random};

struct AppCrash;

failure_sdk::failure!(AppCrash);

/// The file of the config map that is run.
const FILE: &str = "run.sh";

/// How the program ends, and with which code: the seed's choice.
const BUGS: [&str; 4] = [
    "echo 'panic: runtime error: index out of range [3] with length 3' >&2; exit 2",
    "echo 'fatal: internal error: queue is in state 7' >&2; exit 70",
    "echo 'assertion failed: pending >= 0' >&2; exit 134",
    "echo 'Traceback (most recent call last): KeyError: batch' >&2; exit 2",
];

impl Failure for AppCrash {
    fn induce(case: &Case) -> Result<Induced> {
        let program = Target::config_map(case.text("program")?);
        let before = program.get()?["data"][FILE].clone();
        case.checkpoint(&json!({"before": before}))?;
        let bug = random::pick(&BUGS).copied().unwrap_or_default();
        let broken = ["echo 'worker ready'\nsleep 2\n", bug, "\n"].concat();
        log::info(["put a bug into ", &program.describe()].concat());
        program.patch(&json!({"data": {FILE: broken}}))?;
        roll_out(case, json!("2"))?;
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(state) = case.state() else { return Ok(()) };
        let program = Target::config_map(case.text("program")?);
        gone_is_fine(program.patch(&json!({"data": {FILE: state["before"]}})).map(|_| ()))?;
        gone_is_fine(roll_out(case, json!(null)))
    }
}

/// A new version of the pods, which read the file when they start.
fn roll_out(case: &Case, version: failure_sdk::Value) -> Result<()> {
    let annotations = json!({"example.com/program-version": version});
    let target = Target::deployment(case.text("app")?);
    target.patch(&json!({"spec": {"template": {"metadata": {"annotations": annotations}}}})).map(|_| ())
}

fn gone_is_fine(result: Result<()>) -> Result<()> {
    result.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
}
