//! `execution` and `accept`. What this version does not act on is an error, since somebody would rely on it.

use std::path::{Component, PathBuf};
use std::time::Duration;

use yaml::At;

use crate::{Accept, BaselineFile, Execution};

/// A case of more than a day is a mistake.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

pub(super) fn execution(at: &At<'_>) -> Option<Execution> {
    const KEYS: &[&str] =
        &["parallel_clusters", "parallel_tests_per_cluster", "timeout_per_test", "repeats", "retries", "max_cost_usd"];
    let fields = at.fields("execution section", KEYS)?;
    let count = |key, default, min, max| {
        fields.or(key, default, |at| at.unsigned(min, max).and_then(|value| u32::try_from(value).ok()))
    };
    let parallel_clusters = count("parallel_clusters", 1, 1, 1_000);
    let parallel_tests_per_cluster = count("parallel_tests_per_cluster", 1, 1, 1_000);
    let timeout_per_test = fields.maybe("timeout_per_test", |at| at.duration(MAX_TIMEOUT));
    let repeats = count("repeats", 1, 1, 1_000_000);
    let retries = count("retries", 0, 0, 10);
    let max_cost_usd = fields.maybe("max_cost_usd", |at| at.number(0.0, 1e9));
    Some(Execution {
        parallel_clusters: parallel_clusters?,
        parallel_tests_per_cluster: parallel_tests_per_cluster?,
        timeout_per_test: timeout_per_test?,
        repeats: repeats?,
        retries: retries?,
        max_cost_usd: max_cost_usd?,
    })
}

pub(super) fn accept(at: &At<'_>) -> Option<Accept> {
    let fields = at.fields("accept section", &["min_pass_rate", "max_unjudged", "baseline", "max_drop"])?;
    let rate = |key| {
        fields.maybe(key, |at| match at.node().to_json().as_str().filter(|text| text.ends_with('%')) {
            Some(percent) => {
                at.error_with_help(format!("`{percent}` is not a rate"), "rates are from 0 to 1, as in `0.8`")
            }
            None => at.number(0.0, 1.0),
        })
    };
    let (min_pass_rate, max_unjudged) = (rate("min_pass_rate"), rate("max_unjudged"));
    let (baseline, max_drop) = (fields.maybe("baseline", |at| baseline(&at)), rate("max_drop"));
    if let (Some(at), false) = (fields.optional("max_drop"), fields.has("baseline")) {
        return at.error_with_help(
            "`max_drop` needs a `baseline` to drop from",
            "add one: `harness-cli runs export RUN --baseline --output FILE` writes it",
        );
    }
    Some(Accept {
        min_pass_rate: min_pass_rate?,
        max_unjudged: max_unjudged?,
        baseline: baseline?,
        max_drop: max_drop?,
    })
}

/// A matrix comes from a stranger: what it names lies beside or below it, or is not read.
fn baseline(at: &At<'_>) -> Option<BaselineFile> {
    let written = at.nonempty()?;
    let path = PathBuf::from(&written);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside || written.starts_with('~') {
        return at.error_with_help(
            format!("`{written}` is not inside the folder of the matrix"),
            "put the baseline beside the matrix or below, as in `ci/baseline.json`",
        );
    }
    Some(BaselineFile { path, span: at.span() })
}
