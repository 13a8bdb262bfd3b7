//! Taints every node, and deletes a pod so that it needs one.

use failure_sdk::{Case, Error, Failure, Induced, Result, Selection, Target, Value, json, log, random};

struct NodeTaint;

failure_sdk::failure!(NodeTaint);

impl Failure for NodeTaint {
    fn induce(case: &Case) -> Result<Induced> {
        let key = case.text("taint")?;
        case.checkpoint(&json!({"key": key}))?;
        for node in Selection::new("v1", "Node").list()? {
            let mut taints = others(&node, key);
            taints.push(json!({"key": key, "value": "true", "effect": "NoSchedule"}));
            Target::of(&node)?.merge(&json!({"spec": {"taints": taints}}))?;
        }
        let mine = Selection::new("v1", "Pod").labels(&["app=", case.text("app")?].concat()).list()?;
        let victim = random::pick(&mine).and_then(|pod| pod["metadata"]["name"].as_str());
        let victim = victim.ok_or_else(|| Error::Invalid("there is no pod to delete".to_owned()))?;
        log::info(["every node is tainted with ", key, "; delete ", victim].concat());
        Target::pod(victim).delete()?;
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(key) = case.state().and_then(|state| state["key"].as_str()) else { return Ok(()) };
        for node in Selection::new("v1", "Node").list()? {
            let now = Target::of(&node)?.get()?;
            let left = others(&now, key);
            if now["spec"]["taints"].as_array().is_some_and(|taints| taints.len() > left.len()) {
                let taints = if left.is_empty() { Value::Null } else { Value::Array(left) };
                Target::of(&node)?.merge(&json!({"spec": {"taints": taints}}))?;
            }
        }
        Ok(())
    }
}

/// The taints of a node that are not ours.
fn others(node: &Value, key: &str) -> Vec<Value> {
    let taints = node["spec"]["taints"].as_array();
    taints.into_iter().flatten().filter(|taint| taint["key"] != key).cloned().collect()
}
