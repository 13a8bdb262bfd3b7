//! What a controller of the embedded cluster sees of it: objects, time, timers, events, logs.
//!
//! Controllers, scheduler and node are plain synchronous state machines. They are called with the cluster locked, do
//! their work through [`World`] and return; they never block, sleep or spawn. Whoever drives them (the API server
//! crate) delivers every change and every due timer in one order, so a cluster is deterministic given its requests.

use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

/// One resource that the API server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// Empty for the core group.
    pub group: &'static str,
    /// The stored version.
    pub version: &'static str,
    /// `pods`.
    pub plural: &'static str,
    /// `Pod`.
    pub kind: &'static str,
    /// False for cluster-scoped resources.
    pub namespaced: bool,
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// The resources that controllers speak of.
pub mod resources {
    use super::Resource;

    macro_rules! resources {
        ($($name:ident = $group:literal / $version:literal $plural:literal $kind:literal $namespaced:literal;)+) => {
            $(#[doc = $kind] pub const $name: Resource = Resource {
                group: $group, version: $version, plural: $plural, kind: $kind, namespaced: $namespaced,
            };)+
        };
    }

    resources! {
        NAMESPACES = ""/"v1" "namespaces" "Namespace" false;
        NODES = ""/"v1" "nodes" "Node" false;
        PODS = ""/"v1" "pods" "Pod" true;
        SERVICES = ""/"v1" "services" "Service" true;
        ENDPOINTS = ""/"v1" "endpoints" "Endpoints" true;
        CONFIG_MAPS = ""/"v1" "configmaps" "ConfigMap" true;
        SECRETS = ""/"v1" "secrets" "Secret" true;
        SERVICE_ACCOUNTS = ""/"v1" "serviceaccounts" "ServiceAccount" true;
        EVENTS = ""/"v1" "events" "Event" true;
        PERSISTENT_VOLUMES = ""/"v1" "persistentvolumes" "PersistentVolume" false;
        PERSISTENT_VOLUME_CLAIMS = ""/"v1" "persistentvolumeclaims" "PersistentVolumeClaim" true;
        RESOURCE_QUOTAS = ""/"v1" "resourcequotas" "ResourceQuota" true;
        LIMIT_RANGES = ""/"v1" "limitranges" "LimitRange" true;
        DEPLOYMENTS = "apps"/"v1" "deployments" "Deployment" true;
        REPLICA_SETS = "apps"/"v1" "replicasets" "ReplicaSet" true;
        STATEFUL_SETS = "apps"/"v1" "statefulsets" "StatefulSet" true;
        DAEMON_SETS = "apps"/"v1" "daemonsets" "DaemonSet" true;
        JOBS = "batch"/"v1" "jobs" "Job" true;
        CRON_JOBS = "batch"/"v1" "cronjobs" "CronJob" true;
        ENDPOINT_SLICES = "discovery.k8s.io"/"v1" "endpointslices" "EndpointSlice" true;
        HORIZONTAL_POD_AUTOSCALERS = "autoscaling"/"v2" "horizontalpodautoscalers" "HorizontalPodAutoscaler" true;
        LEASES = "coordination.k8s.io"/"v1" "leases" "Lease" true;
        POD_DISRUPTION_BUDGETS = "policy"/"v1" "poddisruptionbudgets" "PodDisruptionBudget" true;
        STORAGE_CLASSES = "storage.k8s.io"/"v1" "storageclasses" "StorageClass" false;
        PRIORITY_CLASSES = "scheduling.k8s.io"/"v1" "priorityclasses" "PriorityClass" false;
    }
}

/// Why the API server did not do what a controller asked: the `Status` that a client would have got.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code} {reason}: {message}")]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// `NotFound`, `Conflict`, `Forbidden`, `Invalid`…
    pub reason: String,
    /// As the API server words it.
    pub message: String,
}

/// Reason of a [`Refusal`] that is none yet: someone outside is being asked, and the same write must be tried again soon.
pub const PENDING: &str = "WebhookPending";

impl Refusal {
    /// True when the same write must be tried again soon.
    pub fn is_pending(&self) -> bool {
        self.reason == PENDING
    }
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// None: the object's own default. Zero removes a pod at once.
    pub grace_seconds: Option<i64>,
    /// `Background`, `Foreground` or `Orphan`; none: the resource's default.
    pub propagation: Option<&'static str>,
    /// Refused with a conflict when the object has another uid.
    pub uid: Option<String>,
}

/// What happened to an object.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is new.
    Added(Resource, Arc<Value>),
    /// It differs: old, new.
    Modified(Resource, Arc<Value>, Arc<Value>),
    /// It is gone; this was its last state.
    Deleted(Resource, Arc<Value>),
}

/// Something to tell in a Kubernetes Event. Equal ones are counted up as the client library's correlator does.
#[derive(Clone, Debug)]
pub struct Occurrence<'a> {
    /// What it is about: a whole object with apiVersion, kind and metadata.
    pub regarding: &'a Value,
    /// `spec.containers{app}`, for container events.
    pub field_path: Option<String>,
    /// `true` for `Warning`.
    pub warning: bool,
    /// `BackOff`.
    pub reason: &'a str,
    /// As the real component words it.
    pub message: String,
    /// `kubelet`, `default-scheduler`, `deployment-controller`…
    pub component: &'a str,
    /// The node name, for kubelet events.
    pub host: Option<&'a str>,
}

/// One run of one container: logs belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerRun {
    /// `metadata.uid` of the pod.
    pub pod_uid: String,
    /// Name of the container.
    pub container: String,
    /// 0 for the first start.
    pub restart: u32,
}

/// A command that somebody runs in a container from outside, as `kubectl exec` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// Chosen by the API server.
    pub id: u64,
    /// `metadata.uid` of the pod.
    pub pod_uid: String,
    /// Name of the container.
    pub container: String,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// All that it can read from standard input.
    pub input: Vec<u8>,
}

/// The cluster as a controller sees it. Objects are whole Kubernetes objects with apiVersion and kind.
///
/// Writes pass the same defaulting, validation and admission as those of a client, and are seen by every watcher.
pub trait World {
    /// Cluster time.
    fn now(&self) -> Timestamp;

    /// The object, if there is one.
    fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Value>>;

    /// All objects of a namespace (or of all), by namespace and name.
    fn list(&self, resource: &Resource, namespace: Option<&str>) -> Vec<Arc<Value>>;

    /// Every resource whose objects are stored, those of custom resource definitions among them.
    fn resources(&self) -> Vec<Resource>;

    /// Creates it; `metadata.generateName` is honoured. `manager` is the field manager that is recorded.
    ///
    /// # Errors
    /// What a client would get: 409 AlreadyExists, 403 (quota, admission, terminating namespace), 422.
    fn create(&mut self, resource: &Resource, object: Value, manager: &str) -> Result<Arc<Value>, Refusal>;

    /// Replaces spec and metadata. `metadata.resourceVersion`, where present, must match. Nothing is written, and no
    /// event sent, when nothing differs.
    ///
    /// # Errors
    /// 404, 409 Conflict, 422.
    fn update(&mut self, resource: &Resource, object: Value, manager: &str) -> Result<Arc<Value>, Refusal>;

    /// Replaces the status alone, as the `status` subresource does.
    ///
    /// # Errors
    /// 404, 409 Conflict, 422.
    fn update_status(&mut self, resource: &Resource, object: Value, manager: &str) -> Result<Arc<Value>, Refusal>;

    /// Deletes it as a client's DELETE would.
    ///
    /// # Errors
    /// 404, 409 (uid).
    fn delete(&mut self, resource: &Resource, namespace: &str, name: &str, how: Deletion) -> Result<(), Refusal>;

    /// Binds a pod to a node, as the `binding` subresource does: sets `spec.nodeName` and the PodScheduled condition.
    ///
    /// # Errors
    /// 404, 409 when it is bound already.
    fn bind(&mut self, namespace: &str, pod: &str, node: &str) -> Result<Arc<Value>, Refusal>;

    /// A token for a service account; none when there is no such account.
    fn account_token(&self, namespace: &str, account: &str) -> Option<String>;

    /// What a GET of the API answers who comes with this Authorization header: status and body.
    fn request(&self, authorization: &str, path: &str) -> (u16, String);

    /// Records an Event.
    fn event(&mut self, occurrence: Occurrence<'_>);

    /// Calls [`Controller::wake`] of the controller of this name with `key` at this time. A later call with the same
    /// key moves it; times in the past mean as soon as possible.
    fn wake_at(&mut self, controller: &'static str, key: String, at: Timestamp);

    /// Forgets the timer.
    fn cancel_wake(&mut self, controller: &'static str, key: &str);

    /// Adds a line (without its line end) to a container's log.
    fn log(&mut self, run: &ContainerRun, stderr: bool, line: &str);

    /// The log is gone, as after the runtime has removed the container.
    fn drop_log(&mut self, run: &ContainerRun);

    /// An [`Exec`] has written something.
    fn exec_output(&mut self, id: u64, stderr: bool, data: &[u8]);

    /// An [`Exec`] has ended with this exit code.
    fn exec_ended(&mut self, id: u64, code: i32);

    /// A random number from the cluster's seed.
    fn random(&mut self) -> u64;

    /// A suffix for generated names: `n` of `bcdfghjklmnpqrstvwxz2456789`, the alphabet of Kubernetes.
    fn suffix(&mut self, n: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..n).map(|_| char::from(ALPHABET[(self.random() % ALPHABET.len() as u64) as usize])).collect()
    }
}

/// A controller, the scheduler or a node.
pub trait Controller: Debug + Send {
    /// Its name; timers are keyed by it.
    fn name(&self) -> &'static str;

    /// Called once, before anything else, in an empty cluster that has its namespaces: create what this part provides.
    fn start(&mut self, world: &mut dyn World) {
        let _ = world;
    }

    /// Called for every change, those made by itself included, in order.
    fn observe(&mut self, world: &mut dyn World, change: &Change);

    /// Called when a timer is due.
    fn wake(&mut self, world: &mut dyn World, key: &str);

    /// Begins a command in a container of its own; none when the pod is none of its own. What becomes of it is told with
    /// [`World::exec_output`] and [`World::exec_ended`]. The error is why it can't begin, as the kubelet words it.
    fn exec(&mut self, world: &mut dyn World, exec: &Exec) -> Option<Result<(), String>> {
        let _ = (world, exec);
        None
    }

    /// Ends a command that it has begun; nothing more is told of it.
    fn cancel_exec(&mut self, world: &mut dyn World, exec: &Exec) {
        let _ = (world, exec);
    }
}
