//! Objects by apiVersion and kind, through a client of the gate: which path a kind lives at is asked of the cluster.

use std::collections::HashMap;
use std::sync::Mutex;

use kube::api::{Api, DynamicObject, PostParams};
use kube::core::DynamicResourceScope;
use kube::core::discovery::{ApiResource, Scope};
use kube::core::gvk::{GroupVersion, GroupVersionKind};
use kube::discovery::pinned_kind;
use kube::{Client, Resource, ResourceExt};
use serde_json::Value;

/// An object could not be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    /// Not `v1` or `group/version`.
    #[error("`{0}` is not an apiVersion")]
    ApiVersion(String),
    /// The cluster has no such kind.
    #[error("the cluster has no {kind} in {api_version}: {}", said(source))]
    Kind { api_version: String, kind: String, source: Box<kube::Error> },
    /// A manifest without what every object has.
    #[error("a manifest is not a Kubernetes object: {0}")]
    Manifest(String),
    /// The cluster refused or broke.
    #[error("{what}: {}", said(source))]
    Request { what: String, source: Box<kube::Error> },
}

/// What went wrong, in the API server's own words where there are any.
pub(crate) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => format!("{} ({})", status.message, status.code),
        other => other.to_string(),
    }
}

/// Finds and makes objects. Kinds are asked for once.
pub(crate) struct Objects {
    client: Client,
    kinds: Mutex<HashMap<(String, String), (ApiResource, Scope)>>,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

impl Objects {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, kinds: Mutex::new(HashMap::new()) }
    }

    /// Where objects of this kind live. `namespace` counts for namespaced kinds only; none means all namespaces.
    pub(crate) async fn api(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Api<DynamicObject>, ObjectError> {
        self.api_of(api_version, kind, namespace).await
    }

    /// The same, for objects that are read in another way.
    pub(crate) async fn api_of<K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>>(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Api<K>, ObjectError> {
        let (resource, scope) = self.kind(api_version, kind).await?;
        Ok(match (scope, namespace) {
            (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            _ => Api::all_with(self.client.clone(), &resource),
        })
    }

    async fn kind(&self, api_version: &str, kind: &str) -> Result<(ApiResource, Scope), ObjectError> {
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let version: GroupVersion = api_version.parse().map_err(|_| ObjectError::ApiVersion(api_version.to_owned()))?;
        let gvk = GroupVersionKind::gvk(&version.group, &version.version, kind);
        let (resource, capabilities) = pinned_kind(&self.client, &gvk).await.map_err(|source| ObjectError::Kind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            source: Box::new(source),
        })?;
        let found = (resource, capabilities.scope);
        self.kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }

    /// Creates the object of a manifest; one without a namespace goes to `namespace`.
    pub(crate) async fn create(&self, manifest: &Value, namespace: &str) -> Result<(), ObjectError> {
        let object: DynamicObject =
            serde_json::from_value(manifest.clone()).map_err(|error| ObjectError::Manifest(error.to_string()))?;
        let types = object.types.clone().ok_or_else(|| ObjectError::Manifest("no apiVersion and kind".into()))?;
        let namespace = object.namespace().unwrap_or_else(|| namespace.to_owned());
        let api = self.api(&types.api_version, &types.kind, Some(&namespace)).await?;
        api.create(&PostParams::default(), &object).await.map_err(|source| ObjectError::Request {
            what: format!("creating {} {}", types.kind, object.name_any()),
            source: Box::new(source),
        })?;
        Ok(())
    }
}
