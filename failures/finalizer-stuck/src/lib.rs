//! Puts a finalizer that nobody serves on a pod, and deletes the pod.

use failure_sdk::{Case, Failure, Induced, Result, Target, json, log};

struct FinalizerStuck;

failure_sdk::failure!(FinalizerStuck);

/// The last pod of the StatefulSet.
const POD: &str = "ledger-1";

impl Failure for FinalizerStuck {
    fn induce(case: &Case) -> Result<Induced> {
        let pod = Target::pod(POD);
        let finalizer = case.text("finalizer")?;
        case.checkpoint(&json!({"finalizer": finalizer}))?;
        pod.merge(&json!({"metadata": {"finalizers": [finalizer]}}))?;
        log::info(["delete ", &pod.describe(), ", which ", finalizer, " holds"].concat());
        pod.delete()?;
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(state) = case.state() else { return Ok(()) };
        let pod = Target::pod(POD);
        match pod.get() {
            Ok(now) if now["metadata"]["finalizers"][0] == state["finalizer"] => {
                pod.merge(&json!({"metadata": {"finalizers": null}})).map(|_| ())
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
