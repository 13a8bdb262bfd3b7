//! The EndpointSlice controller, and the Endpoints that mirror it: which pods a Service reaches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};
use simulation::resources::{ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES};
use simulation::{Change, Controller, World};

use crate::fields::{
    after, at, is_deleting, is_ready, is_terminal, items, key, millis, name, namespace, number, owner_reference, put,
    seconds, split_key, text, truth, uid,
};
use crate::selector;

const NAME: &str = "endpointslice-controller";
const MANAGER: &str = "kube-controller-manager";
const OF_SERVICE: &str = "kubernetes.io/service-name";

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    /// Selectors of the services of each namespace.
    services: HashMap<String, BTreeMap<String, Arc<Value>>>,
    pods: HashMap<String, BTreeMap<String, Arc<Value>>>,
}

impl Controller for Endpoints {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, service) | Change::Modified(r, _, service) if *r == SERVICES => {
                self.services
                    .entry(namespace(service).to_owned())
                    .or_default()
                    .insert(name(service).to_owned(), Arc::clone(service));
                enqueue(world, service);
            }
            Change::Deleted(r, service) if *r == SERVICES => {
                if let Some(services) = self.services.get_mut(namespace(service)) {
                    services.remove(name(service));
                }
                // The slices go with their owner; Endpoints have none and go by name.
                let _ = world.delete(&ENDPOINTS, namespace(service), name(service), simulation::Deletion::default());
            }
            Change::Added(r, pod) if *r == PODS => self.pod(world, pod, None),
            Change::Modified(r, old, pod) if *r == PODS => self.pod(world, pod, Some(old)),
            Change::Deleted(r, pod) if *r == PODS => {
                if let Some(pods) = self.pods.get_mut(namespace(pod)) {
                    pods.remove(name(pod));
                }
                self.affected(world, pod, None);
            }
            Change::Deleted(r, slice) if *r == ENDPOINT_SLICES => {
                let service = slice
                    .pointer("/metadata/labels")
                    .and_then(|l| l.get(OF_SERVICE))
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                if let Some(service) = self.services.get(namespace(slice)).and_then(|s| s.get(service)) {
                    enqueue(world, service);
                }
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, service) = split_key(key);
        if let Some(service) = world.get(&SERVICES, space, service) {
            self.sync(world, &service);
        }
    }
}

fn enqueue(world: &mut dyn World, service: &Value) {
    let at = after(world.now(), millis(10));
    world.wake_at(NAME, key(service), at);
}

impl Endpoints {
    fn pod(&mut self, world: &mut dyn World, pod: &Arc<Value>, old: Option<&Arc<Value>>) {
        self.pods.entry(namespace(pod).to_owned()).or_default().insert(name(pod).to_owned(), Arc::clone(pod));
        let seen = |pod: &Value| {
            (
                is_ready(pod),
                is_deleting(pod),
                is_terminal(pod),
                text(pod, "/status/podIP").to_owned(),
                at(pod, "/metadata/labels").cloned(),
            )
        };
        if old.is_none_or(|old| seen(old) != seen(pod)) {
            self.affected(world, pod, old);
        }
    }

    fn affected(&self, world: &mut dyn World, pod: &Value, old: Option<&Arc<Value>>) {
        for service in self.services.get(namespace(pod)).into_iter().flat_map(BTreeMap::values) {
            let Some(wanted) = at(service, "/spec/selector").filter(|s| s.as_object().is_some_and(|m| !m.is_empty()))
            else {
                continue;
            };
            let hit = |pod: &Value| selector::map_matches(wanted, at(pod, "/metadata/labels"));
            if hit(pod) || old.is_some_and(|old| hit(old)) {
                enqueue(world, service);
            }
        }
    }

    fn sync(&mut self, world: &mut dyn World, service: &Arc<Value>) {
        let wanted = at(service, "/spec/selector").filter(|s| s.as_object().is_some_and(|m| !m.is_empty()));
        let Some(wanted) = wanted.filter(|_| text(service, "/spec/type") != "ExternalName") else { return };
        let pods: Vec<Arc<Value>> = self
            .pods
            .get(namespace(service))
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|pod| {
                selector::map_matches(wanted, at(pod, "/metadata/labels"))
                    && !text(pod, "/status/podIP").is_empty()
                    && !is_terminal(pod)
            })
            .cloned()
            .collect();
        // Pods that resolve a named port differently are in slices of their own.
        let mut groups: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
        for pod in &pods {
            let ports = ports_for(service, pod);
            let group = groups.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new()));
            group.1.push(endpoint(service, pod));
        }
        if groups.is_empty() {
            groups.insert(String::new(), (Value::Null, Vec::new()));
        }
        self.write_slices(world, service, groups.into_values().collect());
        mirror(world, service, &pods);
    }

    fn write_slices(&self, world: &mut dyn World, service: &Arc<Value>, mut wanted: Vec<(Value, Vec<Value>)>) {
        let now = seconds(world.now());
        let existing: Vec<Arc<Value>> = world
            .list(&ENDPOINT_SLICES, Some(namespace(service)))
            .into_iter()
            .filter(|slice| {
                let labels = at(slice, "/metadata/labels");
                let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
                label(OF_SERVICE) == Some(name(service))
                    && label("endpointslice.kubernetes.io/managed-by") == Some("endpointslice-controller.k8s.io")
            })
            .collect();
        for slice in existing {
            // The slice with the same ports is kept, whatever its endpoints are.
            let at = wanted
                .iter()
                .position(|(ports, _)| slice.get("ports").unwrap_or(&Value::Null) == ports)
                .or((!wanted.is_empty()).then_some(0));
            match at {
                Some(at) => {
                    let (ports, endpoints) = wanted.remove(at);
                    let mut changed = (*slice).clone();
                    put(&mut changed, &["metadata", "labels"], slice_labels(service));
                    put(&mut changed, &["endpoints"], list_or_null(endpoints));
                    put(&mut changed, &["ports"], ports);
                    if changed != *slice {
                        put(
                            &mut changed,
                            &["metadata", "annotations", "endpoints.kubernetes.io/last-change-trigger-time"],
                            json!(now),
                        );
                        // A conflict or deletion comes back as a change.
                        let _ = world.update(&ENDPOINT_SLICES, changed, MANAGER);
                    }
                }
                None => {
                    let _ = world.delete(
                        &ENDPOINT_SLICES,
                        namespace(&slice),
                        name(&slice),
                        simulation::Deletion::default(),
                    );
                }
            }
        }
        for (ports, endpoints) in wanted {
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "generateName": format!("{}-", name(service)), "namespace": namespace(service), "labels": slice_labels(service),
                    "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": now},
                    "ownerReferences": [owner_reference(&SERVICES, service)],
                },
                "addressType": "IPv4", "endpoints": list_or_null(endpoints), "ports": ports,
            });
            let _ = world.create(&ENDPOINT_SLICES, slice, MANAGER);
        }
    }
}

fn labels_of(service: &Value) -> Value {
    at(service, "/metadata/labels").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// The labels of the service, as they are now, and the controller's own.
fn slice_labels(service: &Value) -> Value {
    let mut labels = labels_of(service);
    put(&mut labels, &[OF_SERVICE], json!(name(service)));
    put(&mut labels, &["endpointslice.kubernetes.io/managed-by"], json!("endpointslice-controller.k8s.io"));
    if text(service, "/spec/clusterIP") == "None" {
        put(&mut labels, &["service.kubernetes.io/headless"], json!(""));
    }
    labels
}

fn list_or_null(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { Value::Array(list) }
}

/// The ports of a service as this pod offers them; null when a named port is not there.
fn ports_for(service: &Value, pod: &Value) -> Value {
    let mut ports = Vec::new();
    for port in items(service, "/spec/ports") {
        let protocol = Some(text(port, "/protocol")).filter(|p| !p.is_empty()).unwrap_or("TCP");
        let target = port.get("targetPort").filter(|t| !t.is_null()).or_else(|| port.get("port"));
        let number = match target {
            Some(Value::String(wanted)) => match wanted.parse::<i64>() {
                Ok(number) => Some(number),
                Err(_) => items(pod, "/spec/containers")
                    .iter()
                    .flat_map(|c| items(c, "/ports"))
                    .find(|p| {
                        text(p, "/name") == wanted && matches!(text(p, "/protocol"), "" | "TCP") == (protocol == "TCP")
                    })
                    .and_then(|p| number(p, "/containerPort")),
            },
            Some(value) => value.as_i64().map(|n| if n == 0 { number(port, "/port").unwrap_or(0) } else { n }),
            None => None,
        };
        if let Some(number) = number {
            ports.push(json!({"name": text(port, "/name"), "protocol": protocol, "port": number}));
        }
    }
    list_or_null(ports)
}

fn endpoint(service: &Value, pod: &Value) -> Value {
    let terminating = is_deleting(pod);
    let serving = is_ready(pod);
    let ready = serving && !terminating || truth(service, "/spec/publishNotReadyAddresses");
    let mut endpoint = json!({
        "addresses": [text(pod, "/status/podIP")],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": uid(pod)},
        "nodeName": text(pod, "/spec/nodeName"),
    });
    if !text(pod, "/spec/hostname").is_empty() && text(pod, "/spec/subdomain") == name(service) {
        put(&mut endpoint, &["hostname"], json!(text(pod, "/spec/hostname")));
    }
    endpoint
}

/// The older Endpoints object of the same name.
fn mirror(world: &mut dyn World, service: &Arc<Value>, pods: &[Arc<Value>]) {
    let mut subsets: BTreeMap<String, (Value, Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !is_deleting(pod)) {
        let ports = ports_for(service, pod);
        let address = json!({
            "ip": text(pod, "/status/podIP"), "nodeName": text(pod, "/spec/nodeName"),
            "targetRef": {"kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": uid(pod)},
        });
        let subset = subsets.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new(), Vec::new()));
        if is_ready(pod) || truth(service, "/spec/publishNotReadyAddresses") {
            subset.1.push(address)
        } else {
            subset.2.push(address)
        }
    }
    let subsets: Vec<Value> = subsets
        .into_values()
        .map(|(ports, ready, unready)| {
            let mut subset = json!({});
            for (field, list) in [("addresses", ready), ("notReadyAddresses", unready)] {
                if !list.is_empty() {
                    put(&mut subset, &[field], Value::Array(list));
                }
            }
            if let Some(ports) = ports.as_array() {
                let ports: Vec<Value> = ports
                    .iter()
                    .map(|p| {
                        let mut shown = p.clone();
                        if text(p, "/name").is_empty() {
                            crate::fields::remove(&mut shown, &["name"]);
                        }
                        shown
                    })
                    .collect();
                put(&mut subset, &["ports"], Value::Array(ports));
            }
            subset
        })
        .collect();
    let mut labels = labels_of(service);
    put(&mut labels, &["endpoints.kubernetes.io/managed-by"], json!("endpoint-controller"));
    let current = world.get(&ENDPOINTS, namespace(service), name(service));
    let mut object = match &current {
        Some(current) => (**current).clone(),
        None => {
            json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name(service), "namespace": namespace(service)}})
        }
    };
    put(&mut object, &["metadata", "labels"], labels);
    if subsets.is_empty() {
        crate::fields::remove(&mut object, &["subsets"]);
    } else {
        put(&mut object, &["subsets"], Value::Array(subsets));
    }
    match current {
        Some(current) if *current == object => {}
        // Both can only fail when the service has just gone.
        Some(_) => drop(world.update(&ENDPOINTS, object, MANAGER)),
        None => drop(world.create(&ENDPOINTS, object, MANAGER)),
    }
}
