//! What was seen of a cluster over time, recorded or replayed, in one shape.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One state of a pod as `kubectl get pods` shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) at: f64,
    pub(crate) ready: String,
    pub(crate) status: String,
    pub(crate) restarts: i64,
}

/// A pod's life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) states: Vec<State>,
    /// Container states that were seen: name, state, last state, by restart count.
    pub(crate) containers: BTreeSet<(i64, String)>,
    pub(crate) conditions: BTreeSet<String>,
    /// Seconds between the probes that may kill it.
    pub(crate) period: f64,
}

/// An Event by its normalised words.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) count: i64,
}

/// Everything that is compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) pods: Vec<Pod>,
    pub(crate) events: BTreeMap<String, Told>,
    /// Conditions of everything but pods.
    pub(crate) conditions: BTreeSet<String>,
    /// What each write was answered with: the code, the Status, warnings.
    pub(crate) answers: Vec<String>,
    /// Counts and phases in statuses of everything but pods, in the order in which they were seen, by object.
    pub(crate) statuses: BTreeMap<String, Vec<String>>,
    /// Kinds that were watched.
    pub(crate) kinds: BTreeSet<String>,
    pub(crate) end: f64,
    names: BTreeMap<String, String>,
    sets: BTreeMap<String, usize>,
    alive: BTreeMap<String, usize>,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

impl Seen {
    /// Learns names that differ from run to run. Before anything else, for all objects.
    pub(crate) fn learn(&mut self, object: &Value) {
        let name = text(object, "/metadata/name").to_owned();
        let owner = text(object, "/metadata/ownerReferences/0/name").to_owned();
        self.kinds.insert(text(object, "/kind").to_owned());
        match text(object, "/kind") {
            "ReplicaSet" if !self.names.contains_key(&name) => {
                let count = self.sets.entry(owner.clone()).or_default();
                *count += 1;
                self.names.insert(name, format!("<{owner} set {count}>"));
            }
            "Job" if !owner.is_empty() && !self.names.contains_key(&name) => {
                let count = self.sets.entry(owner.clone()).or_default();
                *count += 1;
                self.names.insert(name, format!("<{owner} job {count}>"));
            }
            "Pod" => {
                self.names.entry(text(object, "/metadata/uid").to_owned()).or_insert_with(|| "<uid>".to_owned());
                let ip = text(object, "/status/podIP");
                if !ip.is_empty() {
                    self.names.entry(ip.to_owned()).or_insert_with(|| "<ip>".to_owned());
                }
                if !owner.is_empty() && !self.names.contains_key(&name) {
                    let group = self.normal(&owner);
                    self.names.insert(name, format!("<pod of {group}>"));
                }
            }
            _ => {}
        }
    }

    /// A change of an object.
    pub(crate) fn object(&mut self, at: f64, deleted: bool, object: &Value) {
        let name = text(object, "/metadata/name").to_owned();
        match text(object, "/kind") {
            "Pod" => self.pod(at, deleted, object),
            kind => {
                let name = self.normal(&name);
                for condition in items(object, "/status/conditions") {
                    let words = ["/type", "/status", "/reason", "/message"].map(|p| text(condition, p)).join(" ");
                    let words = self.normal(&words);
                    self.conditions.insert(format!("{kind} {name}: {words}"));
                }
                let status = match summary(kind, object) {
                    status if status.is_empty() => return,
                    _ if deleted => "gone".to_owned(),
                    status => status,
                };
                let states = self.statuses.entry(format!("{kind} {name}")).or_default();
                if !status.is_empty() && states.last() != Some(&status) {
                    states.push(status);
                }
            }
        }
    }

    /// An answer to a write, in words.
    pub(crate) fn answer(&self, status: u16, body: Option<&Value>, warnings: &[String]) -> String {
        let mut words = status.to_string();
        if let Some(body) = body.filter(|_| status >= 300) {
            words = format!("{words} {} {} {}", text(body, "/reason"), text(body, "/message"), body["details"]);
        }
        for warning in warnings {
            words = format!("{words} warning {warning}");
        }
        self.normal(&words)
    }

    fn pod(&mut self, at: f64, deleted: bool, object: &Value) {
        let name = text(object, "/metadata/name").to_owned();
        let owner = text(object, "/metadata/ownerReferences/0/name");
        let group = if owner.is_empty() { name.clone() } else { format!("pod of {}", self.normal(owner)) };
        let uid = text(object, "/metadata/uid").to_owned();
        let index = match self.alive.get(&uid) {
            Some(index) => *index,
            None => {
                let probes = items(object, "/spec/containers")
                    .iter()
                    .flat_map(|c| [c.get("livenessProbe"), c.get("startupProbe")]);
                let periods = probes.flatten().map(|p| p["periodSeconds"].as_f64().unwrap_or(10.0));
                let period = periods.fold(0.0, f64::max);
                self.pods.push(Pod { name: name.clone(), group, period, ..Pod::default() });
                self.alive.insert(uid, self.pods.len() - 1);
                self.pods.len() - 1
            }
        };
        let mut state = columns(object);
        state.at = at;
        if deleted {
            state.status = "(deleted)".to_owned();
        }
        let mut containers = Vec::new();
        for container in
            items(object, "/status/initContainerStatuses").iter().chain(items(object, "/status/containerStatuses"))
        {
            let restarts = container.pointer("/restartCount").and_then(Value::as_i64).unwrap_or(0);
            let words = format!(
                "{} {} last {}",
                text(container, "/name"),
                words_of(container, "/state"),
                words_of(container, "/lastState")
            );
            containers.push((restarts, self.normal(&words)));
        }
        let conditions: Vec<String> = items(object, "/status/conditions")
            .iter()
            .map(|c| self.normal(&["/type", "/status", "/reason", "/message"].map(|p| text(c, p)).join(" ")))
            .collect();
        let pod = &mut self.pods[index];
        pod.containers.extend(containers);
        pod.conditions.extend(conditions);
        let same =
            |last: &State| (&last.ready, &last.status, last.restarts) == (&state.ready, &state.status, state.restarts);
        if !pod.states.last().is_some_and(same) {
            pod.states.push(state);
        }
    }

    /// An Event as it is at the end.
    pub(crate) fn event(&mut self, event: &Value) {
        let kind = text(event, "/involvedObject/kind");
        let words = format!("{kind} {} {}: {}", text(event, "/type"), text(event, "/reason"), text(event, "/message"));
        let count =
            event.pointer("/series/count").or(event.pointer("/count")).and_then(Value::as_i64).unwrap_or(1).max(1);
        let words = self.normal(&words);
        self.events.entry(words).or_default().count += count;
    }

    /// Names, addresses and durations that differ from run to run, out of the way.
    fn normal(&self, words: &str) -> String {
        let mut shown = words.to_owned();
        // Longer names first: a pod's begins with its replica set's.
        let mut names: Vec<(&String, &String)> = self.names.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, token) in names {
            shown = shown.replace(name.as_str(), token);
        }
        let mut normal = String::new();
        for word in shown.split(' ') {
            let bare = word.trim_start_matches('(');
            let is_pull = bare.strip_suffix("ms").is_some_and(|n| n.parse::<f64>().is_ok());
            normal.push_str(if is_pull { "<ms>" } else { word });
            normal.push(' ');
        }
        // Pods that were refused are seen in messages alone; what the server tells in Go's random order is sorted.
        sorted_lists(&refused_pods(normal.trim_end())).replace("kube-api-access-", "kube-api-access-*")
    }
}

/// `"<web set 1>-x7k2p"` without the part that is generated.
fn refused_pods(words: &str) -> String {
    let mut parts = words.split(">-");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let generated = part.chars().take_while(char::is_ascii_alphanumeric).count();
        result.push_str(">-");
        result.push_str(if generated == 5 { &part[5..] } else { part });
    }
    result
}

/// `forbidden: [b, a]` as `forbidden: [a, b]`.
fn sorted_lists(words: &str) -> String {
    let Some((before, rest)) = words.split_once("is forbidden: [") else { return words.to_owned() };
    let Some((list, after)) = rest.split_once(']') else { return words.to_owned() };
    let mut items: Vec<&str> = list.split(", ").flat_map(|part| part.split(" maximum ")).collect();
    items.sort_unstable();
    format!("{before}is forbidden: [{}]{after}", items.join(", "))
}

/// What a status tells besides its conditions, without times and without what differs from run to run.
fn summary(kind: &str, object: &Value) -> String {
    let shown = |status: &str| {
        let fields = object.pointer(status).and_then(Value::as_object).into_iter().flatten();
        let fields = fields.filter(|(key, value)| {
            !matches!(key.as_str(), "conditions" | "observedGeneration" | "disruptedPods") && !value.is_null()
        });
        fields.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    };
    match kind {
        "ResourceQuota" | "PodDisruptionBudget" | "HorizontalPodAutoscaler" | "PersistentVolumeClaim" | "Namespace" => {
            shown("/status")
        }
        "Node" => {
            let taints = items(object, "/spec/taints").iter();
            taints
                .map(|taint| format!("{}:{}", text(taint, "/key"), text(taint, "/effect")))
                .collect::<Vec<_>>()
                .join(" ")
        }
        _ => String::new(),
    }
}

fn words_of(container: &Value, pointer: &str) -> String {
    let Some((kind, detail)) = container.pointer(pointer).and_then(Value::as_object).and_then(|m| m.iter().next())
    else {
        return "-".to_owned();
    };
    let code = detail.get("exitCode").map(Value::to_string).unwrap_or_default();
    format!("{kind} {} {} {code}", text(detail, "/reason"), text(detail, "/message"))
}

/// READY, STATUS and RESTARTS (`printPod` of kubectl's server-side printers).
fn columns(pod: &Value) -> State {
    let mut status = match text(pod, "/status/reason") {
        "" => text(pod, "/status/phase").to_owned(),
        reason => reason.to_owned(),
    };
    let init_specs = items(pod, "/spec/initContainers");
    let sidecar =
        |name: &str| init_specs.iter().any(|c| text(c, "/name") == name && text(c, "/restartPolicy") == "Always");
    let mut total = items(pod, "/spec/containers").len();
    let (mut ready, mut restarts, mut side_restarts) = (0, 0, 0);
    let count = |c: &Value| c.pointer("/restartCount").and_then(Value::as_i64).unwrap_or(0);
    let flag = |c: &Value, p: &str| c.pointer(p).and_then(Value::as_bool).unwrap_or(false);
    let mut initialising = false;
    total += init_specs.iter().filter(|c| text(c, "/restartPolicy") == "Always").count();
    for (i, c) in items(pod, "/status/initContainerStatuses").iter().enumerate() {
        restarts += count(c);
        let own = sidecar(text(c, "/name"));
        if own {
            side_restarts += count(c);
        }
        if own && flag(c, "/ready") {
            ready += 1;
        }
        let code = c.pointer("/state/terminated/exitCode").and_then(Value::as_i64);
        if initialising || code == Some(0) || own && flag(c, "/started") {
            continue;
        }
        initialising = true;
        status = if let Some(code) = code {
            match text(c, "/state/terminated/reason") {
                "" => format!("Init:ExitCode:{code}"),
                reason => format!("Init:{reason}"),
            }
        } else {
            match text(c, "/state/waiting/reason") {
                "" | "PodInitializing" => format!("Init:{i}/{}", init_specs.len()),
                reason => format!("Init:{reason}"),
            }
        };
    }
    if !initialising {
        restarts = side_restarts;
        let mut running = false;
        for c in items(pod, "/status/containerStatuses").iter().rev() {
            restarts += count(c);
            if !text(c, "/state/waiting/reason").is_empty() {
                status = text(c, "/state/waiting/reason").to_owned();
            } else if !text(c, "/state/terminated/reason").is_empty() {
                status = text(c, "/state/terminated/reason").to_owned();
            } else if flag(c, "/ready") && c.pointer("/state/running").is_some() {
                running = true;
                ready += 1;
            }
        }
        if status == "Completed" && running {
            let is_ready = items(pod, "/status/conditions")
                .iter()
                .any(|c| text(c, "/type") == "Ready" && text(c, "/status") == "True");
            status = if is_ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
    let deleting = pod.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null());
    if deleting && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        status = "Terminating".to_owned();
    }
    State { at: 0.0, ready: format!("{ready}/{total}"), status, restarts }
}
