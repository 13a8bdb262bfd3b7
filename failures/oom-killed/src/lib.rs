//! Lowers a Deployment's memory limit below what its process needs.

use failure_sdk::{Case, Failure, Induced, Result, Target, Value, json, log};

struct OomKilled;

failure_sdk::failure!(OomKilled);

/// The container that is broken: the first and only one of the workload.
const CONTAINER: &str = "app";

impl Failure for OomKilled {
    fn induce(case: &Case) -> Result<Induced> {
        let target = Target::deployment(case.text("app")?);
        let memory = case.text("memory")?;
        case.checkpoint(&json!({"before": limit(&target.get()?)}))?;
        log::info(["lower the memory limit of ", &target.describe(), " to ", memory].concat());
        target.patch(&with_limit(&Value::from(memory)))?;
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(state) = case.state() else { return Ok(()) };
        let target = Target::deployment(case.text("app")?);
        match target.get() {
            // Whoever has repaired it keeps the repair.
            Ok(object) if limit(&object) == case.text("memory")? => {
                target.patch(&with_limit(&state["before"])).map(|_| ())
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn limit(deployment: &Value) -> Value {
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array();
    let container = containers.and_then(|all| all.iter().find(|container| container["name"] == CONTAINER));
    container.map_or(Value::Null, |container| container["resources"]["limits"]["memory"].clone())
}

fn with_limit(memory: &Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": CONTAINER, "resources": {"limits": {"memory": memory}}}]}}}})
}
