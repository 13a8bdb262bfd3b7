//! What admission does to objects on their way in: service accounts, priorities, tolerations, addresses, limits, quotas.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use simulation::resources;

use crate::error::ApiError;
use crate::object::{self, child, default};
use crate::registry::Info;
use crate::state::State;
use crate::webhooks::{self, Attempt, Operation};
use crate::write::Write;

/// Where the account's token is mounted.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(crate) fn on_create(state: &mut State, info: &Arc<Info>, object: &mut Value, how: &Write) -> Result<(), ApiError> {
    terminating_namespace(state, info, object)?;
    match (info.resource.group, info.resource.plural) {
        ("", "pods") => {
            crate::limits::pod(state, info, object)?;
            priority(state, info, object)?;
            tolerations(object);
            service_account(state, info, object)?;
        }
        ("", "namespaces") => crate::pod_security::relabelled(state, info, None, object)?,
        ("", "services") => addresses(state, info, object)?,
        ("batch", "jobs") => job_labels(object),
        ("", "persistentvolumeclaims") => {
            claim(state, object);
            crate::limits::claim(state, info, object)?;
        }
        ("", "persistentvolumes") => protect(object, "kubernetes.io/pv-protection"),
        _ => {}
    }
    let attempt = Attempt { info, operation: Operation::Create, subresource: "", old: None, dry_run: how.dry_run };
    webhooks::mutate(state, &attempt, object)?;
    crate::escalation::check(state, info, None, object)?;
    crate::pod_security::admit(state, info, None, object)?;
    crate::policies::check(state, &attempt, Some(object))?;
    webhooks::validate(state, &attempt, Some(object))?;
    crate::quota::check(state, info, object)
}

/// A claim without a class gets the default one, and is kept while a pod uses it.
fn claim(state: &State, claim: &mut Value) {
    protect(claim, "kubernetes.io/pvc-protection");
    let given = claim["spec"].get("storageClassName").is_some_and(|name| !name.is_null());
    let annotated = object::at(claim, &["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"]);
    if given || annotated.is_string() {
        return;
    }
    let key = "storageclass.kubernetes.io/is-default-class";
    let classes = state.store.list(&resources::STORAGE_CLASSES, None);
    let defaults = classes.iter().filter(|class| object::text(class, &["metadata", "annotations", key]) == "true");
    // Of several the newest counts.
    let newest = defaults.max_by_key(|class| object::text(class, &["metadata", "creationTimestamp"]).to_owned());
    if let Some(class) = newest {
        child(claim, "spec").insert("storageClassName".into(), json!(object::name(class)));
    }
}

fn protect(object: &mut Value, finalizer: &str) {
    if !object::list(object, &["metadata", "finalizers"]).iter().any(|known| known == finalizer) {
        push(&mut object["metadata"], "finalizers", json!(finalizer));
    }
}

pub(crate) fn on_update(
    state: &mut State,
    info: &Arc<Info>,
    old: &Value,
    new: &mut Value,
    how: &Write,
) -> Result<(), ApiError> {
    if info.resource.group.is_empty() && info.resource.plural == "services" && how.subresource.is_empty() {
        // What was given once stays when the client leaves it out.
        let kind = object::text(new, &["spec", "type"]).to_owned();
        let spec = child(new, "spec");
        if kind != "ExternalName" {
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if spec.get(key).is_none()
                    && let Some(value) = old["spec"].get(key)
                {
                    spec.insert(key.into(), value.clone());
                }
            }
            if kind == "NodePort" || kind == "LoadBalancer" {
                keep_node_ports(old, new);
            }
            addresses(state, info, new)?;
        }
    }
    if info.resource == resources::NAMESPACES && how.subresource.is_empty() {
        crate::pod_security::relabelled(state, info, Some(old), new)?;
    }
    let attempt = Attempt {
        info,
        operation: Operation::Update,
        subresource: how.subresource,
        old: Some(old),
        dry_run: how.dry_run,
    };
    webhooks::mutate(state, &attempt, new)?;
    crate::escalation::check(state, info, Some(old), new)?;
    if matches!(how.subresource, "" | "ephemeralcontainers" | "resize") {
        crate::pod_security::admit(state, info, Some(old), new)?;
    }
    crate::policies::check(state, &attempt, Some(new))?;
    webhooks::validate(state, &attempt, Some(new))?;
    if (info.resource.group, info.resource.plural) == ("batch", "jobs") && how.subresource.is_empty() {
        let spec = child(new, "spec");
        if spec.get("selector").is_none_or(Value::is_null) {
            spec.insert("selector".into(), old["spec"]["selector"].clone());
        }
    }
    Ok(())
}

fn keep_node_ports(old: &Value, new: &mut Value) {
    let before: BTreeMap<i64, Value> = object::list(old, &["spec", "ports"])
        .iter()
        .filter_map(|port| Some((port["port"].as_i64()?, port.get("nodePort")?.clone())))
        .collect();
    crate::defaults::each(&mut new["spec"], "ports", |port| {
        let number = port["port"].as_i64().unwrap_or_default();
        if port.get("nodePort").is_none()
            && let Some(value) = before.get(&number)
        {
            port["nodePort"] = value.clone();
        }
    });
}

fn terminating_namespace(state: &State, info: &Info, object: &Value) -> Result<(), ApiError> {
    if !info.resource.namespaced {
        return Ok(());
    }
    let namespace = object::namespace(object);
    let Some(found) = state.store.get(&resources::NAMESPACES, "", namespace) else { return Ok(()) };
    if !object::is_deleting(found) || info.resource.plural == "events" {
        return Ok(());
    }
    let name = object::name(object);
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut error = ApiError::forbidden(info, name, &why);
    let mut details = crate::error::details(info, name);
    details["causes"] = json!([{
        "reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    error.details = Some(details);
    Err(error)
}

fn service_account(state: &mut State, info: &Info, pod: &mut Value) -> Result<(), ApiError> {
    if object::at(pod, &["metadata", "annotations", "kubernetes.io/config.mirror"]).is_string() {
        return Ok(());
    }
    let namespace = object::namespace(pod).to_owned();
    let spec = child(pod, "spec");
    default(spec, "serviceAccountName", "default");
    let account = spec["serviceAccountName"].as_str().unwrap_or_default().to_owned();
    spec.insert("serviceAccount".into(), json!(account));
    let Some(found) = state.store.get(&resources::SERVICE_ACCOUNTS, &namespace, &account).cloned() else {
        // Refused before a name is generated: messages show what the client gave.
        let shown = shown_name(pod);
        let why =
            format!("error looking up service account {namespace}/{account}: serviceaccount {account:?} not found");
        return Err(ApiError::forbidden(info, &shown, &why));
    };
    let spec = child(pod, "spec");
    if let Some(secrets) = found.get("imagePullSecrets").filter(|_| !spec.contains_key("imagePullSecrets")) {
        spec.insert("imagePullSecrets".into(), secrets.clone());
    }
    let wanted = spec
        .get("automountServiceAccountToken")
        .or_else(|| found.get("automountServiceAccountToken"))
        .and_then(Value::as_bool)
        .unwrap_or(true);
    if wanted {
        mount_token(state, pod);
    }
    Ok(())
}

/// The name as the client knows it: the prefix, while the name is generated.
fn shown_name(object: &Value) -> String {
    let prefix = object::text(object, &["metadata", "generateName"]);
    if prefix.is_empty() { object::name(object).to_owned() } else { prefix.to_owned() }
}

fn mount_token(state: &mut State, pod: &mut Value) {
    let needs = |container: &Value| {
        !object::list(container, &["volumeMounts"]).iter().any(|mount| mount["mountPath"] == TOKEN_PATH)
    };
    let has_any =
        ["initContainers", "containers"].iter().any(|list| object::list(pod, &["spec", list]).iter().any(needs));
    if !has_any {
        return;
    }
    let volume = format!("kube-api-access-{}", state.random.suffix(5));
    for list in ["initContainers", "containers"] {
        crate::defaults::each(&mut pod["spec"], list, |container| {
            if !needs(container) {
                return;
            }
            let mount = json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH});
            push(container, "volumeMounts", mount);
        });
    }
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]);
    push(&mut pod["spec"], "volumes", json!({"name": volume, "projected": {"sources": sources, "defaultMode": 420}}));
}

fn push(value: &mut Value, key: &str, item: Value) {
    match &mut value[key] {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

fn priority(state: &State, info: &Info, pod: &mut Value) -> Result<(), ApiError> {
    let name = object::name(pod).to_owned();
    let wanted = object::text(pod, &["spec", "priorityClassName"]).to_owned();
    let class = if wanted.is_empty() {
        let classes = state.store.list(&resources::PRIORITY_CLASSES, None);
        classes.into_iter().find(|class| class["globalDefault"] == true)
    } else {
        let found = state.store.get(&resources::PRIORITY_CLASSES, "", &wanted).cloned();
        if found.is_none() {
            let why = format!("no PriorityClass with name {wanted} was found");
            return Err(ApiError::forbidden(info, &name, &why));
        }
        found
    };
    let spec = child(pod, "spec");
    let (value, policy) = match &class {
        Some(class) => (class["value"].clone(), class["preemptionPolicy"].clone()),
        None => (json!(0), json!("PreemptLowerPriority")),
    };
    if let Some(class) = &class {
        spec.insert("priorityClassName".into(), class["metadata"]["name"].clone());
    }
    spec.insert("priority".into(), value);
    default(spec, "preemptionPolicy", policy);
    Ok(())
}

fn tolerations(pod: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covered = object::list(pod, &["spec", "tolerations"]).iter().any(|toleration| {
            let names = toleration["key"].as_str().is_none_or(|k| k.is_empty() || k == key);
            let effect = toleration["effect"].as_str().is_none_or(|e| e.is_empty() || e == "NoExecute");
            names && effect
        });
        if !covered {
            let item = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            push(&mut pod["spec"], "tolerations", item);
        }
    }
}

/// Cluster addresses and node ports of services.
fn addresses(state: &mut State, info: &Info, service: &mut Value) -> Result<(), ApiError> {
    let kind = object::text(service, &["spec", "type"]).to_owned();
    let name = object::name(service).to_owned();
    if kind == "ExternalName" {
        return Ok(());
    }
    let given = object::text(service, &["spec", "clusterIP"]).to_owned();
    let taken: Vec<Arc<Value>> = state.store.list(&resources::SERVICES, None);
    let own = object::uid(service).to_owned();
    let is_taken = |address: &str| taken.iter().any(|s| s["spec"]["clusterIP"] == address && object::uid(s) != own);
    let address = match given.as_str() {
        "" => loop {
            state.addresses = state.addresses.wrapping_add(1);
            let n = state.addresses % 65_000;
            let candidate = format!("10.96.{}.{}", n / 250, n % 250 + 2);
            if !is_taken(&candidate) {
                break candidate;
            }
        },
        "None" => given,
        _ if is_taken(&given) => {
            let why = "failed to allocate IP ".to_owned() + &given + ": provided IP is already allocated";
            let cause = crate::error::Cause::invalid("spec.clusterIPs", &json!([given]), &why);
            return Err(crate::write::invalid(info, &name, cause));
        }
        _ => given,
    };
    let spec = child(service, "spec");
    spec.insert("clusterIP".into(), json!(address));
    default(spec, "clusterIPs", json!([address]));
    default(spec, "ipFamilies", json!(["IPv4"]));
    default(spec, "ipFamilyPolicy", "SingleStack");
    if kind == "NodePort" || kind == "LoadBalancer" {
        let mut used: Vec<i64> = taken
            .iter()
            .flat_map(|s| object::list(s, &["spec", "ports"]).iter().filter_map(|p| p["nodePort"].as_i64()))
            .collect();
        let mut random = || state.random.next();
        crate::defaults::each(&mut service["spec"], "ports", |port| {
            if port["nodePort"].as_i64().unwrap_or(0) == 0 {
                let number = std::iter::repeat_with(|| 30_000 + i64::try_from(random() % 2768).unwrap_or(0))
                    .take(10_000)
                    .find(|number| !used.contains(number))
                    .unwrap_or(30_000);
                used.push(number);
                port["nodePort"] = json!(number);
            }
        });
    }
    Ok(())
}

/// A job finds its pods by its own uid.
fn job_labels(job: &mut Value) {
    if job["spec"]["manualSelector"] == true {
        return;
    }
    let (uid, name) = (object::uid(job).to_owned(), object::name(job).to_owned());
    let labels = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    let template = child(&mut job["spec"], "template");
    let metadata = template.entry("metadata").or_insert_with(|| json!({}));
    for (key, value) in labels {
        child(metadata, "labels").insert(key.into(), json!(value));
    }
    for (key, value) in labels {
        let own = object::metadata(job).entry("labels").or_insert_with(|| json!({}));
        own[key] = json!(value);
    }
    let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    child(job, "spec").insert("selector".into(), selector);
}
