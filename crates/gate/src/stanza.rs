//! Lines of the grants file, to be pasted by an operator who has read them.

use crate::{Hazard, Power, Site};

/// What a grants file says of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package<'a> {
    /// Its id.
    pub id: &'a str,
    /// `sha256:…`.
    pub digest: &'a str,
    /// It came as a file from somebody else: only an entry with its digest speaks of it.
    pub imported: bool,
}

impl<'a> From<&'a catalog::Failure> for Package<'a> {
    fn from(failure: &'a catalog::Failure) -> Self {
        let imported = matches!(failure.origin, catalog::Origin::Wasm(_));
        Self { id: failure.metadata.id.as_str(), digest: &failure.digest, imported }
    }
}

/// The entry that grants a failure this power, `$(case)` being `case_namespace`; everywhere, or on one cluster.
pub fn failure_stanza(package: Package<'_>, power: &Power, cluster: Option<&str>, case_namespace: &str) -> String {
    let mut text = format!("failures:\n  - id: {}\n", word(package.id));
    if package.imported {
        text.push_str(&format!("    digest: {}\n", package.digest));
    }
    if let Some(cluster) = cluster {
        text.push_str(&format!("    clusters: [{}]\n", word(cluster)));
    }
    text.push_str(&power_lines(power, case_namespace).replace("\n", "\n    ").trim_end().replacen("", "    ", 1));
    text.push('\n');
    text
}

/// The entry that lets a matrix give an agent this access on a cluster.
pub fn agent_stanza(agent: &str, access: &str, site: Site<'_>) -> String {
    format!("agents:\n  - {{id: {}, clusters: [{}], access: {}}}\n", word(agent), word(site.name), word(access))
}

/// `rules` and `unsafe` of an entry, not indented.
pub(crate) fn power_lines(power: &Power, case_namespace: &str) -> String {
    let mut text = String::new();
    if !power.rules.is_empty() {
        text.push_str("rules:\n");
        power.rules.iter().for_each(|rule| text.push_str(&format!("  {}\n", rule.to_yaml(case_namespace))));
    }
    if !power.hazards.is_empty() {
        let words: Vec<&str> = power.hazards.iter().map(|hazard: &Hazard| hazard.as_str()).collect();
        text.push_str(&format!("unsafe: [{}]\n", words.join(", ")));
    }
    if text.is_empty() { "rules: []\n".to_owned() } else { text }
}

/// A word of YAML inside brackets, in quotes where it needs them.
pub(crate) fn word(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-./@_".contains(&b))
        && !matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off");
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
