//! What runs have left in a cluster, found by their label, and its removal once nobody who is alive can own it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, WallClock};
use gate::{LABEL, ObjectKey};
use jiff::Timestamp;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::core::discovery::ApiResource;
use kube::core::gvk::GroupVersionKind;
use serde::{Deserialize, Serialize};

use crate::lease::{Leases, NAMESPACE, RENEW, lease_of};
use crate::{LeaseError, LeaseState, RunLease};

/// How long a Lease that seems to have expired is looked at before it is believed: clocks of machines differ, and one
/// that is renewed meanwhile is held.
const OBSERVE: Duration = Duration::from_secs(RENEW.as_secs() + 5);
/// Until everything must be gone, finalizers included.
const GONE: Duration = Duration::from_secs(180);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Objects of one page of a list.
const PAGE: u32 = 500;

/// What one run has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The name of the run's Lease, which the labels of its objects begin with.
    pub label: String,
    /// What that Lease says. One that is held is no orphan's: its run is alive.
    pub lease: LeaseState,
    /// Everything that carries the label but the Lease itself; namespaces count as one object.
    pub objects: Vec<ObjectKey>,
}

/// What was done about an orphan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Gone now.
    pub removed: Vec<ObjectKey>,
    /// Still there, with the reason.
    pub left: Vec<(ObjectKey, String)>,
}

/// Why orphans could not be listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum OrphanError {
    /// The run is alive, or its Lease could not be read.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The cluster refused or broke.
    #[error("what carries the label {LABEL} could not be listed: {0}")]
    List(Box<kube::Error>),
}

impl From<kube::Error> for OrphanError {
    fn from(error: kube::Error) -> Self {
        Self::List(Box::new(error))
    }
}

/// Everything that carries the label of a run, by run.
///
/// # Errors
/// The cluster cannot be read. A kind that cannot be listed, for its API is not there, is left out.
pub async fn orphans(client: &kube::Client) -> Result<Vec<Orphan>, OrphanError> {
    Reaper::new(client.clone(), Arc::new(WallClock)).list().await
}

/// Removes what a run has left: its objects, then its namespaces, then waits until they are gone. Takes the run's Lease
/// first, so it may take 20 s longer than the removal, and is done by one at a time.
///
/// # Errors
/// [`LeaseError::Held`]: the run is alive, and nothing was touched.
pub async fn remove_orphans(client: &kube::Client, label: &str) -> Result<Removed, OrphanError> {
    Reaper::new(client.clone(), Arc::new(WallClock)).remove(label).await
}

struct Reaper {
    client: kube::Client,
    leases: Leases,
}

/// An object with what is needed to delete it and no other.
struct Found {
    key: ObjectKey,
    resource: ApiResource,
    uid: Option<String>,
    label: String,
}

impl Reaper {
    fn new(client: kube::Client, clock: Arc<dyn Clock>) -> Self {
        Self { leases: Leases::new(client.clone(), clock), client }
    }

    async fn list(&self) -> Result<Vec<Orphan>, OrphanError> {
        let mut by_label: BTreeMap<String, Vec<ObjectKey>> = BTreeMap::new();
        for found in self.find(LABEL).await? {
            let objects = by_label.entry(lease_of(&found.label).to_owned()).or_default();
            if !found.is_lease() {
                objects.push(found.key);
            }
        }
        let mut orphans = Vec::new();
        for (label, mut objects) in by_label {
            objects.sort();
            orphans.push(Orphan { lease: self.leases.state(&label).await?, label, objects });
        }
        Ok(orphans)
    }

    async fn remove(&self, label: &str) -> Result<Removed, OrphanError> {
        self.believe(label).await?;
        let lease = RunLease::hold_by(self.leases.clone(), label, "clean-up").await?;
        let removed = self.remove_held(label).await;
        lease.release().await?;
        removed
    }

    /// A Lease that has expired by our clock is believed when nobody renews it while we look.
    async fn believe(&self, label: &str) -> Result<(), LeaseError> {
        let Some(lease) = self.leases.get(label).await? else { return Ok(()) };
        if let LeaseState::Expired = self.leases.state_of(&lease) {
            self.pause(OBSERVE).await;
            let Some(now) = self.leases.get(label).await? else { return Ok(()) };
            if now.metadata.resource_version == lease.metadata.resource_version {
                return Ok(());
            }
        }
        let spec = lease.spec.unwrap_or_default();
        let until = self.leases.clock.now().checked_add(RENEW).unwrap_or(Timestamp::MAX);
        Err(LeaseError::Held { name: label.to_owned(), holder: spec.holder_identity.unwrap_or_default(), until })
    }

    async fn remove_held(&self, label: &str) -> Result<Removed, OrphanError> {
        let found = self.of_run(label).await?;
        let (namespaces, objects): (Vec<_>, Vec<_>) = found.into_iter().partition(Found::is_namespace);
        let mut refused: BTreeMap<ObjectKey, String> = BTreeMap::new();
        for found in objects.iter().chain(&namespaces) {
            // What lies in a namespace that goes is removed with it.
            if namespaces.iter().any(|namespace| namespace.key.name == found.key.namespace) {
                continue;
            }
            if let Err(error) = self.delete(found).await {
                refused.insert(found.key.clone(), error.to_string());
            }
        }
        let asked: Vec<ObjectKey> = objects.into_iter().chain(namespaces).map(|found| found.key).collect();
        let left = self.until_gone(label, &refused).await?;
        let removed = asked.into_iter().filter(|key| !left.contains(key)).collect();
        let why = |key: &ObjectKey| {
            refused.get(key).cloned().unwrap_or_else(|| format!("still there after {} s", GONE.as_secs()))
        };
        Ok(Removed { removed, left: left.into_iter().map(|key| (key.clone(), why(&key))).collect() })
    }

    /// What is left when nothing goes any more.
    async fn until_gone(
        &self,
        label: &str,
        refused: &BTreeMap<ObjectKey, String>,
    ) -> Result<Vec<ObjectKey>, OrphanError> {
        let deadline = self.leases.clock.now().checked_add(GONE).unwrap_or(Timestamp::MAX);
        loop {
            let left: Vec<ObjectKey> = self.of_run(label).await?.into_iter().map(|one| one.key).collect();
            if left.iter().all(|key| refused.contains_key(key)) || self.leases.clock.now() >= deadline {
                return Ok(left);
            }
            self.pause(LOOK).await;
        }
    }

    async fn pause(&self, time: Duration) {
        let clock = &self.leases.clock;
        clock.sleep_until(clock.now().checked_add(time).unwrap_or(Timestamp::MAX)).await;
    }

    async fn delete(&self, found: &Found) -> kube::Result<()> {
        let api: Api<DynamicObject> = match found.key.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &found.resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &found.resource),
        };
        // Another object of the same name is none of ours.
        let preconditions = Some(Preconditions { uid: found.uid.clone(), resource_version: None });
        let how = DeleteParams { preconditions, ..DeleteParams::background() };
        match api.delete(&found.key.name, &how).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            done => done.map(drop),
        }
    }

    /// What carries the label of a run or of one of its cases, but for its Lease.
    async fn of_run(&self, label: &str) -> Result<Vec<Found>, OrphanError> {
        let mut found = self.find(LABEL).await?;
        found.retain(|one| lease_of(&one.label) == label && !one.is_lease());
        Ok(found)
    }

    async fn find(&self, selector: &str) -> Result<Vec<Found>, OrphanError> {
        let mut found = Vec::new();
        for resource in self.kinds().await? {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            let mut page = ListParams::default().labels(selector).limit(PAGE);
            loop {
                let list = match api.list_metadata(&page).await {
                    Ok(list) => list,
                    // Listed in discovery, and not to be listed in fact.
                    Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 405 | 503) => break,
                    Err(error) => return Err(error.into()),
                };
                for object in list.items {
                    let labels = object.metadata.labels.unwrap_or_default();
                    let key = ObjectKey {
                        group: resource.group.clone(),
                        version: resource.version.clone(),
                        resource: resource.plural.clone(),
                        namespace: object.metadata.namespace.unwrap_or_default(),
                        name: object.metadata.name.unwrap_or_default(),
                    };
                    let label = labels.get(LABEL).cloned().unwrap_or_default();
                    found.push(Found { key, resource: resource.clone(), uid: object.metadata.uid, label });
                }
                match list.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => page = page.continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(found)
    }

    /// Every kind that can be listed and deleted, once, in its preferred version.
    async fn kinds(&self) -> Result<Vec<ApiResource>, OrphanError> {
        let mut lists = vec![self.client.list_core_api_resources("v1").await?];
        for group in self.client.list_api_groups().await?.groups {
            let preferred = group.preferred_version.as_ref().or(group.versions.first());
            let Some(version) = preferred.map(|version| version.group_version.clone()) else { continue };
            match self.client.list_api_group_resources(&version).await {
                Ok(list) => lists.push(list),
                // An aggregated API whose server is down hides no other.
                Err(error) => tracing::warn!(%error, version, "an API could not be listed"),
            }
        }
        let mut kinds = Vec::new();
        for list in lists {
            let (group, version) = list.group_version.split_once('/').unwrap_or(("", &list.group_version));
            for resource in &list.resources {
                let can = |verb: &str| resource.verbs.iter().any(|one| one == verb);
                // Events have a second home, and go by themselves.
                let event = resource.name == "events";
                if !resource.name.contains('/') && can("list") && can("delete") && !event {
                    let kind = GroupVersionKind::gvk(group, version, &resource.kind);
                    kinds.push(ApiResource::from_gvk_with_plural(&kind, &resource.name));
                }
            }
        }
        Ok(kinds)
    }
}

impl Found {
    fn is_namespace(&self) -> bool {
        self.key.group.is_empty() && self.key.resource == "namespaces"
    }

    /// The Lease that says whether the run is alive.
    fn is_lease(&self) -> bool {
        self.key.resource == "leases" && self.key.namespace == NAMESPACE && self.key.name == lease_of(&self.label)
    }
}

#[cfg(test)]
mod tests;
