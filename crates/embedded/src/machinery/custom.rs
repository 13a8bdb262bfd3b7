//! Custom resource definitions: the resources that they add, and the conditions that say so.

use jiff::Timestamp;
use serde_json::{Value, json};
use simulation::Resource;

use crate::object;
use crate::registry::{Info, Registry, Storage, intern};

/// Adds the resources of a definition and says so in its status.
pub(crate) fn establish(registry: &mut Registry, definition: &mut Value, now: Timestamp) {
    let spec = definition["spec"].clone();
    let names = &spec["names"];
    let group = intern(object::text(&spec, &["group"]));
    let plural = intern(object::text(names, &["plural"]));
    let kind = object::text(names, &["kind"]);
    let singular = match object::text(names, &["singular"]) {
        "" => kind.to_lowercase(),
        singular => singular.to_owned(),
    };
    let list = |key: &str| -> Vec<&'static str> {
        object::list(names, &[key]).iter().filter_map(Value::as_str).map(intern).collect()
    };
    registry.remove_custom(group, plural);
    let mut stored = Vec::new();
    for version in object::list(&spec, &["versions"]).iter().filter(|version| version["served"] == true) {
        let has_status = version["subresources"].get("status").is_some();
        let name = intern(object::text(version, &["name"]));
        if version["storage"] == true {
            stored.push(name);
        }
        registry.add_custom(Info {
            resource: Resource {
                group,
                version: name,
                plural,
                kind: intern(kind),
                namespaced: spec["scope"] == "Namespaced",
            },
            singular: intern(&singular),
            short_names: list("shortNames"),
            categories: list("categories"),
            subresources: if has_status { vec!["status"] } else { Vec::new() },
            storage: if version["storage"] == true { Storage::Stored } else { Storage::AliasOf(group) },
            custom: true,
        });
    }
    let at = format!("{now:.0}");
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "lastTransitionTime": at, "reason": reason, "message": message});
    let mut accepted = names.clone();
    accepted["singular"] = json!(singular);
    if accepted.get("listKind").is_none() {
        accepted["listKind"] = json!(format!("{kind}List"));
    }
    definition["spec"]["names"] = accepted.clone();
    definition["status"] = json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": accepted,
        "storedVersions": stored,
    });
}

/// Takes the resources of a definition away.
pub(crate) fn retire(registry: &mut Registry, definition: &Value) {
    registry.remove_custom(
        object::text(definition, &["spec", "group"]),
        object::text(definition, &["spec", "names", "plural"]),
    );
}
