//! Objects in the cluster: reading, changing, waiting. JSON on the outside; text only at the border.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::bindings::harness::failure::types::{ObjectRef, Selection as RawSelection};
use crate::bindings::harness::failure::{read, watch, write};

/// The address of one object, in the namespace of the case unless another is named.
#[derive(Clone, Debug)]
pub struct Target(ObjectRef);

impl Target {
    /// Any object: group and version (`apps/v1`), kind, name.
    pub fn new(api_version: &str, kind: &str, name: &str) -> Self {
        Self(ObjectRef { api_version: api_version.into(), kind: kind.into(), namespace: None, name: name.into() })
    }

    /// A Deployment.
    pub fn deployment(name: &str) -> Self {
        Self::new("apps/v1", "Deployment", name)
    }

    /// A Pod.
    pub fn pod(name: &str) -> Self {
        Self::new("v1", "Pod", name)
    }

    /// A ConfigMap.
    pub fn config_map(name: &str) -> Self {
        Self::new("v1", "ConfigMap", name)
    }

    /// A Service.
    pub fn service(name: &str) -> Self {
        Self::new("v1", "Service", name)
    }

    /// The object of a manifest, or of anything with `apiVersion`, `kind` and a name (in `metadata` or beside them).
    ///
    /// # Errors
    /// When one of these is missing.
    pub fn of(object: &Value) -> Result<Self> {
        let metadata = match &object["metadata"] {
            Value::Object(_) => &object["metadata"],
            _ => object,
        };
        match (object["apiVersion"].as_str(), object["kind"].as_str(), metadata["name"].as_str()) {
            (Some(api_version), Some(kind), Some(name)) => {
                let target = Self::new(api_version, kind, name);
                Ok(match metadata["namespace"].as_str() {
                    Some(namespace) => target.namespace(namespace),
                    None => target,
                })
            }
            _ => Err("an object needs `apiVersion`, `kind` and a name".into()),
        }
    }

    /// The same in another namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.0.namespace = Some(namespace.into());
        self
    }

    /// The address as the beginning of a manifest: what [`of`](Self::of) reads.
    pub fn to_json(&self) -> Value {
        let mut metadata = json!({"name": self.0.name});
        if let Some(namespace) = &self.0.namespace {
            metadata["namespace"] = Value::from(namespace.as_str());
        }
        json!({"apiVersion": self.0.api_version, "kind": self.0.kind, "metadata": metadata})
    }

    /// `Deployment checkout`, for messages.
    pub fn describe(&self) -> String {
        [self.0.kind.as_str(), self.0.name.as_str()].join(" ")
    }

    /// The object as it is now.
    ///
    /// # Errors
    /// `NotFound` when it does not exist; see [`Error`](crate::Error).
    pub fn get(&self) -> Result<Value> {
        object(read::get(&self.0))
    }

    /// Changes it by a strategic merge patch, Kubernetes' own: lists merge by their keys.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub fn patch(&self, patch: &Value) -> Result<Value> {
        self.patch_as(write::PatchType::Strategic, patch)
    }

    /// Changes it by a JSON merge patch (RFC 7396): lists are replaced whole, null removes.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub fn merge(&self, patch: &Value) -> Result<Value> {
        self.patch_as(write::PatchType::Merge, patch)
    }

    /// Changes it by a JSON patch (RFC 6902): a list of operations.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub fn json_patch(&self, operations: &Value) -> Result<Value> {
        self.patch_as(write::PatchType::Json, operations)
    }

    fn patch_as(&self, how: write::PatchType, patch: &Value) -> Result<Value> {
        object(write::patch(&self.0, how, &patch.to_string()))
    }

    /// Deletes it; that it was not there is no error.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub fn delete(&self) -> Result<()> {
        match write::delete(&self.0).map_err(crate::Error::from) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Waits until it exists and the CEL condition over `object` holds; answers with the object.
    ///
    /// # Errors
    /// `DeadlineExceeded` when it did not come to hold in time; see [`Error`](crate::Error).
    pub fn wait_for(&self, condition: &str, time_out: Duration) -> Result<Value> {
        object(watch::wait_for(&self.0, condition, milliseconds(time_out)))
    }

    /// Waits until it is another than `seen`, an answer of this API.
    ///
    /// # Errors
    /// `DeadlineExceeded` when nothing changed, `NotFound` when it was deleted; see [`Error`](crate::Error).
    pub fn wait_changed(&self, seen: &Value, time_out: Duration) -> Result<Value> {
        let version = seen["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        object(watch::wait_changed(&self.0, version, milliseconds(time_out)))
    }

    /// Waits until it does not exist.
    ///
    /// # Errors
    /// `DeadlineExceeded` when it is still there; see [`Error`](crate::Error).
    pub fn wait_gone(&self, time_out: Duration) -> Result<()> {
        Ok(watch::wait_gone(&self.0, milliseconds(time_out))?)
    }
}

/// Objects of one kind, in the namespace of the case unless another is named.
#[derive(Clone, Debug)]
pub struct Selection(RawSelection);

impl Selection {
    /// All objects of this kind.
    pub fn new(api_version: &str, kind: &str) -> Self {
        Self(RawSelection {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: None,
            label_selector: None,
            field_selector: None,
        })
    }

    /// Only those with these labels, as kubectl takes them: `app=checkout,tier!=cache`.
    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        self.0.label_selector = Some(selector.into());
        self
    }

    /// Only those with these fields, as kubectl takes them: `status.phase=Running`.
    #[must_use]
    pub fn fields(mut self, selector: &str) -> Self {
        self.0.field_selector = Some(selector.into());
        self
    }

    /// In another namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.0.namespace = Some(namespace.into());
        self
    }

    /// The objects as they are now.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub fn list(&self) -> Result<Vec<Value>> {
        read::list(&self.0)?.iter().map(|text| Ok(serde_json::from_str(text)?)).collect()
    }
}

/// Creates an object, in the namespace of the case unless it names another.
///
/// # Errors
/// `Conflict` when it exists already; see [`Error`](crate::Error).
pub fn create(manifest: &Value) -> Result<Value> {
    object(write::create(&manifest.to_string()))
}

/// Server-side apply: creates the object or brings the fields named in it to these values.
///
/// # Errors
/// See [`Error`](crate::Error).
pub fn apply(manifest: &Value) -> Result<Value> {
    object(write::apply(&manifest.to_string()))
}

fn object(answer: std::result::Result<String, crate::bindings::Error>) -> Result<Value> {
    Ok(serde_json::from_str(&answer?)?)
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
