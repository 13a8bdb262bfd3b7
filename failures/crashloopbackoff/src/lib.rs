//! Gives a Deployment's container a command that ends with code 1 shortly after it was started.

use failure_sdk::{Case, Failure, Induced, Result, Target, Value, json, log, random};

struct CrashLoop;

failure_sdk::failure!(CrashLoop);

/// The container that is broken: the first and only one of the workload.
const CONTAINER: &str = "app";

/// What the program says before it gives up. Which one is the seed's choice, so that no answer can be learned by heart.
const LAST_WORDS: [&str; 6] = [
    "error: unknown option --max-inflight",
    "fatal: unrecognized argument: serve-all",
    "usage: server [--port PORT] [--root DIR]",
    "error: flag needs an argument: --port",
    "error: invalid value for --workers: four",
    "fatal: no such subcommand: start",
];

impl Failure for CrashLoop {
    fn induce(case: &Case) -> Result<Induced> {
        let target = Target::deployment(case.text("app")?);
        let words = random::pick(&LAST_WORDS).copied().unwrap_or_default();
        let script = ["echo starting; sleep 1; echo '", words, "' >&2; exit 1"].concat();
        let broken = json!(["sh", "-c", script]);
        case.checkpoint(&json!({"before": command(&target.get()?), "broken": broken}))?;
        log::info(["break the command of ", &target.describe()].concat());
        target.patch(&with_command(&broken))?;
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(state) = case.state() else { return Ok(()) };
        let target = Target::deployment(case.text("app")?);
        match target.get() {
            // Whoever has repaired it keeps the repair.
            Ok(object) if command(&object) == state["broken"] => {
                target.patch(&with_command(&state["before"])).map(|_| ())
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn command(deployment: &Value) -> Value {
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array();
    let container = containers.and_then(|all| all.iter().find(|container| container["name"] == CONTAINER));
    container.map_or(Value::Null, |container| container["command"].clone())
}

fn with_command(command: &Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": CONTAINER, "command": command}]}}}})
}
