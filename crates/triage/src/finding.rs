//! A finding: something that is wrong, which object causes it, what kind of fault it is, how sure the rule is.

use crate::snapshot::{ObjectName, Snapshot};

/// How much a finding explains. Causes come before their consequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Odd, but it may be meant so.
    Hint,
    /// Wrong, but most likely the consequence of something else.
    Consequence,
    /// Wrong, and what it is can be seen, but not well why.
    Symptom,
    /// The cluster itself says what is wrong.
    Cause,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule that found it.
    pub rule: &'static str,
    /// How much it explains.
    pub weight: Weight,
    /// The object to blame: the topmost controller.
    pub root: ObjectName,
    /// Other objects that are part of the cause: a claim, a config map that is missing.
    pub related: Vec<ObjectName>,
    /// The object that shows it.
    pub seen_on: ObjectName,
    /// A word of the taxonomy.
    pub fault_type: &'static str,
    /// For people.
    pub message: String,
}

/// Sorts findings: the strongest first, then those that more objects agree on, then by name.
pub(crate) fn rank(mut findings: Vec<Finding>) -> Vec<Finding> {
    let votes = |findings: &[Finding], f: &Finding| {
        findings.iter().filter(|other| other.root == f.root && other.weight == f.weight).count()
    };
    let all = findings.clone();
    findings.sort_by(|a, b| {
        let strength = |f: &Finding| (f.weight, votes(&all, f));
        strength(b).cmp(&strength(a)).then_with(|| (&a.root, a.rule, &a.seen_on).cmp(&(&b.root, b.rule, &b.seen_on)))
    });
    findings
}

/// Everything that is wrong, the strongest finding first. A healthy snapshot gives none.
pub fn analyse(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in crate::rules::ALL {
        rule(snapshot, &mut findings);
    }
    rank(findings)
}

/// Whether the cluster is still on its way: another look a little later may show more.
pub fn unsettled(snapshot: &Snapshot) -> bool {
    crate::rules::unsettled(snapshot)
}
