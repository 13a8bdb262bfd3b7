//! Reads the cluster through the kubeconfig that the agent was given, as plain JSON. What may not be read, or is not
//! served, is left out: an agent must make do with the access that it has.

use http::Request;
use jiff::Timestamp;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::snapshot::{ObjectName, Snapshot, text};
use crate::{Environment, TriageError, say};

/// One page of a list.
const PAGE: u32 = 500;
/// More objects than this of one kind are not looked at.
const MOST: usize = 20_000;
/// What of a log is of interest.
const LOG_LINES: u32 = 20;

/// Kinds of the namespace that are read, and where they live.
const KINDS: &[(&str, &str, &str)] = &[
    ("Pod", "api/v1", "pods"),
    ("Event", "api/v1", "events"),
    ("Deployment", "apis/apps/v1", "deployments"),
    ("ReplicaSet", "apis/apps/v1", "replicasets"),
    ("StatefulSet", "apis/apps/v1", "statefulsets"),
    ("DaemonSet", "apis/apps/v1", "daemonsets"),
    ("Job", "apis/batch/v1", "jobs"),
    ("CronJob", "apis/batch/v1", "cronjobs"),
    ("Service", "api/v1", "services"),
    ("PersistentVolumeClaim", "api/v1", "persistentvolumeclaims"),
    ("ResourceQuota", "api/v1", "resourcequotas"),
    ("LimitRange", "api/v1", "limitranges"),
    ("HorizontalPodAutoscaler", "apis/autoscaling/v2", "horizontalpodautoscalers"),
];

/// A way to the cluster.
pub(crate) struct Reader {
    client: Client,
    namespace: String,
}

impl Reader {
    pub(crate) async fn new(environment: &Environment, namespace: &str) -> Result<Self, TriageError> {
        let file = Kubeconfig::read_from(&environment.kubeconfig).map_err(TriageError::kubeconfig)?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.map_err(TriageError::kubeconfig)?);
        let client = client.map_err(|error| TriageError::Kubeconfig(error.to_string()))?;
        Ok(Self { client, namespace: namespace.to_owned() })
    }

    /// Everything that the rules look at, read once.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, TriageError> {
        let mut snapshot = Snapshot::new(&self.namespace, Timestamp::now());
        for (kind, api, plural) in KINDS {
            let path = format!("/{api}/namespaces/{}/{plural}", self.namespace);
            match self.list(&path).await {
                Ok(items) => insert(&mut snapshot, kind, items),
                Err(error) if *kind != "Pod" && is_refusal(&error) => say(&format!("{plural}: {}", short(&error))),
                Err(error) => {
                    return Err(TriageError::Request { what: format!("reading {plural}"), source: error.into() });
                }
            }
        }
        // Nodes are a favour, not a right.
        if let Ok(items) = self.list("/api/v1/nodes").await {
            insert(&mut snapshot, "Node", items);
        }
        Ok(snapshot)
    }

    async fn list(&self, path: &str) -> Result<Vec<Value>, kube::Error> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let mut query = form(&[("limit", &PAGE.to_string())]);
            if !next.is_empty() {
                query = form(&[("limit", &PAGE.to_string()), ("continue", &next)]);
            }
            let mut page: Value =
                self.client.request(request("GET", &format!("{path}?{query}"), &[], Vec::new())?).await?;
            if let Some(list) = page["items"].as_array_mut() {
                items.append(list);
            }
            next = text(&page, "/metadata/continue").to_owned();
            if next.is_empty() || items.len() >= MOST {
                return Ok(items);
            }
        }
    }

    /// The last lines of a pod's container, of the run before where there is one.
    pub(crate) async fn log(&self, pod: &str, container: &str) -> Option<String> {
        for previous in ["true", "false"] {
            let query =
                form(&[("container", container), ("previous", previous), ("tailLines", &LOG_LINES.to_string())]);
            let path = format!("/api/v1/namespaces/{}/pods/{pod}/log?{query}", self.namespace);
            let request = request("GET", &path, &[], Vec::new()).ok()?;
            match self.client.request_text(request).await {
                // The kubelet says so, with status 200, when the container has been removed already.
                Ok(log) if log.starts_with("unable to retrieve container logs") || log.trim().is_empty() => {}
                Ok(log) => return Some(log),
                Err(_) => {}
            }
        }
        None
    }

    /// One Deployment as it is now.
    pub(crate) async fn deployment(&self, name: &str) -> Result<Value, kube::Error> {
        self.client.request(request("GET", &self.deployment_path(name), &[], Vec::new())?).await
    }

    /// Replaces the pod template of a Deployment, as `kubectl rollout undo` does.
    pub(crate) async fn replace_template(&self, deployment: &ObjectName, template: &Value) -> Result<(), kube::Error> {
        let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
        let headers = [("content-type", "application/json-patch+json")];
        let body = patch.to_string().into_bytes();
        let request = request("PATCH", &self.deployment_path(&deployment.name), &headers, body)?;
        self.client.request::<Value>(request).await.map(drop)
    }

    fn deployment_path(&self, name: &str) -> String {
        format!("/apis/apps/v1/namespaces/{}/deployments/{name}", self.namespace)
    }
}

fn insert(snapshot: &mut Snapshot, kind: &str, items: Vec<Value>) {
    for mut item in items {
        // Items of a list do not say their kind.
        item["kind"] = Value::from(kind);
        snapshot.insert(item);
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Request<Vec<u8>>, kube::Error> {
    let mut builder = Request::builder().method(method).uri(path).header("accept", "application/json");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).map_err(kube::Error::HttpError)
}

/// A query string; continue tokens need escapes.
fn form(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        text.bytes().fold(String::new(), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
            out
        })
    };
    pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404 | 405 | 406))
}

fn short(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
