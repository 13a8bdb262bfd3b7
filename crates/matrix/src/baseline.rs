//! Baseline files: what `accept.baseline` names. Read with places, since people commit and merge them.

use std::collections::BTreeMap;

use model::{BASELINE_SCHEMA, Baseline, BaselineEntry, ClusterKind, Id, RunId};
use serde_json::Value;
use yaml::{At, Diagnostics, Source};

/// What a baseline must be of, to be compared with.
#[derive(Clone, Copy, Debug)]
pub struct Comparable<'a> {
    /// The version of the scoring rules.
    pub scoring: u32,
    /// `sha256:…` over the prompt; it follows from the matrix's objective.
    pub prompt_digest: &'a str,
}

/// Greater than any count of cases.
const MAX: u64 = 1 << 53;
const ANEW: &str = "run the matrix and export a new one: `harness-cli runs export RUN --baseline --output FILE`";

/// Reads a baseline that results of this program can be compared with.
///
/// # Errors
/// Everything that is wrong with it, with places.
pub fn read_baseline(source: &Source, comparable: Comparable<'_>) -> Result<Baseline, Diagnostics> {
    yaml::read(source, |at| baseline(&at, comparable))
}

fn baseline(at: &At<'_>, comparable: Comparable<'_>) -> Option<Baseline> {
    const KEYS: &[&str] = &["schema", "run_id", "matrix", "harness_version", "scoring", "prompt_digest", "entries"];
    let fields = at.fields("baseline", KEYS)?;
    let schema = fields.required("schema").and_then(|at| match at.unsigned(0, MAX)? {
        version if version == u64::from(BASELINE_SCHEMA) => Some(BASELINE_SCHEMA),
        other => at.error_with_help(format!("this is a baseline of version {other}, not {BASELINE_SCHEMA}"), ANEW),
    });
    let run_id = fields.required("run_id").and_then(|at| at.nonempty()).map(RunId::from_stored);
    let matrix = fields.required("matrix").and_then(|at| at.parsed::<Id>());
    let harness_version = fields.required("harness_version").and_then(|at| at.text());
    let scoring = fields.required("scoring").and_then(|at| match u32::try_from(at.unsigned(0, MAX)?).ok()? {
        version if version == comparable.scoring => Some(version),
        other => {
            let now = comparable.scoring;
            at.error_with_help(format!("it was scored by rules {other}, and this program has rules {now}"), ANEW)
        }
    });
    let prompt_digest = fields.required("prompt_digest").and_then(|at| match at.text()? {
        digest if digest == comparable.prompt_digest => Some(digest),
        _ => at.error_with_help(
            "its agents were asked something else: the matrix has another objective, or this program another prompt",
            ANEW,
        ),
    });
    let entries = fields.required("entries").and_then(|at| at.each(entry));
    Some(Baseline {
        schema: schema?,
        run_id: run_id?,
        matrix: matrix?,
        harness_version: harness_version?,
        scoring: scoring?,
        prompt_digest: prompt_digest?,
        entries: entries?,
    })
}

fn entry(at: &At<'_>) -> Option<BaselineEntry> {
    const KEYS: &[&str] = &["agent", "cluster_kind", "failure", "digest", "params", "passed", "judged"];
    let fields = at.fields("baseline entry", KEYS)?;
    let kinds: Vec<(&str, ClusterKind)> = ClusterKind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    let agent = fields.required("agent").and_then(|at| at.parsed::<Id>());
    let cluster_kind = fields.required("cluster_kind").and_then(|at| at.one_of(&kinds));
    let failure = fields.required("failure").and_then(|at| at.parsed::<Id>());
    let digest = fields.required("digest").and_then(|at| at.nonempty());
    let params = fields.or("params", BTreeMap::new(), |at| match at.json()? {
        Value::Object(map) => Some(map.into_iter().collect()),
        _ => at.error("parameters are a mapping"),
    });
    let judged = fields.required("judged").and_then(|at| at.unsigned(1, MAX));
    let passed = fields.required("passed").and_then(|at| {
        let passed = at.unsigned(0, MAX)?;
        match judged {
            Some(judged) if passed > judged => at.error(format!("{passed} cannot have passed of {judged} judged")),
            _ => Some(passed),
        }
    });
    Some(BaselineEntry {
        agent: agent?,
        cluster_kind: cluster_kind?,
        failure: failure?,
        digest: digest?,
        params: params?,
        passed: passed?,
        judged: judged?,
    })
}
