//! What a caller does with baselines: takes one, compares with it, or waits until the cluster is as it was.

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use kube::Client;
use model::Leak;
use serde_json::Value;

use crate::baseline::{Baseline, Unreachable};
use crate::compare::{Comparison, Finding, gaps};
use crate::ownership::{Attribution, Ownership};
use crate::rules::{Rules, qualified};
use crate::snapshot::look;

/// Differences of one sort that are told; the rest are counted.
const TOLD: usize = 100;
/// Cluster time between the first two comparisons; each later pause is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often in a row a comparison may fail before that is the result.
const FAILURES: u32 = 3;

/// Why it cannot be said whether a cluster is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertifyError {
    /// The API server did not answer.
    #[error("the cluster could not be asked what it holds: {0}")]
    Away(String),
    /// Objects that could be listed before cannot be listed now.
    #[error("{kind} could be listed before the case and cannot be now: {why}")]
    Lost {
        /// `deployments.apps`.
        kind: String,
        /// What the server said.
        why: String,
    },
    /// The baseline was taken by another version of this program.
    #[error(
        "the baseline was taken by version {taken} of the rules of equivalence, this program has version {current}"
    )]
    Rules {
        /// Of the baseline.
        taken: u32,
        /// Of this program.
        current: u32,
    },
}

/// What is not as it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Differences {
    /// What the case left behind, broke or removed.
    pub leaks: Vec<Leak>,
    /// What somebody else did meanwhile: a warning.
    pub foreign: Vec<Leak>,
    /// Kinds that were not compared, because one of the two looks could not see them.
    pub unchecked: Vec<Unreachable>,
}

impl Differences {
    /// Whether the case left nothing behind, as far as it could be seen.
    pub fn is_clean(&self) -> bool {
        self.leaks.is_empty()
    }
}

impl Baseline {
    /// Looks at everything that the cluster can list. Kinds that it cannot are remembered as unreachable.
    ///
    /// # Errors
    /// [`CertifyError::Away`] when the cluster does not even say which kinds it has.
    pub async fn take(client: &Client) -> Result<Self, CertifyError> {
        look(client, Rules::standard(), None).await
    }
}

/// Looks again and compares.
///
/// # Errors
/// [`CertifyError`] when the cluster does not answer, or no longer lists something that the case touched or that every
/// cluster has.
pub async fn compare(
    client: &Client,
    baseline: &Baseline,
    ownership: &Ownership<'_>,
) -> Result<Differences, CertifyError> {
    let rules = Rules::standard();
    if baseline.rules != rules.version {
        return Err(CertifyError::Rules { taken: baseline.rules, current: rules.version });
    }
    let now = look(client, rules, Some(baseline)).await?;
    judge(baseline, &now, rules, ownership)
}

/// Compares until the cluster is as it was, for at most `max` of cluster time: controllers need some to follow an undo. A
/// cluster that can hurry does so between comparisons. The last comparison is the result.
///
/// # Errors
/// As [`compare`], when it fails several times in a row.
pub async fn certify_until(
    client: &Client,
    clock: &Arc<dyn Clock>,
    max: Duration,
    baseline: &Baseline,
    ownership: &Ownership<'_>,
) -> Result<Differences, CertifyError> {
    let deadline = clock.now().checked_add(max).unwrap_or(jiff::Timestamp::MAX);
    let (mut pause, mut failures) = (PAUSE, 0);
    loop {
        let compared = compare(client, baseline, ownership).await;
        let now = clock.now();
        match &compared {
            Ok(differences) if differences.is_clean() => return compared,
            Ok(_) => failures = 0,
            Err(CertifyError::Rules { .. }) => return compared,
            Err(_) => failures += 1,
        }
        if now >= deadline || failures == FAILURES {
            return compared;
        }
        let until = now.checked_add(pause).unwrap_or(deadline).min(deadline);
        // The wait itself is what is waited for: that it is over tells nothing.
        let _ = clock::run_until(clock, pause, clock.sleep_until(until)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Compares two looks.
pub(crate) fn judge(
    before: &Baseline,
    now: &Baseline,
    rules: &Rules,
    ownership: &Ownership<'_>,
) -> Result<Differences, CertifyError> {
    let mut differences = Differences::default();
    for lost in &now.unreachable {
        if must_be_seen(before, ownership, &lost.kind) {
            return Err(CertifyError::Lost { kind: lost.kind.clone(), why: lost.why.clone() });
        }
    }
    for lost in before.unreachable.iter().chain(&now.unreachable) {
        if !differences.unchecked.iter().any(|known| known.kind == lost.kind) {
            differences.unchecked.push(lost.clone());
        }
    }
    let attribution = Attribution::new(*ownership, before, now);
    let empty = gaps(before, now);
    let comparison = Comparison { before, now, rules, attribution: &attribution, empty: &empty };
    for finding in comparison.findings() {
        let gone = now.table(&finding.table.kind.group, &finding.table.kind.resource);
        let gone = gone.is_none_or(|table| table.find(&finding.record.namespace, &finding.record.name).is_none());
        match attribution.because(finding.table, finding.record, gone) {
            Some(why) => differences.leaks.push(leak(&finding, Some(why))),
            None => differences.foreign.push(leak(&finding, None)),
        }
    }
    shorten(&mut differences.leaks);
    shorten(&mut differences.foreign);
    Ok(differences)
}

/// Whether it would be a lie to call a cluster clean that does not list this kind: it did before, and the case touched
/// such an object, or it is a kind that every cluster has.
fn must_be_seen(before: &Baseline, ownership: &Ownership<'_>, lost: &str) -> bool {
    let group_version = lost.contains('/');
    let seen = before.tables.iter().find(|table| {
        let kind = &table.kind;
        if group_version { kind.api_version() == lost } else { qualified(&kind.group, &kind.resource) == lost }
    });
    let Some(table) = seen else { return false };
    let group = table.kind.group.as_str();
    let touched = ownership
        .touched
        .iter()
        .any(|key| key.group == group && (group_version || key.resource == table.kind.resource));
    touched || !group.contains('.') || group.ends_with(".k8s.io")
}

fn leak(finding: &Finding<'_>, because: Option<String>) -> Leak {
    let (kind, record) = (&finding.table.kind, finding.record);
    let namespace = if record.namespace.is_empty() { String::new() } else { format!("{}/", record.namespace) };
    let evidence = finding.evidence.iter().cloned().chain(because);
    Leak {
        object: format!("{} {} {namespace}{}", kind.api_version(), kind.kind, record.name),
        what: finding.what.as_str().into(),
        evidence: evidence.map(Value::String).collect(),
    }
}

/// Keeps lists of a length that can be read; the last line says how many there were.
fn shorten(leaks: &mut Vec<Leak>) {
    let more = leaks.len().saturating_sub(TOLD);
    if more > 0 {
        leaks.truncate(TOLD);
        leaks.push(Leak { object: format!("{more} more objects"), what: "changed".into(), evidence: Vec::new() });
    }
}
