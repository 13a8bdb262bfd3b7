//! Which cases of a matrix are run: `--filter`, `--rerun`, `--partition`. Whatever selects a case brings the controls that
//! guard it: without them nobody would know whether passing it proves anything.

use std::collections::{BTreeMap, BTreeSet};

use catalog::Library;
use globset::{Glob, GlobMatcher};
use matrix::{CaseSpec, Group, Matrix};

use crate::Partition;
use crate::partition::Dealing;

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// Not one of the keys.
    #[error(
        "filter `{0}`: unknown key `{1}`; write `cluster=`, `failure=`, `agent=`, `tag=`, `case=` (or `!=`), or a glob \
         over case ids"
    )]
    Key(String, String),
    /// Not a glob.
    #[error("filter `{0}`: {1}")]
    Glob(String, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Cluster,
    Failure,
    Agent,
    Tag,
    Case,
}

#[derive(Clone, Debug)]
struct Filter {
    key: Key,
    glob: GlobMatcher,
    /// `!=`: what the glob does not match.
    not: bool,
}

/// The cases of a run. A filter is `KEY=GLOB` or `KEY!=GLOB` with the keys `cluster`, `failure`, `agent`, `tag`, `case`,
/// or a bare glob over case ids; a case is selected when every filter matches it. Controls come along with the cases that
/// they guard, unless a `!=` says that they must not. Without any of the three, all are selected.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    filters: Vec<Filter>,
    /// Tags of the failures that are there, by id.
    tags: BTreeMap<String, Vec<String>>,
    only: Option<BTreeSet<String>>,
    partition: Option<Partition>,
}

impl Selection {
    /// Reads filters; the library says which tags failures have.
    ///
    /// # Errors
    /// [`FilterError`] for the first that cannot be read.
    pub fn parse(filters: &[String], library: &Library) -> Result<Self, FilterError> {
        let filters = filters.iter().map(|text| parse_one(text)).collect::<Result<_, _>>()?;
        let tags = library.iter().map(|failure| (failure.id().to_string(), failure.metadata.tags.clone())).collect();
        Ok(Self { filters, tags, ..Self::default() })
    }

    /// Only these case ids, of those that the filters select.
    #[must_use]
    pub fn only(self, cases: BTreeSet<String>) -> Self {
        Self { only: Some(cases), ..self }
    }

    /// Only this part, of those that are selected otherwise.
    #[must_use]
    pub fn partition(self, partition: Option<Partition>) -> Self {
        Self { partition, ..self }
    }

    /// The selected cases in expansion order. Lazy, as the expansion is.
    pub fn cases<'a>(&'a self, matrix: &'a Matrix) -> impl Iterator<Item = CaseSpec<'a>> + 'a {
        let mut dealing = self.partition.map(Dealing::of);
        let selected = matrix.groups().flat_map(|group| self.of_group(group).map(move |case| (group, case)));
        let in_part = move |(group, case): &(Group<'_>, CaseSpec<'_>)| {
            dealing.as_mut().is_none_or(|dealing| dealing.holds(*group, case))
        };
        selected.filter(in_part).map(|(_, case)| case)
    }

    /// The selected cases of a group, in whichever part, with their controls.
    fn of_group<'a>(&'a self, group: Group<'a>) -> impl Iterator<Item = CaseSpec<'a>> + 'a {
        let guards = group.is_guarded() && group.cases().any(|case| !case.agent.control && self.selects(&case));
        group.cases().filter(move |case| self.selects(case) || (guards && case.agent.control && !self.rules_out(case)))
    }

    /// Whether no case is selected, in whichever part: a mistake, where an empty part is none.
    pub fn is_empty(&self, matrix: &Matrix) -> bool {
        !matrix.cases().any(|case| self.selects(&case))
    }

    /// Whether a `!=` rules the case out.
    fn rules_out(&self, case: &CaseSpec<'_>) -> bool {
        self.filters.iter().any(|filter| filter.not && self.matches(filter, case))
    }

    /// Whether filters and rerun select the case by itself.
    fn selects(&self, case: &CaseSpec<'_>) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(case.id.as_str()))
            && self.filters.iter().all(|filter| self.matches(filter, case) != filter.not)
    }

    fn matches(&self, filter: &Filter, case: &CaseSpec<'_>) -> bool {
        let text = match filter.key {
            Key::Cluster => case.cluster.id.as_str(),
            Key::Failure => case.failure.name.as_str(),
            Key::Agent => case.agent.name.as_str(),
            Key::Case => case.id.as_str(),
            Key::Tag => {
                let tags = self.tags.get(case.failure.id.as_str());
                return tags.is_some_and(|tags| tags.iter().any(|tag| filter.glob.is_match(tag)));
            }
        };
        filter.glob.is_match(text)
    }
}

fn parse_one(text: &str) -> Result<Filter, FilterError> {
    let (key, glob, not) = match text.split_once('=') {
        None => (Key::Case, text, false),
        Some((key, glob)) => {
            let (word, not) = key.strip_suffix('!').map_or((key, false), |word| (word, true));
            let key = match word {
                "cluster" => Key::Cluster,
                "failure" => Key::Failure,
                "agent" => Key::Agent,
                "tag" => Key::Tag,
                "case" => Key::Case,
                _ => return Err(FilterError::Key(text.to_owned(), word.to_owned())),
            };
            (key, glob, not)
        }
    };
    let glob = Glob::new(glob).map_err(|error| FilterError::Glob(text.to_owned(), error.to_string()))?;
    Ok(Filter { key, glob: glob.compile_matcher(), not })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use matrix::Known;
    use proptest::prelude::*;
    use yaml::Source;

    use super::*;

    /// Agents `a0`, `a1`, …, the controls among them `x0`, `x1`, …, on clusters `c0`, … with failures `f0`, ….
    fn matrix(
        clusters: usize,
        failures: usize,
        agents: &[bool],
        repeats: u32,
        exclude: &[(usize, usize, usize)],
    ) -> Matrix {
        let list = |entries: Vec<String>| entries.iter().map(|entry| format!("  - {{{entry}}}\n")).collect::<String>();
        let name = |agent: usize| format!("{}{agent}", if agents[agent] { "x" } else { "a" });
        let mut text = format!(
            "name: m\nclusters:\n{}failures:\n{}agents:\n{}execution: {{repeats: {repeats}}}\n",
            list((0..clusters).map(|c| format!("id: c{c}, provisioner: embedded")).collect()),
            list((0..failures).map(|f| format!("id: no-fault, name: f{f}")).collect()),
            list((0..agents.len()).map(|a| format!("id: idle, name: {}, control: {}", name(a), agents[a])).collect()),
        );
        let there = exclude.iter().filter(|(c, f, a)| *c < clusters && *f < failures && *a < agents.len());
        let out: Vec<String> =
            there.map(|(c, f, a)| format!("cluster: c{c}, failure: f{f}, agent: {}", name(*a))).collect();
        if !out.is_empty() {
            text.push_str(&format!("exclude:\n{}", list(out)));
        }
        let words = |word: &str| vec![word.to_owned()];
        let known = Known {
            failures: words("no-fault"),
            agents: words("idle"),
            provisioners: words("embedded"),
            ..Known::default()
        };
        let parsed = Matrix::parse(&Source::new("m.yaml", text.clone()), &known);
        parsed.unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn filtered(filters: &[&str]) -> Selection {
        let filters: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
        Selection::parse(&filters, &Library::load(&[], Vec::new())).expect("filters")
    }

    fn ids(selection: &Selection, matrix: &Matrix) -> Vec<String> {
        selection.cases(matrix).map(|case| case.id.to_string()).collect()
    }

    #[test]
    fn controls_come_along_with_what_they_guard() {
        let matrix = matrix(2, 2, &[true, false, false], 2, &[(1, 1, 0)]);
        let chosen = |filters: &[&str]| ids(&filtered(filters), &matrix);
        assert_eq!(chosen(&["case=c0--f1--a2.r2"]), ["c0--f1--x0", "c0--f1--x0.r2", "c0--f1--a2.r2"]);
        assert_eq!(chosen(&["cluster=c1", "agent=a1"]).len(), 6, "of the other failure it is excluded");
        assert_eq!(chosen(&["cluster=c0", "failure=f0", "agent!=a1"]).len(), 4);
        assert_eq!(chosen(&["c0--f0--x0.r2"]), ["c0--f0--x0.r2"], "a control by itself brings nothing");
        for without in ["agent!=x*", "case!=*--x0*"] {
            assert_eq!(
                chosen(&["c0--f0--a1*", without]),
                ["c0--f0--a1", "c0--f0--a1.r2"],
                "{without} is the last word"
            );
        }
        let again = filtered(&[]).only(["c0--f1--a1.r2".to_owned()].into());
        assert_eq!(ids(&again, &matrix), ["c0--f1--x0", "c0--f1--x0.r2", "c0--f1--a1.r2"]);
        assert!(ids(&again.only(BTreeSet::new()), &matrix).is_empty());
    }

    #[test]
    fn a_part_is_dealt_out_in_hands_of_what_stands_together() {
        let guarded_only_by_f0 = matrix(1, 2, &[false, false, true], 1, &[(0, 1, 2)]);
        let part = |text: &str| ids(&filtered(&[]).partition(text.parse().ok()), &guarded_only_by_f0);
        assert_eq!(part("slice:1/2"), ["c0--f0--a0", "c0--f0--a1", "c0--f0--x2", "c0--f1--a1"]);
        assert_eq!(part("slice:2/2"), ["c0--f1--a0"]);
    }

    const FILTERS: &[&[&str]] = &[
        &[],
        &["agent=a*"],
        &["agent=a0"],
        &["case=*.r2"],
        &["failure!=f0", "cluster=c0"],
        &["agent!=a1"],
        &["agent!=x*"],
        &["agent=x*"],
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// For any number of parts: none has a case of another, all are the whole, and none judges without its controls.
        #[test]
        fn parts_are_disjoint_complete_and_guarded(
            (clusters, failures) in (1_usize..4, 1_usize..5),
            agents in prop::collection::vec(prop::bool::weighted(0.4), 1..5),
            repeats in 1_u32..4,
            exclude in prop::collection::vec((0_usize..4, 0_usize..5, 0_usize..5), 0..6),
            filters in prop::sample::select(FILTERS),
            again in prop::option::of(prop::collection::vec(any::<prop::sample::Index>(), 0..6)),
            of in 1_u64..12,
            kind in prop::sample::select(vec!["slice", "hash"]),
        ) {
            let exclude = if clusters * failures * agents.len() > exclude.len() { exclude } else { Vec::new() };
            let matrix = matrix(clusters, failures, &agents, repeats, &exclude);
            let all: Vec<CaseSpec<'_>> = matrix.cases().collect();
            let mut selection = filtered(filters);
            if let Some(again) = again {
                selection = selection.only(again.iter().map(|at| all[at.index(all.len())].id.to_string()).collect());
            }
            let whole = ids(&selection, &matrix);
            let mut together = Vec::new();
            let mut sizes = Vec::new();
            for m in 1..=of {
                let part = selection.clone().partition(Some(format!("{kind}:{m}/{of}").parse().expect("a part")));
                let cases: Vec<CaseSpec<'_>> = part.cases(&matrix).collect();
                let held: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
                let mut hands = BTreeSet::new();
                for case in &cases {
                    let mates = || all.iter().filter(|mate| mate.cluster == case.cluster && mate.failure == case.failure);
                    let mut controls = mates().filter(|mate| mate.agent.control).peekable();
                    let hand = if controls.peek().is_some() { "" } else { case.id.as_str() };
                    hands.insert((case.cluster.id.as_str(), case.failure.name.as_str(), hand.to_owned()));
                    for control in controls.filter(|_| !case.agent.control && !filters.contains(&"agent!=x*")) {
                        prop_assert!(held.contains(control.id.as_str()), "{} judges without {}", case.id, control.id);
                    }
                }
                prop_assert_eq!(selection.is_empty(&matrix), part.is_empty(&matrix));
                sizes.push(hands.len());
                together.extend(cases.iter().map(|case| case.id.to_string()));
            }
            let place: BTreeMap<String, usize> = all.iter().map(|case| case.id.to_string()).zip(0..).collect();
            together.sort_by_key(|id| place[id]);
            prop_assert_eq!(together, whole, "no case twice, none lost");
            if kind == "slice" {
                prop_assert!(sizes.iter().max().unwrap_or(&0) - sizes.iter().min().unwrap_or(&0) <= 1);
            }
        }

        /// Where it lies follows from the matrix alone: not from what else is selected.
        #[test]
        fn a_filter_moves_no_case_in_a_hash(filters in prop::sample::select(FILTERS), of in 1_u64..12) {
            let matrix = matrix(2, 3, &[false, true, false], 2, &[(0, 1, 1)]);
            let some: BTreeSet<String> = ids(&filtered(filters), &matrix).into_iter().collect();
            for m in 1..=of {
                let part = |filters| ids(&filtered(filters).partition(format!("hash:{m}/{of}").parse().ok()), &matrix);
                let expected: Vec<String> = part(&[]).into_iter().filter(|id| some.contains(id)).collect();
                prop_assert_eq!(part(filters), expected);
            }
        }
    }
}
