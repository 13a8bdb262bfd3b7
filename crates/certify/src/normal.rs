//! The normal form of an object: one digest for each of its sections, so that a difference can be named while no content
//! is kept. Sections are `metadata.labels`, `metadata.annotations`, `metadata.finalizers`, each member of `spec`, `data`,
//! `stringData` and `binaryData`, every other member but `status`, and the places that rules set apart.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::rules::{KindRules, Pattern, Place, Rules};

/// Members whose members are sections of their own.
const OPENED: [&str; 4] = ["spec", "data", "stringData", "binaryData"];

/// Digests by section.
pub(crate) type Sections = BTreeMap<String, u64>;

/// The digests of an object, which is taken apart for it.
pub(crate) fn sections(mut object: Value, kind: &KindRules, rules: &Rules) -> Sections {
    let mut sections = Sections::new();
    let mut put = |name: String, value: &Value| {
        if !is_nothing(value) {
            sections.insert(name, digest(value, &kind.generated));
        }
    };
    for place in &kind.never {
        let _ = take(&mut object, &place.0);
    }
    for entries in &kind.entries {
        leave_out(&mut object, &entries.list, |item| {
            item.get(&entries.key).and_then(Value::as_str).is_some_and(|word| entries.like.matches(word))
        });
    }
    for place in &kind.filled {
        put(place.section(), &Value::Array(take(&mut object, &place.0)));
    }
    let Value::Object(members) = object else { return sections };
    for (name, mut value) in members {
        match name.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                strip(&mut value, "labels", &[&rules.labels, &kind.labels]);
                strip(&mut value, "annotations", &[&rules.annotations, &kind.annotations]);
                for part in ["labels", "annotations", "finalizers"] {
                    put(format!("metadata.{part}"), &value[part]);
                }
            }
            opened if OPENED.contains(&opened) && value.is_object() => {
                for (member, value) in value.as_object().into_iter().flatten() {
                    put(format!("{name}.{member}"), value);
                }
            }
            _ => put(name, &value),
        }
    }
    sections
}

/// The number at a place.
pub(crate) fn number(object: &Value, place: &Place) -> Option<i64> {
    place.0.iter().try_fold(object, |value, step| value.get(step))?.as_i64()
}

/// At the top of a section nothing, null and an empty list or map are one.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// Takes what is at a place out of the object: several values where the place goes through lists.
fn take(value: &mut Value, steps: &[String]) -> Vec<Value> {
    match (steps, value) {
        ([last], Value::Object(members)) => members.remove(last).filter(|value| !value.is_null()).into_iter().collect(),
        ([step, rest @ ..], Value::Array(items)) if step == "*" => {
            items.iter_mut().flat_map(|item| take(item, rest)).collect()
        }
        ([step, rest @ ..], Value::Object(members)) => {
            members.get_mut(step).map(|value| take(value, rest)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn leave_out(object: &mut Value, list: &Place, unwanted: impl Fn(&Value) -> bool) {
    let found = list.0.iter().try_fold(object, |value, step| value.get_mut(step));
    if let Some(Value::Array(items)) = found {
        items.retain(|item| !unwanted(item));
    }
}

fn strip(metadata: &mut Value, part: &str, patterns: &[&Vec<Pattern>]) {
    if let Some(Value::Object(words)) = metadata.get_mut(part) {
        words.retain(|word, _| !patterns.iter().any(|patterns| patterns.iter().any(|pattern| pattern.matches(word))));
    }
}

/// The first eight bytes of the SHA-256 of a value, whatever the order of its keys.
fn digest(value: &Value, generated: &[Pattern]) -> u64 {
    let mut hash = Sha256::new();
    feed(&mut hash, value, generated);
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Each value with its type and length before it, so that no two values read the same.
fn feed(hash: &mut Sha256, value: &Value, generated: &[Pattern]) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(truth) => hash.update(if *truth { b"t" } else { b"f" }),
        Value::Number(number) => text(hash, b"#", &number.to_string()),
        Value::String(word) => {
            let beginning = generated.iter().find_map(|pattern| pattern.beginning(word));
            text(hash, b"\"", beginning.unwrap_or(word));
        }
        Value::Array(items) => {
            length(hash, b"[", items.len());
            items.iter().for_each(|item| feed(hash, item, generated));
        }
        Value::Object(members) => {
            let members = sorted(members);
            length(hash, b"{", members.len());
            for (key, value) in members {
                text(hash, b"\"", key);
                feed(hash, value, generated);
            }
        }
    }
}

/// Members that say something, by key.
fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).collect();
    members.sort_by_key(|(key, _)| *key);
    members
}

fn length(hash: &mut Sha256, kind: &[u8; 1], length: usize) {
    hash.update(kind);
    hash.update((length as u64).to_le_bytes());
}

fn text(hash: &mut Sha256, kind: &[u8; 1], text: &str) {
    length(hash, kind, text.len());
    hash.update(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(resource: &str, object: Value) -> Sections {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let rules = Rules::standard();
        sections(object, rules.kind(group, resource), rules)
    }

    fn differ(resource: &str, a: Value, b: Value) -> Vec<String> {
        let (a, b) = (of(resource, a), of(resource, b));
        let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
    }

    #[test]
    fn what_says_nothing_is_as_if_it_were_not_there() {
        let bare = json!({"metadata": {"name": "a"}, "spec": {"a": 1}});
        let full = json!({"metadata": {"name": "a", "labels": {}, "annotations": null}, "spec": {"a": 1, "b": null}});
        assert!(differ("configmaps", bare, full).is_empty());
    }

    #[test]
    fn a_difference_is_named_by_its_section() {
        let before = json!({"metadata": {"labels": {"a": "b"}}, "data": {"x": "1", "y": "2"}, "type": "Opaque"});
        let after = json!({"metadata": {"labels": {"a": "c"}}, "data": {"x": "1", "y": "3"}, "type": "other"});
        assert_eq!(differ("secrets", before, after), ["data.y", "metadata.labels", "type"]);
    }

    #[test]
    fn our_stamps_and_the_clusters_own_words_are_not_compared() {
        let before =
            json!({"metadata": {"uid": "1", "resourceVersion": "5"}, "spec": {"replicas": 1}, "status": {"a": 1}});
        let after = json!({
            "metadata": {
                "uid": "2", "resourceVersion": "7", "generation": 4, "managedFields": [{}],
                "labels": {gate::LABEL: "r", gate::NONCE: "n"}, "annotations": {"deployment.kubernetes.io/revision": "3"},
            },
            "spec": {"replicas": 1}, "status": {"a": 2},
        });
        assert!(differ("deployments.apps", before, after).is_empty());
    }

    #[test]
    fn what_the_cluster_fills_in_is_a_section_of_its_own() {
        let service =
            |ip: &str, port: u32| json!({"spec": {"clusterIP": ip, "ports": [{"port": 80, "nodePort": port}]}});
        assert_eq!(
            differ("services", service("10.0.0.1", 30_000), service("10.0.0.2", 30_001)),
            ["spec.clusterIP", "spec.ports.*.nodePort"]
        );
        let job =
            |uid: &str| json!({"spec": {"template": {"metadata": {"labels": {"app": "a", "controller-uid": uid}}}}});
        assert_eq!(differ("jobs.batch", job("1"), job("2")), ["spec.template.metadata.labels.controller-uid"]);
    }

    #[test]
    fn generated_words_are_equal_and_others_are_not() {
        let pod = |volume: &str| json!({"spec": {"volumes": [{"name": volume}], "nodeName": "node-1"}});
        assert!(differ("pods", pod("kube-api-access-4fz8k"), pod("kube-api-access-x9bnm")).is_empty());
        assert_eq!(differ("pods", pod("cache"), pod("data")), ["spec.volumes"]);
    }

    #[test]
    fn the_clusters_own_taints_are_not_compared() {
        let node = |taints: Value| json!({"spec": {"taints": taints}});
        let bare = node(json!([]));
        assert!(
            differ("nodes", bare.clone(), node(json!([{"key": "node.kubernetes.io/not-ready", "effect": "x"}])))
                .is_empty()
        );
        assert_eq!(differ("nodes", bare, node(json!([{"key": "mine", "effect": "NoSchedule"}]))), ["spec.taints"]);
    }

    #[test]
    fn values_of_different_shape_never_read_the_same() {
        let of = |value: Value| digest(&value, &[]);
        let all = [
            json!([]),
            json!([[]]),
            json!([[], []]),
            json!({}),
            json!(""),
            json!("n"),
            json!(1),
            json!("1"),
            json!(["ab"]),
            json!(["a", "b"]),
            json!({"a": "b"}),
            json!(["a", {"b": ""}]),
            json!(true),
            json!(null),
        ];
        let digests: std::collections::BTreeSet<u64> = all.iter().cloned().map(of).collect();
        assert_eq!(digests.len(), all.len());
    }
}
