//! Cordons every node that is not, and deletes a pod so that it needs one.

use failure_sdk::{Case, Error, Failure, Induced, Result, Selection, Target, Value, json, log, random};

struct NodeCordoned;

failure_sdk::failure!(NodeCordoned);

impl Failure for NodeCordoned {
    fn induce(case: &Case) -> Result<Induced> {
        let nodes = Selection::new("v1", "Node").list()?;
        let open: Vec<&Value> = nodes.iter().filter(|node| node["spec"]["unschedulable"] != true).collect();
        let names: Vec<&str> = open.iter().filter_map(|node| node["metadata"]["name"].as_str()).collect();
        case.checkpoint(&json!({"nodes": names}))?;
        for name in &names {
            node(name).merge(&json!({"spec": {"unschedulable": true}}))?;
        }
        let mine = Selection::new("v1", "Pod").labels(&["app=", case.text("app")?].concat()).list()?;
        let victim = random::pick(&mine).and_then(|pod| pod["metadata"]["name"].as_str());
        let victim = victim.ok_or_else(|| Error::Invalid("there is no pod to delete".to_owned()))?;
        log::info(["every node is cordoned; delete ", victim].concat());
        Target::pod(victim).delete()?;
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(names) = case.state().and_then(|state| state["nodes"].as_array()) else { return Ok(()) };
        for name in names.iter().filter_map(Value::as_str) {
            match node(name).get() {
                Ok(now) if now["spec"]["unschedulable"] == true => {
                    node(name).merge(&json!({"spec": {"unschedulable": null}}))?;
                }
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn node(name: &str) -> Target {
    Target::new("v1", "Node", name)
}
