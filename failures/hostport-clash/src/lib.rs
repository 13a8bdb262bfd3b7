//! Binds a Deployment to a port of the node, and asks for one replica more than there are nodes.

use failure_sdk::{Case, Failure, Induced, Result, Selection, Target, Value, json, log};

struct HostPortClash;

failure_sdk::failure!(HostPortClash);

impl Failure for HostPortClash {
    fn induce(case: &Case) -> Result<Induced> {
        let target = Target::deployment(case.text("app")?);
        let replicas = target.get()?["spec"]["replicas"].as_u64().unwrap_or(1);
        case.checkpoint(&json!({"replicas": replicas}))?;
        let nodes = u64::try_from(Selection::new("v1", "Node").list()?.len()).unwrap_or(u64::MAX);
        let wanted = replicas.max(nodes.saturating_add(1));
        log::info(["ask for ", &wanted.to_string(), " replicas with a port of the node each"].concat());
        target.patch(&with(case.integer("port")?.into(), wanted))?;
        Ok(Induced::default())
    }

    fn stop(case: &Case) -> Result<()> {
        let Some(replicas) = case.state().and_then(|state| state["replicas"].as_u64()) else { return Ok(()) };
        match Target::deployment(case.text("app")?).patch(&with(Value::Null, replicas)) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn with(port: Value, replicas: u64) -> Value {
    let container = json!({"name": "app", "ports": [{"containerPort": 80, "hostPort": port}]});
    json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}}})
}
