//! Looking into a packed failure without running any of its code.

use std::path::Path;

use catalog::Inspection;
use gate::{CASE, Hazard, Package, Power, failure_stanza};

use crate::ApiError;

/// Looks into a file. Holds for files of any origin.
///
/// # Errors
/// It cannot be read, or is no failure; the message says what it is instead.
pub fn failures_inspect(path: &Path) -> Result<Inspection, ApiError> {
    catalog::inspect(path).map_err(|error| ApiError::input(error.to_string()))
}

/// The lines of the grants file that allow a packed failure all that it declares. An operator reads them before pasting
/// them, and names the clusters where it is not to hold everywhere.
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
    let mut power = Power::from(&metadata.capabilities);
    if runs_a_script(inspection) {
        power.hazards.insert(Hazard::HostScript);
    }
    let package = Package { id: metadata.id.as_str(), digest: &inspection.digest, imported: true };
    let stanza = failure_stanza(package, &power.in_case(CASE), None, CASE);
    let (digest, rest) =
        ("    digest: ", "    # clusters: [admin@staging]    only there; left out, it holds everywhere\n");
    let lines = stanza.lines().map(|line| {
        let after = if line.starts_with(digest) { rest } else { "" };
        format!("{line}\n{after}")
    });
    Ok(lines.collect())
}

/// A script that came in a file runs on this machine only with a word of its own.
fn runs_a_script(inspection: &Inspection) -> bool {
    inspection.world == "scripted-failure"
}

#[cfg(test)]
mod tests {
    use super::*;
    use catalog::Metadata;
    use gate::{Grants, Site};
    use yaml::Source;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn inspection(world: &'static str, capabilities: serde_json::Value) -> Inspection {
        let json = serde_json::json!({
            "id": "imported", "name": "n", "description": "d", "expected_duration": "30s", "capabilities": capabilities,
        });
        Inspection {
            path: "imported.wasm".into(),
            size: 1,
            digest: DIGEST.into(),
            world,
            imports: Vec::new(),
            foreign_imports: Vec::new(),
            exports: Vec::new(),
            parsed: Some(Metadata::from_json("metadata", &json).expect("metadata")),
            metadata: Some(json),
            problems: Vec::new(),
            files: Default::default(),
            sections: Vec::new(),
        }
    }

    #[test]
    fn the_stanza_can_be_pasted_and_grants_what_is_needed_to_this_package_alone() {
        let rules = serde_json::json!([
            {"apiGroups": [""], "resources": ["pods", "pods/log"], "resourceNames": ["a b"], "verbs": ["get", "delete"]},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"], "namespaces": ["*"]},
            {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
        ]);
        for (world, capabilities) in [
            ("failure", serde_json::json!({"rules": rules, "unsafe": ["rbac", "exec"]})),
            ("scripted-failure", serde_json::json!({"rules": rules})),
            ("failure", serde_json::json!({})),
        ] {
            let inspection = inspection(world, capabilities);
            let stanza = grants_stanza(&inspection).expect("a stanza");
            let grants = Grants::parse(&Source::new("grants.yaml", &stanza)).expect(&stanza);
            let mut needed = Power::from(&inspection.parsed.as_ref().expect("metadata").capabilities);
            if world == "scripted-failure" {
                needed.hazards.insert(Hazard::HostScript);
            }
            let of = |digest| {
                let package = Package { id: "imported", digest, imported: true };
                grants.failure(package, Site::existing("anywhere", "https://a"))
            };
            assert_eq!(of(DIGEST).lines_for(&needed), None, "{stanza}");
            let other = format!("sha256:{}", "0".repeat(64));
            assert!(of(&other).power().is_empty(), "{stanza}");
        }
    }
}
