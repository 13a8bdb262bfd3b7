//! Limit ranges: what they fill in, and the bounds that they set to containers, pods and claims.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use simulation::resources;
use wire::quantity::Quantity;

use crate::error::ApiError;
use crate::object::{self, child};
use crate::registry::Info;
use crate::state::State;

/// What is bounded, and by which of its amounts.
struct Bounded {
    kind: &'static str,
    /// Bounds from above look at these, in this order.
    above: &'static [(&'static str, &'static str)],
    /// Bounds from below.
    below: &'static [(&'static str, &'static str)],
}

const LIMITS: (&str, &str) = ("limits", "limit");
const REQUESTS: (&str, &str) = ("requests", "request");
const CONTAINER: Bounded = Bounded { kind: "Container", above: &[LIMITS, REQUESTS], below: &[REQUESTS, LIMITS] };
const POD: Bounded = Bounded { kind: "Pod", ..CONTAINER };
const CLAIM: Bounded = Bounded { kind: "PersistentVolumeClaim", above: &[REQUESTS], below: &[REQUESTS] };

fn items(state: &State, object: &Value) -> Vec<Value> {
    let ranges = state.store.list(&resources::LIMIT_RANGES, Some(object::namespace(object)));
    ranges.iter().flat_map(|range| object::list(range, &["spec", "limits"]).to_vec()).collect()
}

/// Fills a pod's containers in and holds it against the bounds of its namespace.
pub(crate) fn pod(state: &State, info: &Info, pod: &mut Value) -> Result<(), ApiError> {
    let items = items(state, pod);
    if items.is_empty() {
        return Ok(());
    }
    let name = object::name(pod).to_owned();
    let mut complaints = Vec::new();
    for item in items.iter().filter(|item| item["type"] == CONTAINER.kind) {
        for list in ["initContainers", "containers"] {
            crate::defaults::each(&mut pod["spec"], list, |container| fill(container, item));
            for container in object::list(pod, &["spec", list]) {
                complaints.extend(complain(&CONTAINER, &container["resources"], item));
            }
        }
    }
    // The class follows from what has just been filled in.
    if let Value::Object(status) = &mut pod["status"] {
        status.remove("qosClass");
    }
    crate::defaults::apply(info, pod);
    let whole = of_pod(pod);
    for item in items.iter().filter(|item| item["type"] == POD.kind) {
        complaints.extend(complain(&POD, &whole, item));
    }
    refuse(info, &name, complaints)
}

/// Holds a claim against the bounds of its namespace.
pub(crate) fn claim(state: &State, info: &Arc<Info>, claim: &Value) -> Result<(), ApiError> {
    let items = items(state, claim);
    let of_claims = items.iter().filter(|item| item["type"] == CLAIM.kind);
    let complaints = of_claims.flat_map(|item| complain(&CLAIM, &claim["spec"]["resources"], item)).collect();
    refuse(info, object::name(claim), complaints)
}

fn refuse(info: &Info, name: &str, mut complaints: Vec<String>) -> Result<(), ApiError> {
    let text = match complaints.len() {
        0 => return Ok(()),
        1 => complaints.remove(0),
        _ => format!("[{}]", complaints.join(", ")),
    };
    Err(ApiError::forbidden(info, name, &text))
}

/// What all containers of a pod ask together; of those that run before the others the largest counts.
fn of_pod(pod: &Value) -> Value {
    let amounts = |list: &str, part: &str| -> Vec<BTreeMap<String, Quantity>> {
        let of = |container: &Value| {
            let given = container["resources"][part].as_object().into_iter().flatten();
            given.filter_map(|(name, value)| Some((name.clone(), Quantity::parse(value.as_str()?)?))).collect()
        };
        object::list(pod, &["spec", list]).iter().map(of).collect()
    };
    let mut whole = json!({});
    for part in ["limits", "requests"] {
        let mut sums: BTreeMap<String, (i128, Quantity)> = BTreeMap::new();
        for (name, quantity) in amounts("containers", part).into_iter().flatten() {
            let sum = sums.get(&name).map_or(0, |(sum, _)| *sum) + quantity.nanos();
            sums.insert(name, (sum, quantity));
        }
        for (name, quantity) in amounts("initContainers", part).into_iter().flatten() {
            let sum = sums.get(&name).map_or(0, |(sum, _)| *sum).max(quantity.nanos());
            sums.insert(name, (sum, quantity));
        }
        let spelled = |(name, (sum, like)): (String, (i128, Quantity))| {
            (name, json!(Quantity::from_nanos(sum, &like).canonical()))
        };
        whole[part] = Value::Object(sums.into_iter().map(spelled).collect::<Map<_, _>>());
    }
    whole
}

fn fill(container: &mut Value, item: &Value) {
    for (from, to) in [("default", "limits"), ("defaultRequest", "requests")] {
        for (name, value) in item[from].as_object().into_iter().flatten() {
            if container["resources"][to].get(name).is_none() {
                child(container, "resources");
                child(&mut container["resources"], to).insert(name.clone(), value.clone());
            }
        }
    }
}

fn complain(what: &Bounded, given: &Value, item: &Value) -> Vec<String> {
    let amount = |value: &Value| value.as_str().and_then(Quantity::parse);
    let mut complaints = Vec::new();
    for (bound, word, parts) in [("min", "minimum", what.below), ("max", "maximum", what.above)] {
        for (name, limit) in item[bound].as_object().into_iter().flatten() {
            let Some(limit) = amount(limit) else { continue };
            let start = format!("{word} {name} usage per {} is {}", what.kind, limit.canonical());
            // What must be given is looked at first; of several faults the first is told.
            for (index, (part, called)) in parts.iter().enumerate() {
                let Some(given) = amount(&given[*part][name]) else {
                    if index == 0 {
                        complaints.push(format!("{start}.  No {called} is specified"));
                        break;
                    }
                    continue;
                };
                let breaks = if bound == "max" { given.nanos() > limit.nanos() } else { given.nanos() < limit.nanos() };
                if breaks {
                    complaints.push(format!("{start}, but {called} is {}", given.canonical()));
                    break;
                }
            }
        }
    }
    complaints.extend(ratios(what, given, item));
    complaints
}

/// How much more than it asks for something may use.
fn ratios(what: &Bounded, given: &Value, item: &Value) -> Vec<String> {
    let amount = |value: &Value| value.as_str().and_then(Quantity::parse);
    let mut complaints = Vec::new();
    for (name, bound) in item["maxLimitRequestRatio"].as_object().into_iter().flatten() {
        let Some(bound) = amount(bound) else { continue };
        let start = format!("{name} max limit to request ratio per {} is {}", what.kind, bound.canonical());
        let (limit, request) = (amount(&given["limits"][name]), amount(&given["requests"][name]));
        let (Some(limit), Some(request)) = (limit, request.filter(|request| request.nanos() > 0)) else {
            complaints.push(format!("{start}, but no request is specified or request is 0"));
            continue;
        };
        #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
        let ratio = limit.nanos() as f64 / request.nanos() as f64;
        #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
        let most = bound.nanos() as f64 / 1e9;
        if ratio > most {
            complaints.push(format!("{start}, but provided ratio is {ratio:.6}"));
        }
    }
    complaints
}
