//! Which cases of a matrix are run: `--filter`, `--rerun`, `--partition`.

use std::collections::{BTreeMap, BTreeSet};

use catalog::Library;
use globset::{Glob, GlobMatcher};
use matrix::{CaseSpec, Matrix};

use crate::Partition;

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
/// or a bare glob over case ids; a case is selected when every filter matches it. Without any of the three, all are.
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
        let selected = matrix.cases().filter(|case| self.selects(case));
        let in_part = |(place, case): &(u64, CaseSpec<'_>)| {
            self.partition.is_none_or(|partition| partition.holds(*place, case.id.as_str()))
        };
        (0..).zip(selected).filter(in_part).map(|(_, case)| case)
    }

    /// Whether no case is selected, in whichever part: a mistake, where an empty part is none.
    pub fn is_empty(&self, matrix: &Matrix) -> bool {
        !matrix.cases().any(|case| self.selects(&case))
    }

    /// Whether filters and rerun select the case.
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
