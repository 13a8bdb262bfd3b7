//! Resource quotas: what a namespace may hold, checked when something is created.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use simulation::resources;
use wire::quantity::Quantity;

use crate::error::ApiError;
use crate::object;
use crate::registry::Info;
use crate::state::State;

type Usage = BTreeMap<String, i128>;

const ONE: i128 = 1_000_000_000;

/// Refuses what would exceed a quota.
pub(crate) fn check(state: &State, info: &Arc<Info>, object: &Value) -> Result<(), ApiError> {
    let namespace = object::namespace(object);
    if namespace.is_empty() {
        return Ok(());
    }
    for quota in state.store.list(&resources::RESOURCE_QUOTAS, Some(namespace)) {
        let hard = quota["spec"]["hard"].as_object().cloned().unwrap_or_default();
        let asked = usage(info, object, hard.keys().map(String::as_str));
        let (mut over_asked, mut over_used, mut over_hard) = (Vec::new(), Vec::new(), Vec::new());
        let mut missing = Vec::new();
        for (name, limit) in &hard {
            if info.resource.plural == "pods" && is_compute(name) && !asked.contains_key(name) {
                missing.push(name.clone());
            }
            let (Some(limit), Some(asked)) = (limit.as_str().and_then(Quantity::parse), asked.get(name)) else {
                continue;
            };
            let used = used(state, info, namespace, name);
            if used + asked > limit.nanos() && *asked > 0 {
                let spell = |nanos| Quantity::from_nanos(nanos, &limit).canonical();
                over_asked.push(format!("{name}={}", spell(*asked)));
                over_used.push(format!("{name}={}", spell(used)));
                over_hard.push(format!("{name}={}", limit.canonical()));
            }
        }
        let name = object::name(object);
        let quota_name = object::name(&quota);
        if !missing.is_empty() {
            let per: Vec<String> = missing.iter().map(|m| format!("{m} for: {}", containers(object))).collect();
            let why = format!("failed quota: {quota_name}: must specify {}", per.join("; "));
            return Err(ApiError::forbidden(info, name, &why));
        }
        if !over_asked.is_empty() {
            let why = format!(
                "exceeded quota: {quota_name}, requested: {}, used: {}, limited: {}",
                over_asked.join(","),
                over_used.join(","),
                over_hard.join(",")
            );
            return Err(ApiError::forbidden(info, name, &why));
        }
    }
    Ok(())
}

fn containers(pod: &Value) -> String {
    let names: Vec<&str> =
        object::list(pod, &["spec", "containers"]).iter().filter_map(|c| c["name"].as_str()).collect();
    names.join(",")
}

fn is_compute(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "requests.cpu" | "requests.memory" | "limits.cpu" | "limits.memory")
}

/// What one object takes of the named quantities.
pub(crate) fn usage<'a>(info: &Info, object: &Value, names: impl Iterator<Item = &'a str>) -> Usage {
    let mut usage = Usage::new();
    for name in names {
        let counted = name.strip_prefix("count/").is_some_and(|counted| counted == info.qualified());
        let amount = match (info.resource.plural, name) {
            _ if counted => Some(ONE),
            ("pods", "pods") => Some(ONE),
            ("pods", _) if is_compute(name) => compute(object, name),
            ("persistentvolumeclaims", "requests.storage") => {
                object["spec"]["resources"]["requests"]["storage"].as_str().and_then(Quantity::parse).map(|q| q.nanos())
            }
            ("services", "services.nodeports") => (object["spec"]["type"] != "ClusterIP").then_some(ONE),
            ("services", "services.loadbalancers") => (object["spec"]["type"] == "LoadBalancer").then_some(ONE),
            (plural, name) if plural == name => Some(ONE),
            _ => None,
        };
        if let Some(amount) = amount {
            usage.insert(name.to_owned(), amount);
        }
    }
    usage
}

fn compute(pod: &Value, name: &str) -> Option<i128> {
    let (part, resource) = match name.split_once('.') {
        Some((part, resource)) => (part, resource),
        None => ("requests", name),
    };
    let of = |container: &Value| {
        container["resources"][part][resource].as_str().and_then(Quantity::parse).map(|quantity| quantity.nanos())
    };
    let running: Option<i128> = object::list(pod, &["spec", "containers"]).iter().map(of).sum();
    let starting = object::list(pod, &["spec", "initContainers"]).iter().filter_map(of).max().unwrap_or(0);
    running.map(|running| running.max(starting))
}

/// What is there already. Pods that have ended do not count.
pub(crate) fn used(state: &State, info: &Info, namespace: &str, name: &str) -> i128 {
    state
        .store
        .table_if_any(&info.resource)
        .into_iter()
        .flat_map(|table| table.iter(Some(namespace)))
        .filter(|object| {
            !matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
                || info.resource.plural != "pods"
        })
        .map(|object| usage(info, object, std::iter::once(name)).remove(name).unwrap_or(0))
        .sum()
}
