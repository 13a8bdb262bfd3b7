//! Which cases of a matrix are run: `--filter`.

use globset::{Glob, GlobMatcher};
use matrix::CaseSpec;

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// Not one of the keys.
    #[error(
        "filter `{0}`: unknown key `{1}`; write `cluster=`, `failure=`, `agent=`, `case=`, or a glob over case ids"
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
    Case,
}

/// The filters of a run: `KEY=GLOB` with the keys `cluster`, `failure`, `agent`, `case`, or a bare glob over case ids.
/// A case is selected when every filter matches it.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    filters: Vec<(Key, GlobMatcher)>,
}

impl Selection {
    /// Reads the filters.
    ///
    /// # Errors
    /// [`FilterError`] for the first that cannot be read.
    pub fn parse(filters: &[String]) -> Result<Self, FilterError> {
        let filters = filters.iter().map(|text| parse_one(text)).collect::<Result<_, _>>()?;
        Ok(Self { filters })
    }

    /// Whether the case is to be run.
    pub fn selects(&self, case: &CaseSpec<'_>) -> bool {
        self.filters.iter().all(|(key, glob)| {
            glob.is_match(match key {
                Key::Cluster => case.cluster.id.as_str(),
                Key::Failure => case.failure.name.as_str(),
                Key::Agent => case.agent.name.as_str(),
                Key::Case => case.id.as_str(),
            })
        })
    }
}

fn parse_one(text: &str) -> Result<(Key, GlobMatcher), FilterError> {
    let (key, glob) = match text.split_once('=') {
        None => (Key::Case, text),
        Some(("cluster", glob)) => (Key::Cluster, glob),
        Some(("failure", glob)) => (Key::Failure, glob),
        Some(("agent", glob)) => (Key::Agent, glob),
        Some(("case", glob)) => (Key::Case, glob),
        Some((key, _)) => return Err(FilterError::Key(text.to_owned(), key.to_owned())),
    };
    let glob = Glob::new(glob).map_err(|error| FilterError::Glob(text.to_owned(), error.to_string()))?;
    Ok((key, glob.compile_matcher()))
}
