//! What a cluster holds at one moment, by digest: small, free of contents, and kept in the journal so that another process
//! can compare with it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::normal::{self, Sections};
use crate::rules::Rules;

/// A kind of object, in the version in which it was listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kind {
    #[serde(rename = "g")]
    pub(crate) group: String,
    #[serde(rename = "v")]
    pub(crate) version: String,
    #[serde(rename = "r")]
    pub(crate) resource: String,
    #[serde(rename = "k")]
    pub(crate) kind: String,
    #[serde(rename = "n")]
    pub(crate) namespaced: bool,
}

impl Kind {
    /// `v1`, `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of all objects of the kind.
    pub(crate) fn path(&self) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        format!("{root}/{}/{}", self.api_version(), self.resource)
    }

    /// What a kind is known by, whatever its version.
    pub(crate) fn id(&self) -> (&str, &str) {
        (&self.group, &self.resource)
    }
}

/// An object that another belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Owner {
    #[serde(rename = "g")]
    pub(crate) group: String,
    #[serde(rename = "k")]
    pub(crate) kind: String,
    /// Only of what `refers` names: an owner proper lives in the namespace of what it owns, or in none.
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    pub(crate) namespace: String,
    #[serde(rename = "n")]
    pub(crate) name: String,
    #[serde(rename = "c", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) controller: bool,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    pub(crate) namespace: String,
    #[serde(rename = "n")]
    pub(crate) name: String,
    #[serde(rename = "u")]
    pub(crate) uid: String,
    #[serde(rename = "v")]
    pub(crate) resource_version: String,
    /// Owner references, by what they name.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) owners: Vec<Owner>,
    /// Objects that it belongs to in another way.
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) refers: Vec<Owner>,
    /// The node without which it goes away.
    #[serde(rename = "h", default, skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    /// The value of [`gate::LABEL`].
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleting: bool,
    /// Digests by the number of the section.
    #[serde(rename = "m")]
    pub(crate) digests: Vec<(u32, u64)>,
    #[serde(rename = "q", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) numbers: Vec<(u32, i64)>,
}

impl Record {
    /// The owner that makes and removes it.
    pub(crate) fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    /// Whether it is the same object in the same state.
    pub(crate) fn is_untouched(&self, other: &Self) -> bool {
        self.uid == other.uid && self.resource_version == other.resource_version
    }
}

/// All objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) kind: Kind,
    /// Names of sections, which records give by number.
    pub(crate) sections: Vec<String>,
    /// By namespace and name.
    pub(crate) records: Vec<Record>,
}

impl Table {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, sections: Vec::new(), records: Vec::new() }
    }

    /// Where a name is, or would be.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<&Record> {
        let at = self.records.binary_search_by(|r| (r.namespace.as_str(), r.name.as_str()).cmp(&(namespace, name)));
        self.records.get(at.ok()?)
    }

    /// The digests of a record by name of section.
    pub(crate) fn digests<'a>(&'a self, record: &Record) -> BTreeMap<&'a str, u64> {
        record.digests.iter().filter_map(|(n, digest)| Some((self.section(*n)?, *digest))).collect()
    }

    /// A number of a record.
    pub(crate) fn number(&self, record: &Record, section: &str) -> Option<i64> {
        record.numbers.iter().find(|(n, _)| self.section(*n) == Some(section)).map(|(_, number)| *number)
    }

    fn section(&self, number: u32) -> Option<&str> {
        self.sections.get(usize::try_from(number).ok()?).map(String::as_str)
    }

    fn sort(&mut self) {
        self.records.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    }
}

/// A kind that could not be listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreachable {
    /// `deployments.apps`; a whole group where not even its kinds could be asked for.
    pub kind: String,
    /// Why.
    pub why: String,
}

/// What a cluster held when it was looked at. Holds digests and names, no contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The version of the rules by which it was taken.
    pub(crate) rules: u32,
    /// By group and resource.
    pub(crate) tables: Vec<Table>,
    pub(crate) unreachable: Vec<Unreachable>,
}

impl Baseline {
    pub(crate) fn new(rules: &Rules, mut tables: Vec<Table>, mut unreachable: Vec<Unreachable>) -> Self {
        tables.sort_by(|a, b| a.kind.id().cmp(&b.kind.id()));
        tables.iter_mut().for_each(Table::sort);
        unreachable.sort_by(|a, b| a.kind.cmp(&b.kind));
        Self { rules: rules.version, tables, unreachable }
    }

    /// Kinds that could not be listed, and so will not be compared.
    pub fn unreachable(&self) -> &[Unreachable] {
        &self.unreachable
    }

    /// How many objects it knows.
    pub fn objects(&self) -> usize {
        self.tables.iter().map(|table| table.records.len()).sum()
    }

    pub(crate) fn table(&self, group: &str, resource: &str) -> Option<&Table> {
        let at = self.tables.binary_search_by(|table| table.kind.id().cmp(&(group, resource)));
        self.tables.get(at.ok()?)
    }
}

/// Fills a table from objects as they are listed.
#[derive(Debug)]
pub(crate) struct Filler<'a> {
    table: Table,
    numbers: HashMap<String, u32>,
    rules: &'a Rules,
    /// An earlier look: what has not changed since is not digested again.
    known: Option<&'a Table>,
}

impl<'a> Filler<'a> {
    pub(crate) fn new(kind: Kind, rules: &'a Rules, known: Option<&'a Table>) -> Self {
        let mut table = Table::new(kind);
        let known = known.filter(|known| known.kind.version == table.kind.version);
        // Numbers of sections stay the same, so that records can be taken over.
        table.sections = known.map(|known| known.sections.clone()).unwrap_or_default();
        let numbers = (0..).zip(&table.sections).map(|(number, name)| (name.clone(), number)).collect();
        Self { table, numbers, rules, known }
    }

    /// Forgets what was listed so far.
    pub(crate) fn restart(&mut self) {
        self.table.records.clear();
    }

    pub(crate) fn finish(self) -> Table {
        self.table
    }

    /// Takes an object in, unless a rule says that the cluster itself writes it.
    pub(crate) fn add(&mut self, object: Value) {
        let kind = self.rules.kind(&self.table.kind.group, &self.table.kind.resource);
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some((label, like)) = &kind.written_by
            && metadata["labels"].get(label).and_then(Value::as_str).is_some_and(|writer| like.matches(writer))
        {
            return;
        }
        let mut record = Record {
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            resource_version: text(&metadata["resourceVersion"]),
            owners: owners(&metadata["ownerReferences"]),
            refers: kind.refers.iter().filter_map(|place| refers(at(&object, &place.0)?)).collect(),
            host: kind.hosted.as_ref().and_then(|place| at(&object, &place.0)).map(text).unwrap_or_default(),
            label: metadata["labels"].get(gate::LABEL).and_then(Value::as_str).map(str::to_owned),
            deleting: !metadata["deletionTimestamp"].is_null(),
            digests: Vec::new(),
            numbers: Vec::new(),
        };
        let known = self.known.and_then(|known| known.find(&record.namespace, &record.name));
        if let Some(known) = known.filter(|known| known.is_untouched(&record)) {
            self.table.records.push(known.clone());
            return;
        }
        for place in kind.numbers() {
            if let Some(number) = normal::number(&object, place) {
                record.numbers.push((self.section(place.section()), number));
            }
        }
        record.digests = self.take(normal::sections(object, kind, self.rules));
        self.table.records.push(record);
    }

    fn take(&mut self, sections: Sections) -> Vec<(u32, u64)> {
        sections.into_iter().map(|(name, digest)| (self.section(name), digest)).collect()
    }

    fn section(&mut self, name: String) -> u32 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        // More sections than that do not fit into any memory.
        let number = u32::try_from(self.table.sections.len()).unwrap_or(u32::MAX);
        self.table.sections.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}

fn at<'a>(object: &'a Value, steps: &[String]) -> Option<&'a Value> {
    steps.iter().try_fold(object, |value, step| value.get(step))
}

fn group_of(api_version: &str) -> String {
    api_version.split_once('/').map(|(group, _)| group).unwrap_or_default().to_owned()
}

fn owners(references: &Value) -> Vec<Owner> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut owners: Vec<Owner> = references
        .as_array()
        .into_iter()
        .flatten()
        .map(|reference| Owner {
            group: group_of(reference["apiVersion"].as_str().unwrap_or_default()),
            kind: text(&reference["kind"]),
            namespace: String::new(),
            name: text(&reference["name"]),
            controller: reference["controller"] == true,
        })
        .collect();
    owners.sort();
    owners
}

fn refers(reference: &Value) -> Option<Owner> {
    let text = |key: &str| reference[key].as_str().unwrap_or_default().to_owned();
    let named = Owner {
        group: group_of(&text("apiVersion")),
        kind: text("kind"),
        namespace: text("namespace"),
        name: text("name"),
        controller: false,
    };
    (!named.name.is_empty()).then_some(named)
}
