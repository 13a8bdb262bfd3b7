//! Selectors: a label selector on the first line, a field selector on the second.

use std::sync::LazyLock;

use embedded::{Foreign, select_labels};
use http::{Method, Uri};
use serde_json::{Value, json};

static LABELS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    vec![
        json!({}),
        json!({"app": "web", "tier": "a"}),
        json!({"app": "", "n": "5"}),
        json!({"a.b/c": "x", "in": "notin", "n": "-7"}),
    ]
});

pub(crate) fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (labels, fields) = text.split_once('\n').unwrap_or((text, text));
    label_selector(labels);
    field_selector(fields);
}

fn label_selector(selector: &str) {
    let Ok(read) = select_labels(selector, &LABELS) else { return };
    match select_labels(&read.0, &LABELS) {
        Ok(again) => assert_eq!(again, read, "{selector}"),
        Err(refusal) => panic!("the canonical form of {selector:?} is refused: {refusal}"),
    }
    // Text that only repeats the selector selects the same.
    if !read.0.is_empty() {
        let Ok(twice) = select_labels(&format!("{selector},{}", read.0), &LABELS) else {
            panic!("{selector:?} is refused in company");
        };
        assert_eq!(twice.1, read.1, "{selector}");
    }
}

fn field_selector(selector: &str) {
    let Some(pods) = Foreign::resource("", "v1", "pods") else { panic!("there are no pods") };
    let pod = json!({
        "metadata": {"name": "a", "namespace": "b"}, "spec": {"nodeName": "n,=\\"}, "status": {"phase": "Running"},
    });
    let Ok(read) = pods.select_fields(selector, &pod) else { return };
    match pods.select_fields(&read.0, &pod) {
        Ok(again) => assert_eq!(again, read, "{selector}"),
        Err(refusal) => panic!("the canonical form of {selector:?} is refused: {refusal}"),
    }
    // Whoever may read one object alone, by its name in the selector, is shown no other.
    let mut query = form_urlencoded::Serializer::new(String::from("/api/v1/namespaces/b/pods?"));
    let target = query.append_pair("fieldSelector", selector).finish();
    let Ok(uri) = target.parse::<Uri>() else { return };
    let Ok(judged) = gate::attributes(&Method::GET, &uri) else { return };
    if !judged.name.is_empty() && judged.name != "a" {
        assert!(!read.1, "judged as {:?}, but {selector:?} selects another", judged.name);
    }
}
