//! The columns that a definition gives to tables of its objects.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::path::Path;
use crate::object;
use crate::table::age;

/// One column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    path: Option<Path>,
}

/// The columns of one version, behind the name: where it says nothing, the age.
pub(super) fn of(version: &Value) -> Vec<Column> {
    let given = object::list(version, &["additionalPrinterColumns"]);
    if given.is_empty() {
        let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
        return vec![column(&age)];
    }
    given.iter().map(column).collect()
}

fn column(text: &Value) -> Column {
    let path = object::text(text, &["jsonPath"]);
    let description = match object::text(text, &["description"]) {
        "" => format!("Custom resource definition column (in JSONPath format): {path}"),
        given => given.to_owned(),
    };
    Column {
        name: object::text(text, &["name"]).to_owned(),
        kind: object::text(text, &["type"]).to_owned(),
        format: object::text(text, &["format"]).to_owned(),
        description,
        priority: text["priority"].as_i64().unwrap_or(0),
        path: Path::parse(path),
    }
}

/// What stands in a column: null where the object says nothing, or nothing of the column's type.
pub(crate) fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let Some(value) = column.path.as_ref().and_then(|path| path.find(object).into_iter().next()) else {
        return Value::Null;
    };
    match (column.kind.as_str(), value) {
        ("string", Value::String(text)) => json!(text),
        ("string", Value::Null) => json!("<none>"),
        ("string", other) => json!(other.to_string()),
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(whole) => json!(whole),
            #[allow(clippy::cast_possible_truncation, reason = "cut off as the server cuts it off")]
            None => json!(number.as_f64().unwrap_or(0.0) as i64),
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) if text.parse::<Timestamp>().is_ok() => json!(age(value, now)),
        ("date", Value::String(_)) => json!("<invalid>"),
        _ => Value::Null,
    }
}
