//! Compares two looks at a cluster by the rules of equivalence. Pure: it asks nobody.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::baseline::{Baseline, Owner, Record, Table};
use crate::ownership::{Attribution, Key};
use crate::rules::{KindRules, Rules, qualified};

/// How an object differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    LeftOver,
    Changed,
    Missing,
}

impl What {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            What::LeftOver => "left_over",
            What::Changed => "changed",
            What::Missing => "missing",
        }
    }
}

/// One difference.
#[derive(Debug)]
pub(crate) struct Finding<'a> {
    pub(crate) table: &'a Table,
    /// The object as it is, or as it was when it is missing.
    pub(crate) record: &'a Record,
    pub(crate) what: What,
    pub(crate) evidence: Vec<String>,
}

/// A kind in both looks. Where one has nothing of it there is an empty table.
#[derive(Clone, Copy)]
struct Pair<'a> {
    before: &'a Table,
    now: &'a Table,
    rules: &'a KindRules,
}

/// Finds what differs.
pub(crate) struct Comparison<'a> {
    pub(crate) before: &'a Baseline,
    pub(crate) now: &'a Baseline,
    pub(crate) rules: &'a Rules,
    pub(crate) attribution: &'a Attribution<'a>,
    /// Tables without records, for kinds that one look does not have.
    pub(crate) empty: &'a BTreeMap<(&'a str, &'a str), Table>,
}

/// An empty table for each kind that only one of two looks has.
pub(crate) fn gaps<'a>(before: &'a Baseline, now: &'a Baseline) -> BTreeMap<(&'a str, &'a str), Table> {
    let alone = |look: &'a Baseline, other: &'a Baseline| {
        look.tables.iter().map(|table| &table.kind).filter(|kind| other.table(&kind.group, &kind.resource).is_none())
    };
    alone(before, now).chain(alone(now, before)).map(|kind| (kind.id(), Table::new(kind.clone()))).collect()
}

impl<'a> Comparison<'a> {
    /// Every difference, kind by kind.
    pub(crate) fn findings(&self) -> Vec<Finding<'a>> {
        let quiet = self.quiet();
        let mut findings = Vec::new();
        for pair in self.pairs() {
            self.by_name(pair, &quiet, &mut findings);
            self.by_controller(pair, &quiet, &mut findings);
        }
        findings
    }

    fn pairs(&self) -> Vec<Pair<'a>> {
        let kinds: BTreeSet<(&'a str, &'a str)> =
            [self.before, self.now].into_iter().flat_map(|look| &look.tables).map(|table| table.kind.id()).collect();
        let unlisted = |look: &Baseline, id: (&str, &str)| {
            let (kind, group) = (qualified(id.0, id.1), format!("{}/", id.0));
            look.unreachable.iter().any(|lost| lost.kind == kind || lost.kind.starts_with(&group))
        };
        kinds
            .into_iter()
            // What one look could not see is not a difference.
            .filter(|id| {
                [self.before, self.now].iter().all(|look| look.table(id.0, id.1).is_some() || !unlisted(look, *id))
            })
            .filter_map(|id| {
                let rules = self.rules.kind(id.0, id.1);
                Some(Pair { before: self.table(self.before, id)?, now: self.table(self.now, id)?, rules })
            })
            .collect()
    }

    fn table(&self, look: &'a Baseline, id: (&'a str, &'a str)) -> Option<&'a Table> {
        look.table(id.0, id.1).or_else(|| self.empty.get(&id))
    }

    /// What controllers keep, drop and write as they see fit, in either look: its coming and going is no difference.
    fn quiet(&self) -> HashSet<Key<'a>> {
        let mut quiet = HashSet::new();
        for pair in self.pairs() {
            for table in [pair.before, pair.now] {
                for record in &table.records {
                    if self.is_history(pair.rules, table, record)
                        || self.is_mirror(pair.rules, record)
                        || pair.rules.provided.contains(&record.name)
                    {
                        quiet.insert(key(table, record));
                    }
                }
            }
        }
        quiet
    }

    fn is_history(&self, rules: &KindRules, table: &Table, record: &'a Record) -> bool {
        let Some(history) = &rules.history else { return false };
        if history.when_zero.as_ref().is_some_and(|number| table.number(record, number) != Some(0)) {
            return false;
        }
        record.controller().and_then(|owner| self.attribution.key_of(owner, &record.namespace)).is_some_and(|owner| {
            let lives =
                |look: &Baseline| look.table(owner.0, owner.1).and_then(|table| table.find(owner.2, owner.3)).is_some();
            (history.of == "*" || history.of == qualified(owner.0, owner.1)) && lives(self.before) && lives(self.now)
        })
    }

    fn is_mirror(&self, rules: &KindRules, record: &Record) -> bool {
        let Some((of, with)) = &rules.mirrors else { return false };
        let (resource, group) = of.split_once('.').unwrap_or((of, ""));
        [self.before, self.now].into_iter().any(|look| {
            look.table(group, resource).is_some_and(|table| {
                let found = table.find(&record.namespace, &record.name);
                found.is_some_and(|record| table.digests(record).contains_key(with.as_str()))
            })
        })
    }

    /// Objects that are known by their names.
    fn by_name(&self, pair: Pair<'a>, quiet: &HashSet<Key<'a>>, findings: &mut Vec<Finding<'a>>) {
        let grouped = |record: &Record| pair.rules.replaceable && record.controller().is_some();
        let mirrored = |record: &Record| self.is_mirror(pair.rules, record);
        for record in &pair.now.records {
            if let Some(old) = pair.before.find(&record.namespace, &record.name) {
                if grouped(record) && grouped(old) || mirrored(record) || record.is_untouched(old) {
                    continue;
                }
                let evidence = pair.differences(old, record);
                if !evidence.is_empty() {
                    findings.push(Finding { table: pair.now, record, what: What::Changed, evidence });
                }
            } else if !grouped(record) && !quiet.contains(&key(pair.now, record)) {
                let evidence = if record.deleting { vec!["it is being deleted".into()] } else { Vec::new() };
                findings.push(Finding { table: pair.now, record, what: What::LeftOver, evidence });
            }
        }
        for record in &pair.before.records {
            let there = pair.now.find(&record.namespace, &record.name).is_some();
            if !there && !record.deleting && !grouped(record) && !quiet.contains(&key(pair.before, record)) {
                findings.push(Finding { table: pair.before, record, what: What::Missing, evidence: Vec::new() });
            }
        }
    }

    /// Objects that their controllers make and replace under names that change.
    fn by_controller(&self, pair: Pair<'a>, quiet: &HashSet<Key<'a>>, findings: &mut Vec<Finding<'a>>) {
        if !pair.rules.replaceable {
            return;
        }
        let (before, now) = (groups(pair.before), groups(pair.now));
        for (controller, now) in &now {
            let before = before.get(controller).map(Vec::as_slice).unwrap_or_default();
            if !self.is_quiet(controller, quiet) {
                self.group(pair, controller, before, now, findings);
            }
        }
        for (controller, before) in before.iter().filter(|(controller, _)| !now.contains_key(*controller)) {
            // A controller that is gone is told by its own name.
            if !self.is_quiet(controller, quiet) && self.controller(self.now, controller).is_some() {
                self.group(pair, controller, before, &[], findings);
            }
        }
    }

    /// Whether a controller itself comes and goes; one that is kept while it has nothing must have nothing.
    fn is_quiet(&self, (namespace, owner): &(&'a str, &'a Owner), quiet: &HashSet<Key<'a>>) -> bool {
        self.attribution.key_of(owner, namespace).is_some_and(|key| {
            let history = self.rules.kind(key.0, key.1).history.as_ref();
            quiet.contains(&key) && history.is_some_and(|history| history.when_zero.is_none())
        })
    }

    fn controller(
        &self,
        look: &'a Baseline,
        (namespace, owner): &(&'a str, &'a Owner),
    ) -> Option<(&'a Table, &'a Record)> {
        let (group, resource, namespace, name) = self.attribution.key_of(owner, namespace)?;
        let table = look.table(group, resource)?;
        Some((table, table.find(namespace, name)?))
    }

    fn group(
        &self,
        pair: Pair<'a>,
        controller: &(&'a str, &'a Owner),
        before: &[&'a Record],
        now: &[&'a Record],
        findings: &mut Vec<Finding<'a>>,
    ) {
        let staying = |records: &[&'a Record]| records.iter().filter(|record| !record.deleting).count();
        let alike: HashSet<Likeness<'_>> = before.iter().map(|record| pair.likeness(pair.before, record)).collect();
        let mut told = false;
        for record in now {
            let old = before.iter().find(|old| old.name == record.name);
            let (what, evidence) = if record.deleting {
                match old {
                    Some(old) if old.deleting => continue,
                    _ => (What::LeftOver, vec!["it is being deleted".to_owned()]),
                }
            } else if old.is_some_and(|old| old.is_untouched(record))
                || before.is_empty()
                || alike.contains(&pair.likeness(pair.now, record))
            {
                continue;
            } else if let Some(old) = old {
                (What::Changed, pair.differences(old, record))
            } else {
                (What::LeftOver, vec![format!("unlike those that {} {} had", controller.1.kind, controller.1.name)])
            };
            told = true;
            findings.push(Finding { table: pair.now, record, what, evidence });
        }
        let (had, has) = (staying(before), staying(now));
        let wanted = self.controller(self.now, controller).and_then(|(table, record)| {
            let place = self.rules.kind(&table.kind.group, &table.kind.resource).desired.as_ref()?;
            usize::try_from(table.number(record, &place.section())?).ok()
        });
        if told || has == had || wanted == Some(has) {
            return;
        }
        let evidence = vec![format!("{} {} has {has}, had {had}", controller.1.kind, controller.1.name)];
        let name = |record: &&&'a Record| record.name.as_str();
        let others = |records: &[&'a Record], of: &[&'a Record]| {
            let names: HashSet<&str> = of.iter().map(|record| record.name.as_str()).collect();
            records.iter().find(|record| !names.contains(name(record))).copied()
        };
        let (table, record, what) = if has > had {
            (pair.now, others(now, before), What::LeftOver)
        } else {
            (pair.before, others(before, now), What::Missing)
        };
        if let Some(record) = record {
            findings.push(Finding { table, record, what, evidence });
        }
    }
}

/// What one replaceable object must have in common with another to stand for it.
type Likeness<'a> = Vec<(&'a str, u64)>;

impl<'a> Pair<'a> {
    fn likeness<'t>(&self, table: &'t Table, record: &Record) -> Likeness<'t> {
        table.digests(record).into_iter().filter(|(section, _)| !self.rules.is_filled(section)).collect()
    }

    /// The sections in which an object differs from what it was, in words.
    fn differences(&self, old: &Record, new: &Record) -> Vec<String> {
        let (before, now) = (self.before.digests(old), self.now.digests(new));
        let anew = old.uid != new.uid;
        let sections: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
        let mut differences: Vec<String> = sections
            .into_iter()
            .filter(|section| before.get(section) != now.get(section) && !(anew && self.rules.is_filled(section)))
            .map(|section| match (before.get(section), now.get(section)) {
                (None, _) => format!("{section} was not there"),
                (_, None) => format!("{section} is gone"),
                _ => format!("{section} differs"),
            })
            .collect();
        if old.owners != new.owners {
            differences.push("metadata.ownerReferences differs".into());
        }
        if new.deleting && !old.deleting {
            differences.push("it is being deleted".into());
        }
        for section in self.rules.at_least.iter().map(crate::rules::Place::section) {
            let number = |table: &Table, record| table.number(record, &section).unwrap_or(0);
            let (was, is) = (number(self.before, old), number(self.now, new));
            if is < was {
                differences.push(format!("{section} is {is}, was {was}"));
            }
        }
        differences
    }
}

fn key<'a>(table: &'a Table, record: &'a Record) -> Key<'a> {
    (&table.kind.group, &table.kind.resource, &record.namespace, &record.name)
}

/// Objects by namespace and controller.
fn groups(table: &Table) -> BTreeMap<(&str, &Owner), Vec<&Record>> {
    let mut groups: BTreeMap<(&str, &Owner), Vec<&Record>> = BTreeMap::new();
    for record in &table.records {
        if let Some(controller) = record.controller() {
            groups.entry((&record.namespace, controller)).or_default().push(record);
        }
    }
    groups
}
