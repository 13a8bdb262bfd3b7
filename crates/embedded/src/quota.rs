//! Resource quotas: what a namespace may hold, checked when something is created.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use simulation::{Resource, World, resources};
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
        if !is_in_scope(&quota, &info.resource, object) {
            continue;
        }
        let asked = usage(&info.resource, object, hard.keys().map(String::as_str));
        let (mut over_asked, mut over_used, mut over_hard) = (Vec::new(), Vec::new(), Vec::new());
        let mut missing = Vec::new();
        for (name, limit) in &hard {
            if info.resource.plural == "pods" && is_compute(name) && !asked.contains_key(name) {
                missing.push(name.clone());
            }
            let (Some(limit), Some(asked)) = (limit.as_str().and_then(Quantity::parse), asked.get(name)) else {
                continue;
            };
            let used = used(state, &quota, name);
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

/// Adds what is about to be created to what its quotas say is used.
pub(crate) fn charge(state: &mut State, info: &Info, object: &Value) {
    let namespace = object::namespace(object);
    let quotas = state.info(&resources::RESOURCE_QUOTAS).filter(|_| !namespace.is_empty());
    let Some(quotas) = quotas else { return };
    for quota in state.store.list(&resources::RESOURCE_QUOTAS, Some(namespace)) {
        let hard = quota["status"]["hard"].as_object().cloned().unwrap_or_default();
        if !is_in_scope(&quota, &info.resource, object) {
            continue;
        }
        let mut charged = (*quota).clone();
        for (name, amount) in usage(&info.resource, object, hard.keys().map(String::as_str)) {
            let sum = used(state, &quota, &name) + amount;
            charged["status"]["used"][name.as_str()] = Value::String(spell(sum, &hard[&name]));
        }
        if charged != *quota {
            state.commit(&quotas, crate::store::Event::Modified, charged);
        }
    }
}

fn containers(pod: &Value) -> String {
    let names: Vec<&str> =
        object::list(pod, &["spec", "containers"]).iter().filter_map(|c| c["name"].as_str()).collect();
    names.join(",")
}

fn is_compute(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "requests.cpu" | "requests.memory" | "limits.cpu" | "limits.memory")
}

/// Whether a quota counts this object: of pods it may mean some alone.
fn is_in_scope(quota: &Value, resource: &Resource, object: &Value) -> bool {
    if *resource != resources::PODS {
        return true;
    }
    object::list(quota, &["spec", "scopes"]).iter().all(|scope| {
        let best_effort = object::text(object, &["status", "qosClass"]) == "BestEffort";
        let terminating = !object::at(object, &["spec", "activeDeadlineSeconds"]).is_null();
        match scope.as_str() {
            Some("BestEffort") => best_effort,
            Some("NotBestEffort") => !best_effort,
            Some("Terminating") => terminating,
            Some("NotTerminating") => !terminating,
            _ => true,
        }
    })
}

/// What one object takes of the named quantities.
fn usage<'a>(resource: &Resource, object: &Value, names: impl Iterator<Item = &'a str>) -> Usage {
    let mut usage = Usage::new();
    for name in names {
        let counted = name.strip_prefix("count/").is_some_and(|n| n == crate::registry::qualified(resource));
        let amount = match (resource.plural, name) {
            _ if counted => Some(ONE),
            ("pods", "pods") => Some(ONE),
            ("pods", _) if is_compute(name) => compute(object, name),
            ("persistentvolumeclaims", "requests.storage") => {
                object["spec"]["resources"]["requests"]["storage"].as_str().and_then(Quantity::parse).map(|q| q.nanos())
            }
            ("services", "services.nodeports") => {
                matches!(object["spec"]["type"].as_str(), Some("NodePort" | "LoadBalancer")).then_some(ONE)
            }
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

/// The resource whose objects take of a quantity.
fn counted(world: &dyn World, name: &str) -> Option<Resource> {
    if is_compute(name) {
        return Some(resources::PODS);
    }
    let plain = match name {
        "requests.storage" => return Some(resources::PERSISTENT_VOLUME_CLAIMS),
        "services.nodeports" | "services.loadbalancers" => return Some(resources::SERVICES),
        _ => name.strip_prefix("count/").unwrap_or(name),
    };
    world.resources().into_iter().find(|resource| crate::registry::qualified(resource) == plain)
}

/// What is there already of what a quota limits. Pods that have ended do not count.
pub(crate) fn used(world: &dyn World, quota: &Value, name: &str) -> i128 {
    let Some(resource) = counted(world, name) else { return 0 };
    world
        .list(&resource, Some(object::namespace(quota)))
        .iter()
        .filter(|object| {
            resource != resources::PODS || !matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        })
        .filter(|object| is_in_scope(quota, &resource, object))
        .map(|object| usage(&resource, object, std::iter::once(name)).remove(name).unwrap_or(0))
        .sum()
}

/// An amount, spelled as its limit is.
pub(crate) fn spell(nanos: i128, limit: &Value) -> String {
    let like = limit.as_str().and_then(Quantity::parse);
    like.map_or_else(|| (nanos / ONE).to_string(), |like| Quantity::from_nanos(nanos, &like).canonical())
}
