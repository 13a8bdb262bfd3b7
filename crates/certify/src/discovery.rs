//! Which kinds a cluster can list: by aggregated discovery where the server has it, group by group where not.

use futures::stream::{StreamExt as _, TryStreamExt as _};
use kube::Client;
use serde_json::Value;

use crate::baseline::{Kind, Unreachable};
use crate::fetch::{self, Failure};
use crate::rules::Rules;
use crate::snapshot::AT_ONCE;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
const PLAIN: &str = "application/json";

/// Kinds that can be listed, each in one version: the one that its group prefers among those that have it.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) unreachable: Vec<Unreachable>,
}

impl Discovered {
    /// Notes a kind, unless an earlier version of it, or a rule, is in the way.
    fn add(&mut self, kind: Kind, verbs: &Value, rules: &Rules) {
        let listed = verbs.as_array().is_some_and(|verbs| verbs.iter().any(|verb| verb == "list"));
        let subresource = kind.resource.contains('/');
        if listed
            && !subresource
            && !rules.ignores(&kind.group, &kind.resource)
            && !self.kinds.iter().any(|known| known.id() == kind.id())
        {
            self.kinds.push(kind);
        }
    }

    fn lost(&mut self, group: &str, version: &str, why: impl ToString) {
        self.unreachable.push(Unreachable { kind: format!("{group}/{version}"), why: why.to_string() });
    }
}

/// Asks for every kind.
pub(crate) async fn discover(client: &Client, rules: &Rules) -> Result<Discovered, Failure> {
    let mut found = Discovered::default();
    let (core, groups): (Value, Value) =
        futures::future::try_join(fetch::get(client, "/api", AGGREGATED), fetch::get(client, "/apis", AGGREGATED))
            .await?;
    let mut plain = Vec::new();
    for document in [&core, &groups] {
        if document["kind"] == "APIGroupDiscoveryList" {
            aggregated(document, &mut found, rules);
        } else {
            plain.extend(versions(document));
        }
    }
    let plain: Vec<_> = futures::stream::iter(plain)
        .map(|(group, version)| async move {
            let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
            let answer = fetch::get::<Value>(client, &format!("{root}/{version}"), PLAIN).await;
            Ok::<_, Failure>((group, version, answer))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    for (group, version, answer) in plain {
        match answer {
            Ok(document) => resources(&group, &version, &document, &mut found, rules),
            Err(failure) => found.lost(&group, &version, failure),
        }
    }
    Ok(found)
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn aggregated(document: &Value, found: &mut Discovered, rules: &Rules) {
    for group in items(document, "items") {
        let name = text(&group["metadata"]["name"]);
        for version in items(group, "versions") {
            let number = text(&version["version"]);
            if version["freshness"] == "Stale" {
                found.lost(&name, &number, "the API server cannot reach the server of this group");
            }
            for resource in items(version, "resources") {
                let kind = Kind {
                    group: name.clone(),
                    version: number.clone(),
                    resource: text(&resource["resource"]),
                    kind: text(&resource["responseKind"]["kind"]),
                    namespaced: resource["scope"] == "Namespaced",
                };
                found.add(kind, &resource["verbs"], rules);
            }
        }
    }
}

/// Groups and versions of an `APIVersions` or `APIGroupList`, the preferred version of a group first.
fn versions(document: &Value) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> =
        items(document, "versions").map(|version| (String::new(), text(version))).collect();
    for group in items(document, "groups") {
        let preferred = &group["preferredVersion"]["version"];
        let others =
            items(group, "versions").map(|version| &version["version"]).filter(|version| *version != preferred);
        found.extend(std::iter::once(preferred).chain(others).map(|version| (text(&group["name"]), text(version))));
    }
    found
}

fn resources(group: &str, version: &str, document: &Value, found: &mut Discovered, rules: &Rules) {
    for resource in items(document, "resources") {
        let kind = Kind {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: text(&resource["name"]),
            kind: text(&resource["kind"]),
            namespaced: resource["namespaced"] == true,
        };
        found.add(kind, &resource["verbs"], rules);
    }
}
