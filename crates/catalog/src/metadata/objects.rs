//! Object references, selects and steps out of the tree.

use yaml::At;

use crate::substitute::Placeholder;
use crate::{ObjectRef, PatchType, Select, Step, label_selector};

/// All or none, but every one is looked at.
pub(super) fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let (mut values, mut complete) = (Vec::new(), true);
    for item in items {
        match item {
            Some(value) => values.push(value),
            None => complete = false,
        }
    }
    complete.then_some(values)
}

/// `v1`, `apps/v1`.
pub(super) fn api_version(at: &At<'_>) -> Option<String> {
    let text = at.nonempty()?;
    let version = text.rsplit('/').next().unwrap_or_default();
    let looks_right = text.matches('/').count() <= 1
        && version.starts_with('v')
        && version[1..].starts_with(|c: char| c.is_ascii_digit())
        && !text.starts_with('/');
    if looks_right {
        return Some(text);
    }
    let help = if text == "apps" || text == "batch" {
        format!("write `{text}/v1`")
    } else {
        "write `v1` or `apps/v1`".to_owned()
    };
    at.error_with_help(format!("`{text}` is not an apiVersion"), help)
}

/// `Deployment`.
pub(super) fn kind(at: &At<'_>) -> Option<String> {
    let text = at.nonempty()?;
    if text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Some(text);
    }
    let mut letters = text.chars();
    let capital = letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters);
    let guess: String = capital.filter(char::is_ascii_alphanumeric).collect();
    at.error_with_help(
        format!("`{text}` is not a kind"),
        format!("kinds are written as in manifests: `{}`", guess.trim_end_matches('s')),
    )
}

pub(super) fn object_ref(at: &At<'_>) -> Option<ObjectRef> {
    let fields = at.fields("object reference", &["apiVersion", "kind", "name", "namespace"])?;
    let api_version = fields.required("apiVersion").and_then(|at| api_version(&at));
    let kind = fields.required("kind").and_then(|at| kind(&at));
    let name = fields.required("name").and_then(|at| at.nonempty());
    let namespace = fields.maybe("namespace", |at| at.nonempty());
    Some(ObjectRef { api_version: api_version?, kind: kind?, name: name?, namespace: namespace? })
}

pub(super) fn select(at: &At<'_>) -> Option<Select> {
    let fields = at.fields("select", &["apiVersion", "kind", "name", "namespace", "labelSelector"])?;
    let api_version = fields.required("apiVersion").and_then(|at| api_version(&at));
    let kind = fields.required("kind").and_then(|at| kind(&at));
    let name = fields.maybe("name", |at| at.nonempty());
    let namespace = fields.maybe("namespace", |at| at.nonempty());
    let label_selector = fields.maybe("labelSelector", |at| {
        let value = at.json()?;
        // A placeholder is checked once it is replaced; one that is a part of the text is reported with all others.
        if value.as_str().is_some_and(|text| Placeholder::of(text) != Placeholder::No) {
            return Some(value);
        }
        match label_selector::to_query(&value) {
            Ok(_) => Some(value),
            Err(message) => at.error(message),
        }
    });
    let select = Select {
        api_version: api_version?,
        kind: kind?,
        name: name?,
        namespace: namespace?,
        label_selector: label_selector?,
    };
    if select.name.is_some() && select.label_selector.is_some() {
        return at
            .error_with_help("a select has a name or a labelSelector, not both", "the name alone says which object");
    }
    Some(select)
}

pub(super) fn steps(at: &At<'_>) -> Option<Vec<Step>> {
    at.each(step)
}

fn step(at: &At<'_>) -> Option<Step> {
    const ACTIONS: &[&str] = &["patch", "apply", "create", "delete"];
    let fields = at.fields("step", &["patch", "with", "type", "apply", "create", "delete"])?;
    let found: Vec<&str> = ACTIONS.iter().copied().filter(|action| fields.has(action)).collect();
    let [action] = found.as_slice() else {
        let message = match found.as_slice() {
            [] => "a step needs one of `patch`, `apply`, `create`, `delete`".to_owned(),
            more => format!("a step does one thing, this one has {}", more.join(" and ")),
        };
        return at.error_with_help(message, "each step is an item of its own, starting with `- `");
    };
    if *action != "patch" {
        for key in ["with", "type"] {
            if let Some(at) = fields.optional(key) {
                at.error_with_help::<()>(format!("`{key}` goes with `patch` only"), format!("remove `{key}`"));
            }
        }
    }
    let value = fields.optional(action)?;
    match *action {
        "patch" => patch(&fields, &value),
        "delete" => object_ref(&value).map(Step::Delete),
        "apply" => manifest(&value).map(Step::Apply),
        _ => manifest(&value).map(Step::Create),
    }
}

fn patch(fields: &yaml::Fields<'_>, at: &At<'_>) -> Option<Step> {
    const TYPES: &[(&str, PatchType)] =
        &[("strategic", PatchType::Strategic), ("merge", PatchType::Merge), ("json", PatchType::Json)];
    let target = object_ref(at);
    let patch_type = fields.or("type", PatchType::default(), |at| at.one_of(TYPES));
    let with = fields.required("with").and_then(|with| match patch_type {
        Some(PatchType::Json) if !with.is_list() => with.error_with_help(
            "a JSON patch is a list of operations",
            "write `with: [{op: replace, path: /spec/…, value: …}]`",
        ),
        Some(PatchType::Strategic | PatchType::Merge) if !with.is_map() => with.error_with_help(
            "this patch must be a mapping: the part of the object that changes",
            "or say `type: json`",
        ),
        _ => with.json(),
    });
    Some(Step::Patch { target: target?, with: with?, patch_type: patch_type? })
}

/// A whole object: what it is called must be there, the rest is the cluster's business.
fn manifest(at: &At<'_>) -> Option<serde_json::Value> {
    let value = at.json()?;
    let text = |pointer: &str| value.pointer(pointer).and_then(|v| v.as_str()).is_some_and(|v| !v.is_empty());
    for (pointer, key) in [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")] {
        if !text(pointer) {
            return at.error(format!("this object needs `{key}`"));
        }
    }
    Some(value)
}
