//! Laws of certification, over random clusters: a cluster equals itself whatever the order and however often it is saved;
//! any change of a compared section is found and named; changes that a rule leaves out are not.

use gate::ObjectKey;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::Differences;
use crate::baseline::{Baseline, Filler, Kind, Table};
use crate::differences::judge;
use crate::ownership::Ownership;
use crate::rules::Rules;

/// Group, resource, kind, whether namespaced.
const KINDS: [(&str, &str, &str, bool); 7] = [
    ("", "configmaps", "ConfigMap", true),
    ("", "namespaces", "Namespace", false),
    ("", "pods", "Pod", true),
    ("", "services", "Service", true),
    ("apps", "deployments", "Deployment", true),
    ("apps", "replicasets", "ReplicaSet", true),
    ("example.com", "widgets", "Widget", true),
];

#[derive(Clone, Debug)]
struct Object {
    kind: usize,
    value: Value,
}

fn table_kind(number: usize) -> Kind {
    let (group, resource, kind, namespaced) = KINDS[number];
    Kind { group: group.into(), version: "v1".into(), resource: resource.into(), kind: kind.into(), namespaced }
}

fn look(objects: &[Object], known: Option<&Baseline>) -> Baseline {
    let rules = Rules::standard();
    let table = |number: usize| -> Table {
        let kind = table_kind(number);
        let known = known.and_then(|known| known.table(&kind.group, &kind.resource));
        let mut filler = Filler::new(kind, rules, known);
        objects.iter().filter(|object| object.kind == number).for_each(|object| filler.add(object.value.clone()));
        filler.finish()
    };
    Baseline::new(rules, (0..KINDS.len()).map(table).collect(), Vec::new())
}

fn compared(before: &Baseline, now: &Baseline, touched: &[ObjectKey]) -> Differences {
    let ownership = Ownership { namespace: "case", label: "r-1", touched };
    judge(before, now, Rules::standard(), &ownership).unwrap()
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn words() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-z]{1,5}", "[a-z]{0,5}", 0..3)
        .prop_map(|map| Value::Object(map.into_iter().map(|(key, value)| (key, Value::from(value))).collect()))
}

fn members() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-z]{1,5}", values(), 0..4).prop_map(|map| map.into_iter().collect())
}

/// A cluster whose objects are known by name: none has a controller.
fn cluster() -> impl Strategy<Value = Vec<Object>> {
    let object = (0..KINDS.len(), "[ab]", "[a-d]{1,2}", words(), words(), members(), members());
    prop::collection::vec(object, 1..12).prop_map(|objects| {
        let mut seen = std::collections::HashSet::new();
        let mut cluster = Vec::new();
        for (n, (kind, namespace, name, labels, annotations, spec, data)) in objects.into_iter().enumerate() {
            let namespace = if KINDS[kind].3 { namespace } else { String::new() };
            if seen.insert((kind, namespace.clone(), name.clone())) {
                let value = json!({
                    "metadata": {"name": name, "namespace": namespace, "uid": format!("u-{n}"), "resourceVersion": n.to_string(),
                                 "labels": labels, "annotations": annotations},
                    "spec": spec, "data": data, "status": {"n": n},
                });
                cluster.push(Object { kind, value });
            }
        }
        cluster
    })
}

/// Another cluster user's write: new content comes with a new resourceVersion.
fn rewritten(object: &mut Object) {
    object.value["metadata"]["resourceVersion"] = json!("1000");
}

/// The parts that every kind is compared by.
const COMPARED: [&str; 6] = [
    "/metadata/labels/added",
    "/metadata/annotations/added",
    "/metadata/finalizers",
    "/spec/added",
    "/data/added",
    "/added",
];

/// What no kind is compared by.
const IGNORED: [&str; 8] = [
    "/metadata/generation",
    "/metadata/creationTimestamp",
    "/metadata/managedFields",
    "/metadata/selfLink",
    "/status/phase",
    "/metadata/labels/run.k8s.local~1id",
    "/metadata/labels/run.k8s.local~1rev",
    "/status",
];

fn set(object: &mut Value, pointer: &str, value: Value) {
    let steps: Vec<String> = pointer[1..].split('/').map(|step| step.replace("~1", "/")).collect();
    let (last, path) = steps.split_last().unwrap();
    let mut place = object;
    for step in path {
        if !place[step].is_object() {
            place[step] = json!({});
        }
        place = &mut place[step];
    }
    place[last] = value;
}

proptest! {
    #[test]
    fn a_cluster_equals_itself(mut objects in cluster(), reuse in any::<bool>(), swap in any::<prop::sample::Index>()) {
        let before = look(&objects, None);
        let at = swap.index(objects.len());
        objects.swap(0, at);
        let now = look(&objects, reuse.then_some(&before));
        let differences = compared(&before, &now, &[]);
        prop_assert!(differences.leaks.is_empty() && differences.foreign.is_empty(), "{differences:?}");
    }

    #[test]
    fn a_baseline_survives_being_saved(objects in cluster()) {
        let before = look(&objects, None);
        let saved = serde_json::to_string(&before).unwrap();
        let read: Baseline = serde_json::from_str(&saved).unwrap();
        prop_assert_eq!(&read, &before);
    }

    #[test]
    fn any_change_that_counts_is_found_and_named(
        objects in cluster(), which in any::<prop::sample::Index>(), part in 0..COMPARED.len(), reuse in any::<bool>(), anew in any::<bool>(),
    ) {
        let before = look(&objects, None);
        let mut changed = objects.clone();
        let at = which.index(changed.len());
        rewritten(&mut changed[at]);
        if anew {
            changed[at].value["metadata"]["uid"] = json!("another");
        }
        let value = if COMPARED[part].ends_with("finalizers") { json!(["f"]) } else { json!("new") };
        set(&mut changed[at].value, COMPARED[part], value);
        let now = look(&changed, reuse.then_some(&before));
        let differences = compared(&before, &now, &[]);
        prop_assert_eq!(differences.foreign.len(), 1, "{:?}", differences);
        let told = &differences.foreign[0];
        prop_assert_eq!(&told.what, "changed");
        let name = changed[at].value["metadata"]["name"].as_str().unwrap();
        let kind = table_kind(changed[at].kind);
        prop_assert!(told.object.starts_with(&(kind.api_version() + " " + &kind.kind)) && told.object.ends_with(name));
        prop_assert_eq!(told.evidence.len(), 1);
        let section = told.evidence[0].as_str().unwrap().split(' ').next().unwrap().replace('.', "/");
        prop_assert!(COMPARED[part][1..].starts_with(&section), "{} is in {}", section, COMPARED[part]);
    }

    #[test]
    fn changes_that_a_rule_leaves_out_are_not_found(
        objects in cluster(), which in any::<prop::sample::Index>(), part in 0..IGNORED.len(), value in values(), anew in any::<bool>(),
    ) {
        let before = look(&objects, None);
        let mut changed = objects.clone();
        let at = which.index(changed.len());
        rewritten(&mut changed[at]);
        if anew {
            changed[at].value["metadata"]["uid"] = json!("another");
        }
        set(&mut changed[at].value, IGNORED[part], value);
        let differences = compared(&before, &look(&changed, Some(&before)), &[]);
        prop_assert!(differences.leaks.is_empty() && differences.foreign.is_empty(), "{differences:?}");
    }

    #[test]
    fn what_came_and_what_went_is_told_and_belongs_to_who_touched_it(
        objects in cluster(), which in any::<prop::sample::Index>(), touched in any::<bool>(), came in any::<bool>(),
    ) {
        let mut fewer = objects.clone();
        let taken = fewer.remove(which.index(objects.len()));
        let kind = table_kind(taken.kind);
        let text = |key: &str| taken.value["metadata"][key].as_str().unwrap().to_owned();
        let key = ObjectKey { group: kind.group, version: kind.version, resource: kind.resource, namespace: text("namespace"), name: text("name") };
        let (before, now) = if came { (fewer, objects.clone()) } else { (objects.clone(), fewer) };
        let touched = if touched { vec![key] } else { Vec::new() };
        let differences = compared(&look(&before, None), &look(&now, None), &touched);
        let (told, silent) = if touched.is_empty() { (&differences.foreign, &differences.leaks) } else { (&differences.leaks, &differences.foreign) };
        prop_assert_eq!((told.len(), silent.len()), (1, 0), "{:?}", differences);
        prop_assert_eq!(told[0].what.as_str(), if came { "left_over" } else { "missing" });
    }

    /// Pods of one controller may be replaced by ones that are like them, whatever their names; never by others.
    #[test]
    fn pods_are_replaced_by_their_like_alone(count in 1_usize..5, replaced in 0_usize..5, other in any::<bool>(), lost in any::<bool>()) {
        let pod = |n: usize, image: &str| Object {
            kind: 2,
            value: json!({
                "metadata": {"name": format!("web-{n}"), "namespace": "a", "uid": format!("p-{n}"), "resourceVersion": "1",
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": true}]},
                "spec": {"containers": [{"image": image}], "nodeName": format!("node-{}", n % 2),
                    "volumes": [{"name": format!("kube-api-access-{n}")}]},
            }),
        };
        let set = Object { kind: 5, value: json!({
            "metadata": {"name": "web", "namespace": "a", "uid": "r", "resourceVersion": "1"}, "spec": {"replicas": count},
        }) };
        let replaced = replaced.min(count);
        let before: Vec<Object> = (0..count).map(|n| pod(n, "one")).chain([set.clone()]).collect();
        let mut now: Vec<Object> = (0..count - replaced).map(|n| pod(n, "one")).chain([set]).collect();
        now.extend((0..replaced).map(|n| pod(100 + n, if other && n == 0 { "two" } else { "one" })));
        if lost {
            now.remove(0);
        }
        let differences = compared(&look(&before, None), &look(&now, None), &[]);
        let set_lost = lost && count == replaced;
        let clean = !lost && !(other && replaced > 0);
        prop_assert_eq!(differences.foreign.is_empty(), clean, "{:?}", differences);
        prop_assert_eq!(differences.foreign.iter().any(|told| told.object.contains("ReplicaSet")), set_lost);
    }
}
