//! JSON Schemas of every format.

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use crate::ApiError;

/// The formats that have a schema.
pub const SCHEMAS: [&str; 11] =
    ["matrix", "metadata", "agent", "grants", "task", "answer", "case", "run", "run-document", "event", "baseline"];

/// The JSON Schema of a format: `matrix`, `metadata`, `agent` and `grants` are what people write, `task` and `answer`
/// what agents read and write, `case`, `run` and `event` what a run directory holds, `run-document` what
/// `run --format json` prints, `baseline` what `runs export --baseline` writes.
///
/// # Errors
/// There is no such format.
pub fn schema(name: &str) -> Result<Value, ApiError> {
    match name {
        "matrix" => Ok(matrix::schema()),
        "metadata" => Ok(catalog::metadata_schema()),
        "agent" => Ok(catalog::agent_schema()),
        "grants" => Ok(gate::grants_schema()),
        "task" => of::<model::Task>(),
        "answer" => of::<model::Answer>(),
        "case" => of::<model::CaseFile>(),
        "run" => of::<model::RunFile>(),
        "run-document" => of::<model::RunDocument>(),
        "event" => of::<model::Event>(),
        "baseline" => of::<model::Baseline>(),
        _ => Err(ApiError::unknown("format", name, &SCHEMAS)),
    }
}

fn of<T: JsonSchema>() -> Result<Value, ApiError> {
    Ok(schema_for!(T).to_value())
}
