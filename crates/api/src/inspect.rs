//! Looking into a packed failure without running any of its code.

use std::path::Path;

use catalog::Inspection;
use serde::Serialize;

use crate::ApiError;

/// Looks into a file. Holds for files of any origin.
///
/// # Errors
/// It cannot be read, or is no failure; the message says what it is instead.
pub fn failures_inspect(path: &Path) -> Result<Inspection, ApiError> {
    catalog::inspect(path).map_err(|error| ApiError::input(error.to_string()))
}

/// The lines of the grants file that allow a packed failure all that it declares. An operator reads them before pasting
/// them, and fills in the clusters.
///
/// # Errors
/// It carries no metadata, or one that cannot be used.
pub fn grants_stanza(inspection: &Inspection) -> Result<String, ApiError> {
    let Some(metadata) = &inspection.parsed else {
        let why = match inspection.problems.as_slice() {
            [] => "it carries no metadata, so it declares nothing".to_owned(),
            problems => problems.join("\n"),
        };
        return Err(ApiError::input(format!("{}: {why}", inspection.path.display())));
    };
    let capabilities = &metadata.capabilities;
    let mut text = format!(
        "failures:\n  - id: {}\n    digest: {}\n    clusters: []    # the contexts that it may be used in\n",
        metadata.id, inspection.digest
    );
    if capabilities.rules.is_empty() {
        text.push_str("    rules: []\n");
    } else {
        text.push_str("    rules:\n");
        for rule in &capabilities.rules {
            text.push_str(&format!("      - {}\n", flow(rule)));
        }
    }
    text.push_str(&format!("    unsafe: {}\n", flow(&capabilities.unsafe_)));
    Ok(text)
}

/// One line of JSON, which is YAML as well.
fn flow(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
