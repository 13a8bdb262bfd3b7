//! Pauses a Deployment, waits until its controller has seen that, and only then gives it a new version.

use std::time::Duration;

use failure_sdk::{Case, Failure, Induced, Result, Target, Value, json, log};

struct RolloutStuck;

failure_sdk::failure!(RolloutStuck);

/// For the controller to see a change.
const SEEN: Duration = Duration::from_secs(30);

impl Failure for RolloutStuck {
    fn induce(case: &Case) -> Result<Induced> {
        let target = Target::deployment(case.text("app")?);
        let image = image(&target.get()?);
        case.checkpoint(&json!({"image": image}))?;
        target.patch(&json!({"spec": {"paused": true}}))?;
        target.wait_for("object.status.observedGeneration == object.metadata.generation", SEEN)?;
        let next = ["nginx:", case.text("version")?].concat();
        log::info(["paused; the next image would be ", &next].concat());
        target.patch(&with_image(&Value::from(next)))?;
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(state) = case.state() else { return Ok(()) };
        let target = Target::deployment(case.text("app")?);
        let back = target.patch(&with_image(&state["image"]));
        match back.and_then(|_| target.patch(&json!({"spec": {"paused": null}}))) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn image(deployment: &Value) -> Value {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

fn with_image(image: &Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
}
