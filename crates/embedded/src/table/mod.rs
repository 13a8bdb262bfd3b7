//! Tables: what `kubectl get` prints, with its columns and cells.

mod cells;
mod pods;
mod text;
mod workloads;

use serde_json::{Value, json};

use crate::registry::Info;
use crate::respond::metadata_only;
use crate::state::State;

pub(crate) use text::{age, selector_text};

/// The columns of the resources: `group plural: name:type[:format][+]…`, `_` for a space, `+` for wide only.
const COLUMNS: &str = include_str!("columns.txt");

struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
}

fn columns(info: &Info) -> Vec<Column> {
    if let Some(definition) = &info.definition {
        let own = definition.columns.iter().map(|column| Column {
            name: column.name.clone(),
            kind: column.kind.clone(),
            format: column.format.clone(),
            description: column.description.clone(),
            priority: column.priority,
        });
        return std::iter::once(column("Name:string:name")).chain(own).collect();
    }
    let group = if info.resource.group.is_empty() { "-" } else { info.resource.group };
    let head = format!("{group} {} ", info.resource.plural);
    let line = COLUMNS.lines().find_map(|line| line.strip_prefix(head.as_str()));
    line.unwrap_or("Name:string:name Age:string").split(' ').map(column).collect()
}

fn column(text: &'static str) -> Column {
    let (text, wide) = text.strip_suffix('+').map_or((text, false), |text| (text, true));
    let mut parts = text.split(':');
    Column {
        name: parts.next().unwrap_or_default().replace('_', " "),
        kind: parts.next().unwrap_or("string").to_owned(),
        format: parts.next().unwrap_or_default().to_owned(),
        description: String::new(),
        priority: i64::from(wide),
    }
}

/// The objects as a table.
pub(crate) fn of(
    state: &State,
    info: &Info,
    objects: &[&Value],
    metadata: Value,
    version: &str,
    include: &str,
    with_columns: bool,
) -> Value {
    let definitions: Vec<Value> = if with_columns {
        columns(info)
            .iter()
            .map(|column| {
                json!({
                    "name": column.name, "type": column.kind, "format": column.format,
                    "description": column.description, "priority": column.priority,
                })
            })
            .collect()
    } else {
        Vec::new()
    };
    let rows: Vec<Value> = objects.iter().map(|object| row(state, info, object, version, include)).collect();
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
        "columnDefinitions": if with_columns { json!(definitions) } else { Value::Null }, "rows": rows,
    })
}

fn row(state: &State, info: &Info, object: &Value, version: &str, include: &str) -> Value {
    let mut row = json!({"cells": cells::of(info, object, state.now())});
    if info.resource.plural == "pods"
        && info.resource.group.is_empty()
        && let Some(condition) = pods::completed(object)
    {
        row["conditions"] = json!([condition]);
    }
    row["object"] = match include {
        "None" => Value::Null,
        "Object" => object.clone(),
        _ => metadata_only(object, version),
    };
    row
}

/// A Scale as a table. Other than objects it has the same columns whatever it is the scale of.
pub(crate) fn of_scale(state: &State, scale: &Value, version: &str, include: &str) -> Value {
    let columns = ["Name:string", "Desired:integer", "Available:integer", "Age:string"].map(column);
    let definitions = columns.map(|column| {
        json!({"name": column.name, "type": column.kind, "format": column.format, "description": "", "priority": 0})
    });
    let (desired, available) = (scale["spec"]["replicas"].as_i64(), scale["status"]["replicas"].as_i64());
    let age = text::age(&scale["metadata"]["creationTimestamp"], state.now());
    let object = match include {
        "None" => Value::Null,
        "Object" => scale.clone(),
        _ => metadata_only(scale, version),
    };
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": {"resourceVersion": scale["metadata"]["resourceVersion"]}, "columnDefinitions": definitions,
        "rows": [{
            "cells": [scale["metadata"]["name"], desired.unwrap_or(0), available.unwrap_or(0), age], "object": object,
        }],
    })
}
