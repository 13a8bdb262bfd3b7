//! Lowers the pod quota to one less than what runs, and deletes a pod, so that its replacement does not fit.

use failure_sdk::{Case, Error, Failure, Induced, Result, Selection, Target, Value, json, log, random};

struct QuotaExceeded;

failure_sdk::failure!(QuotaExceeded);

impl Failure for QuotaExceeded {
    fn induce(case: &Case) -> Result<Induced> {
        let quota = Target::new("v1", "ResourceQuota", case.text("quota")?);
        case.checkpoint(&json!({"before": quota.get()?["spec"]["hard"]["pods"]}))?;
        let pods = Selection::new("v1", "Pod").list()?;
        let mine = Selection::new("v1", "Pod").labels(&["app=", case.text("app")?].concat()).list()?;
        let victim = random::pick(&mine).and_then(|pod| pod["metadata"]["name"].as_str());
        let victim = victim.ok_or_else(|| Error::Invalid("there is no pod to delete".to_owned()))?;
        let fewer = pods.len().saturating_sub(1).to_string();
        log::info(["allow ", &fewer, " pods, and delete ", victim].concat());
        quota.patch(&hard(&json!(fewer)))?;
        Target::pod(victim).delete()?;
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(state) = case.state() else { return Ok(()) };
        match Target::new("v1", "ResourceQuota", case.text("quota")?).patch(&hard(&state["before"])) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn hard(pods: &Value) -> Value {
    json!({"spec": {"hard": {"pods": pods}}})
}
