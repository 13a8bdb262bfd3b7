//! OpenAPI, as far as kubectl asks: the index, and per group and version the paths with their query parameters (from
//! which it sees that the server validates fields) and the schemas that merging needs.

use http::{HeaderMap, Response, header};
use serde_json::{Map, Value, json};
use wire::schema::{self, Field, Merge, Message, Shape, Type};

use crate::body::Body;
use crate::discovery::hash;
use crate::error::ApiError;
use crate::registry::{Info, Registry, Storage};
use crate::respond::{self, Answer};

/// `/openapi/v2`: kubectl since 1.27 asks for version 3 and takes this as a fallback only.
pub(crate) fn v2(headers: &HeaderMap) -> Response<Body> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("protobuf") && !accept.contains("json") && !accept.contains("*/*") {
        let error =
            ApiError::new(406, "NotAcceptable", "only application/json is written here").with_details(json!({}));
        return respond::failure(&error);
    }
    let body = json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": crate::discovery::VERSION}, "paths": {},
        "definitions": {},
    });
    respond::document(Answer::new(200, body), false)
}

/// `/openapi/v3` and what lies under it.
pub(crate) fn v3(registry: &Registry, path: &[&str]) -> Response<Body> {
    let versions = group_versions(registry);
    match path {
        [] => {
            let mut paths = Map::new();
            for (group, version) in &versions {
                let place = place(group, version);
                let digest = hash(&document(registry, group, version).to_string());
                let url = format!("/openapi/v3/{place}?hash={digest}");
                paths.insert(place, json!({"serverRelativeURL": url}));
            }
            respond::document(Answer::new(200, json!({"paths": paths})), false)
        }
        ["api", version] if registry.has_version("", version) => {
            respond::document(Answer::new(200, document(registry, "", version)), false)
        }
        ["apis", group, version] if registry.has_version(group, version) => {
            respond::document(Answer::new(200, document(registry, group, version)), false)
        }
        _ => respond::text(404, "404 page not found\n"),
    }
}

fn place(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn group_versions(registry: &Registry) -> Vec<(&'static str, &'static str)> {
    let mut versions: Vec<_> = registry.iter().map(|i| (i.resource.group, i.resource.version)).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

fn document(registry: &Registry, group: &str, version: &str) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for info in registry.iter().filter(|i| i.resource.group == group && i.resource.version == version) {
        let base = format!("/{}", place(group, version));
        let base = if info.resource.namespaced { format!("{base}/namespaces/{{namespace}}") } else { base };
        let collection = format!("{base}/{}", info.resource.plural);
        if info.storage != Storage::Virtual {
            paths.insert(format!("{collection}/{{name}}"), item(info));
        }
        paths.insert(collection, json!({"post": operation(info, "post", &["application/json"])}));
        let message = schema::of_kind(&info.resource.api_version(), info.resource.kind).filter(|_| !info.custom);
        let name = schema_name(info);
        match (&info.definition, message) {
            (Some(definition), _) => {
                if let Some(metadata) = schema::message("ObjectMeta") {
                    add_message(metadata, &mut schemas);
                }
                schemas.insert(name, custom_schema(info, &definition.text));
            }
            (None, Some(message)) => {
                add_message(message, &mut schemas);
                let mut schema = json!({"allOf": [{"$ref": reference(message)}], "type": "object"});
                if let Some(own) = schemas.get(message.name) {
                    schema = own.clone();
                }
                add_type(&mut schema);
                schema["x-kubernetes-group-version-kind"] = kinds(info);
                schemas.insert(name, schema);
            }
            (None, None) => {
                let schema = json!({
                    "type": "object", "x-kubernetes-group-version-kind": kinds(info),
                    "x-kubernetes-preserve-unknown-fields": true,
                });
                schemas.insert(name, schema);
            }
        }
    }
    json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": crate::discovery::VERSION},
        "paths": paths, "components": {"schemas": schemas},
    })
}

fn kinds(info: &Info) -> Value {
    json!([{"group": info.resource.group, "version": info.resource.version, "kind": info.resource.kind}])
}

/// What whole objects have besides the members of their message.
fn add_type(schema: &mut Value) {
    let properties = crate::object::child(schema, "properties");
    for key in ["apiVersion", "kind"] {
        properties.entry(key).or_insert_with(|| json!({"type": "string"}));
    }
}

/// The schema of a custom resource as its definition writes it, with what every resource has.
fn custom_schema(info: &Info, text: &Value) -> Value {
    let mut schema = if text.is_object() { text.clone() } else { json!({"type": "object"}) };
    add_type(&mut schema);
    let properties = crate::object::child(&mut schema, "properties");
    if let Some(message) = schema::message("ObjectMeta") {
        properties.insert(
            "metadata".into(),
            json!({"allOf": [{"$ref": reference(message)}], "description": "Standard object's metadata."}),
        );
    }
    schema["x-kubernetes-group-version-kind"] = kinds(info);
    schema
}

fn schema_name(info: &Info) -> String {
    if info.custom {
        let parts: Vec<&str> = info.resource.group.rsplit('.').collect();
        return format!("{}.{}.{}", parts.join("."), info.resource.version, info.resource.kind);
    }
    let group = if info.resource.group.is_empty() { "core" } else { info.resource.group };
    format!("io.k8s.{group}.{}.{}", info.resource.version, info.resource.kind)
}

fn operation(info: &Info, action: &str, types: &[&str]) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    let content: Map<String, Value> = types
        .iter()
        .map(|media| {
            let schema = json!({"$ref": format!("#/components/schemas/{}", schema_name(info))});
            ((*media).to_owned(), json!({"schema": schema}))
        })
        .collect();
    json!({
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kinds(info)[0],
        "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation")],
        "requestBody": {"content": content, "required": true},
        "responses": {"200": {"description": "OK"}},
    })
}

fn item(info: &Info) -> Value {
    let mut patches =
        vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
    if !info.custom {
        patches.push("application/strategic-merge-patch+json");
    }
    json!({
        "get": {"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": kinds(info)[0],
                "responses": {"200": {"description": "OK"}}},
        "put": operation(info, "put", &["application/json"]),
        "patch": operation(info, "patch", &patches),
    })
}

fn reference(message: &Message) -> String {
    format!("#/components/schemas/{}", message.name)
}

fn add_message(message: &'static Message, schemas: &mut Map<String, Value>) {
    if schemas.contains_key(message.name) {
        return;
    }
    schemas.insert(message.name.to_owned(), json!({}));
    let mut properties = Map::new();
    for field in message.json_fields() {
        if let Type::Message(name) = field.ty
            && let Some(inner) = schema::message(name)
        {
            add_message(inner, schemas);
        }
        properties.insert(field.name.to_owned(), property(field));
    }
    let mut schema = json!({"type": "object", "properties": properties});
    if message.typed {
        add_type(&mut schema);
    }
    if message.atomic {
        schema["x-kubernetes-map-type"] = json!("atomic");
    }
    schemas.insert(message.name.to_owned(), schema);
}

fn value_schema(ty: Type) -> Value {
    match ty {
        Type::String | Type::Quantity => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::IntOrString => json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}),
        Type::Time | Type::MicroTime => json!({"type": "string", "format": "date-time"}),
        Type::Strings => json!({"type": "array", "items": {"type": "string"}}),
        Type::Raw | Type::Fields | Type::Any => json!({"type": "object"}),
        Type::Message(name) => match schema::message(name) {
            Some(message) => json!({"allOf": [{"$ref": reference(message)}]}),
            None => json!({"type": "object"}),
        },
    }
}

fn property(field: &Field) -> Value {
    let value = value_schema(field.ty);
    let mut property = match field.shape {
        Shape::One => value,
        Shape::List => json!({"type": "array", "items": value}),
        Shape::Map => json!({"type": "object", "additionalProperties": value}),
    };
    match &field.merge {
        Merge::Keys(keys) => {
            property["x-kubernetes-list-type"] = json!("map");
            property["x-kubernetes-list-map-keys"] = json!(keys);
            property["x-kubernetes-patch-merge-key"] = json!(keys[0]);
            property["x-kubernetes-patch-strategy"] =
                json!(if field.retain_keys { "merge,retainKeys" } else { "merge" });
        }
        Merge::Set => {
            property["x-kubernetes-list-type"] = json!("set");
            property["x-kubernetes-patch-strategy"] = json!("merge");
        }
        Merge::Atomic if field.retain_keys => property["x-kubernetes-patch-strategy"] = json!("retainKeys"),
        Merge::Atomic => {}
    }
    property
}
