//! The limits of a cluster's entry, as objects that hold them: the cluster itself refuses what would exceed them.

use serde_json::{Value, json};

use crate::Policy;
use crate::grants::ClusterGrant;

/// The name of the objects that hold the limits.
const NAME: &str = "namespace-limits";
/// A container that asks for nothing gets this part of the whole as its limit, so that a namespace holds several.
const SHARE: i128 = 8;

impl ClusterGrant {
    /// What the host makes in the namespace of a case, before anything else in it: a ResourceQuota, and a LimitRange
    /// where computing is limited, because a quota refuses pods that say nothing. Empty without limits. Parties whose
    /// policy was made by [`Policy::within_limits`] can't change them.
    pub fn limit_objects(&self, case_namespace: &str) -> Vec<Value> {
        if self.limits.is_empty() {
            return Vec::new();
        }
        let mut hard = json!({});
        let (mut limit, mut request) = (json!({}), json!({}));
        for (key, amount) in &self.limits {
            if key == "pods" {
                hard["pods"] = json!(amount);
                continue;
            }
            hard[format!("requests.{key}")] = json!(amount);
            hard[format!("limits.{key}")] = json!(amount);
            if let Some(whole) = wire::quantity::Quantity::parse(amount) {
                let part = |by| wire::quantity::Quantity::from_nanos(rounded(whole.nanos() / by, key), &whole);
                limit[key] = json!(part(SHARE).canonical());
                request[key] = json!(part(SHARE * SHARE).canonical());
            }
        }
        let metadata = json!({"name": NAME, "namespace": case_namespace});
        let mut objects = vec![json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard},
        })];
        if limit != json!({}) {
            let limits = json!([{"type": "Container", "default": limit, "defaultRequest": request}]);
            objects.push(json!({
                "apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": limits},
            }));
        }
        objects
    }
}

/// Whole bytes of memory, whole thousandths of a processor.
fn rounded(nanos: i128, key: &str) -> i128 {
    let unit = if key == "cpu" { 1_000_000 } else { 1_000_000_000 };
    (nanos / unit).max(1) * unit
}

impl Policy {
    /// The same policy, but for the objects of [`ClusterGrant::limit_objects`]: these may be looked at only.
    #[must_use]
    pub fn within_limits(self) -> Self {
        let reserved = |resource: &str| ("".to_owned(), resource.to_owned(), NAME.to_owned());
        self.with_reserved([reserved("resourcequotas"), reserved("limitranges")].into())
    }
}
