//! Definitions themselves: their defaults, and what is wrong with them.

use serde_json::{Value, json};

use super::path::Path;
use super::structure;
use crate::error::Cause;
use crate::object::{self, child, default};
use crate::validation::{is_label, is_subdomain};

/// Fills in what a definition leaves unsaid.
pub(crate) fn fill(definition: &mut Value) {
    let stored: Vec<Value> = object::list(definition, &["spec", "versions"])
        .iter()
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    let kind = object::text(definition, &["spec", "names", "kind"]).to_owned();
    let spec = child(definition, "spec");
    let conversion = spec.entry("conversion").or_insert_with(|| json!({}));
    if let Value::Object(conversion) = conversion {
        default(conversion, "strategy", "None");
    }
    if !kind.is_empty() {
        let names = child(&mut definition["spec"], "names");
        default(names, "singular", kind.to_lowercase());
        default(names, "listKind", format!("{kind}List"));
    }
    let status = child(definition, "status");
    if status.get("storedVersions").is_none_or(Value::is_null) {
        status.insert("storedVersions".into(), Value::Array(stored));
    }
}

/// All that is wrong with a definition; `old` is what it was.
pub(crate) fn check(definition: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &definition["spec"];
    let expected = format!("{}.{}", object::text(spec, &["names", "plural"]), object::text(spec, &["group"]));
    if old.is_none() && object::name(definition) != expected {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &definition["metadata"]["name"], why));
    }
    group_and_scope(spec, &mut causes);
    versions(spec, &mut causes);
    names(&spec["names"], &mut causes);
    schemas(spec, &mut causes);
    conversion(spec, &mut causes);
    if let Some(old) = old {
        immutable(spec, &old["spec"], &mut causes);
        stored_versions(definition, &mut causes);
    }
    causes
}

fn group_and_scope(spec: &Value, causes: &mut Vec<Cause>) {
    let group = object::text(spec, &["group"]);
    if group.is_empty() {
        causes.push(Cause::required("spec.group", ""));
    } else if !is_subdomain(group) {
        causes.push(Cause::invalid("spec.group", &spec["group"], crate::validation::SUBDOMAIN));
    } else if !group.contains('.') {
        causes.push(Cause::invalid("spec.group", &spec["group"], "should be a domain with at least one dot"));
    }
    const SCOPES: [&str; 2] = ["Cluster", "Namespaced"];
    match object::text(spec, &["scope"]) {
        "" => causes.push(Cause::required("spec.scope", "")),
        scope if !SCOPES.contains(&scope) => {
            causes.push(Cause::unsupported("spec.scope", &spec["scope"], &SCOPES));
        }
        _ => {}
    }
    if spec["preserveUnknownFields"] == true {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        causes.push(Cause::invalid("spec.preserveUnknownFields", &Value::Bool(true), why));
    }
}

/// What names of versions, plurals and the like must be.
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

fn is_1035(text: &str) -> bool {
    is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.len() <= 63
}

fn versions(spec: &Value, causes: &mut Vec<Cause>) {
    let versions = object::list(spec, &["versions"]);
    let mut known: Vec<&str> = Vec::new();
    let mut twice = false;
    for (index, version) in versions.iter().enumerate() {
        let name = object::text(version, &["name"]);
        if !is_1035(name) {
            causes.push(Cause::invalid(format!("spec.versions[{index}].name"), &json!(name), LABEL_1035));
        }
        twice |= known.contains(&name);
        known.push(name);
        let place = format!("spec.versions[{index}].deprecationWarning");
        match version["deprecationWarning"].as_str() {
            Some(_) if version["deprecated"] != true => {
                let why = "can only be set for deprecated versions";
                causes.push(Cause::invalid(place, &version["deprecationWarning"], why));
            }
            Some("") => causes.push(Cause::invalid(place, &json!(""), "must not be an empty string")),
            Some(text) if text.len() > 256 => {
                causes.push(Cause::invalid(place, &json!(text), "must be <= 256 characters long"));
            }
            _ => {}
        }
    }
    if twice {
        causes.push(Cause::invalid("spec.versions", &spec["versions"], "must contain unique version names"));
    }
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &spec["versions"], why));
    }
}

fn names(names: &Value, causes: &mut Vec<Cause>) {
    for key in ["plural", "singular", "kind", "listKind"] {
        let field = format!("spec.names.{key}");
        let text = object::text(names, &[key]);
        let mixed = key == "kind" || key == "listKind";
        if text.is_empty() {
            causes.push(Cause::required(field, ""));
        } else if mixed && !is_1035(&text.to_lowercase()) {
            let why = format!("may have mixed case, but should otherwise match: {LABEL_1035}");
            causes.push(Cause::invalid(field, &names[key], &why));
        } else if !mixed && !is_1035(text) {
            causes.push(Cause::invalid(field, &names[key], LABEL_1035));
        }
    }
    if names["kind"] == names["listKind"] && names["kind"].is_string() {
        let why = "kind and listKind may not be the same";
        causes.push(Cause::invalid("spec.names.listKind", &names["listKind"], why));
    }
    for key in ["shortNames", "categories"] {
        for (index, name) in object::list(names, &[key]).iter().enumerate() {
            if !name.as_str().is_some_and(is_1035) {
                causes.push(Cause::invalid(format!("spec.names.{key}[{index}]"), name, LABEL_1035));
            }
        }
    }
}

/// Where a part of the versions is called: what is the same in all of them belongs to the definition as a whole.
fn places(spec: &Value, part: &str, whole: &str) -> Vec<(Value, String)> {
    let versions = object::list(spec, &["versions"]);
    let Some(first) = versions.first() else { return Vec::new() };
    if versions.iter().all(|version| version[part] == first[part]) {
        return vec![(first[part].clone(), format!("spec.{whole}"))];
    }
    let one = |(index, version): (usize, &Value)| (version[part].clone(), format!("spec.versions[{index}].{part}"));
    versions.iter().enumerate().map(one).collect()
}

fn schemas(spec: &Value, causes: &mut Vec<Cause>) {
    for (index, version) in object::list(spec, &["versions"]).iter().enumerate() {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(Cause::required(field, "schemas are required"));
        }
    }
    for (schema, path) in places(spec, "schema", "validation") {
        if schema["openAPIV3Schema"].is_object() {
            causes.extend(structure::check(&schema["openAPIV3Schema"], &format!("{path}.openAPIV3Schema")));
        }
    }
    for (subresources, path) in places(spec, "subresources", "subresources") {
        if subresources["scale"].is_object() {
            scale(&subresources["scale"], &format!("{path}.scale"), causes);
        }
    }
    for (columns, path) in places(spec, "additionalPrinterColumns", "additionalPrinterColumns") {
        for (index, column) in columns.as_array().into_iter().flatten().enumerate() {
            printer_column(column, &format!("{path}[{index}]"), causes);
        }
    }
}

fn scale(scale: &Value, path: &str, causes: &mut Vec<Cause>) {
    let parts = [
        ("specReplicasPath", &[".spec."] as &[&str], "should be a json path under .spec", true),
        ("statusReplicasPath", &[".status."], "should be a json path under .status", true),
        ("labelSelectorPath", &[".spec.", ".status."], "should be a json path under either .spec or .status", false),
    ];
    for (key, starts, why, required) in parts {
        let (text, field) = (object::text(scale, &[key]), format!("{path}.{key}"));
        if text.is_empty() {
            if required {
                causes.push(Cause::required(field, ""));
            }
        } else if !text.starts_with('.') || Path::parse(text).and_then(|path| path.names().map(|_| ())).is_none() {
            causes.push(Cause::invalid(field, &scale[key], "must be a simple json path starting with ."));
        } else if !starts.iter().any(|start| text.starts_with(start)) {
            causes.push(Cause::invalid(field, &scale[key], why));
        }
    }
}

fn printer_column(column: &Value, path: &str, causes: &mut Vec<Cause>) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 10] =
        ["byte", "date", "date-time", "double", "float", "int32", "int64", "password", "string", "binary"];
    if object::text(column, &["name"]).is_empty() {
        causes.push(Cause::required(format!("{path}.name"), ""));
    }
    let why = format!("must be one of {}", TYPES.join(","));
    match object::text(column, &["type"]) {
        "" => causes.push(Cause::required(format!("{path}.type"), &why)),
        kind if !TYPES.contains(&kind) => {
            causes.push(Cause::invalid(format!("{path}.type"), &column["type"], &why));
        }
        _ => {}
    }
    let format = object::text(column, &["format"]);
    if !format.is_empty() && !FORMATS.contains(&format) {
        let why = format!("must be one of {}", FORMATS.join(","));
        causes.push(Cause::invalid(format!("{path}.format"), &column["format"], &why));
    }
    let field = format!("{path}.JSONPath");
    match object::text(column, &["jsonPath"]) {
        "" => causes.push(Cause::required(field, "")),
        text if !text.starts_with('.') => {
            causes.push(Cause::invalid(field, &json!(text), "must be a simple json path starting with ."));
        }
        text if Path::parse(text).is_none() => {
            causes.push(Cause::invalid(field, &json!(text), "is not a JSON path that this cluster understands"));
        }
        _ => {}
    }
}

fn conversion(spec: &Value, causes: &mut Vec<Cause>) {
    const KNOWN: [&str; 2] = ["None", "Webhook"];
    let conversion = &spec["conversion"];
    match object::text(conversion, &["strategy"]) {
        "None" if !conversion["webhook"].is_null() => {
            let why = "should not be set when strategy is not set to Webhook";
            causes.push(Cause::forbidden("spec.conversion.webhookClientConfig", why));
        }
        "None" => {}
        "Webhook" => {
            let why = "conversion webhooks are not called by this cluster; only None is offered";
            causes.push(Cause::forbidden("spec.conversion.strategy", why));
        }
        _ => causes.push(Cause::unsupported("spec.conversion.strategy", &conversion["strategy"], &KNOWN)),
    }
}

fn immutable(spec: &Value, old: &Value, causes: &mut Vec<Cause>) {
    for path in [&["scope"] as &[&str], &["names", "kind"], &["group"], &["names", "plural"]] {
        if object::at(spec, path) != object::at(old, path) {
            let field = format!("spec.{}", path.join("."));
            causes.push(Cause::invalid(field, object::at(spec, path), "field is immutable"));
        }
    }
}

fn stored_versions(definition: &Value, causes: &mut Vec<Cause>) {
    let versions = object::list(definition, &["spec", "versions"]);
    for (index, stored) in object::list(definition, &["status", "storedVersions"]).iter().enumerate() {
        if !versions.iter().any(|version| version["name"] == *stored) {
            let field = format!("status.storedVersions[{index}]");
            causes.push(Cause::invalid(field, stored, "missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions"));
        }
    }
}
