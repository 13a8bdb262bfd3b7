//! Identifiers: what people name things, what a case is called, what a run is called.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is wrong with an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No characters at all.
    #[error("an id must not be empty")]
    Empty,
    /// Longer than [`Id::MAX`].
    #[error("an id has at most 63 characters, this one has {0}")]
    TooLong(usize),
    /// Something besides lower-case letters, digits and single hyphens between them.
    #[error(
        "`{0}` is not an id: ids are lower-case letters and digits, in parts joined by single hyphens, as in `oom-killed`"
    )]
    Malformed(String),
}

/// An id that people write: `[a-z0-9]+(-[a-z0-9]+)*`, at most 63 bytes. It never contains `--`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Id(#[schemars(regex(pattern = r"^[a-z0-9]+(-[a-z0-9]+)*$"), length(min = 1, max = 63))] String);

impl Id {
    /// The longest id, in bytes: what fits a Kubernetes label value.
    pub const MAX: usize = 63;

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        if s.is_empty() {
            return Err(IdError::Empty);
        }
        if s.len() > Self::MAX {
            return Err(IdError::TooLong(s.len()));
        }
        let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if s.split('-').all(part) { Ok(Self(s.to_owned())) } else { Err(IdError::Malformed(s.to_owned())) }
    }
}

impl TryFrom<String> for Id {
    type Error = IdError;

    fn try_from(s: String) -> Result<Self, IdError> {
        s.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// `<cluster>--<failure>--<agent>`, with `.r<n>` after it from the second repeat on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CaseId(String);

impl CaseId {
    /// The id of a case. `repeat` counts from 1.
    pub fn new(cluster: &Id, failure: &Id, agent: &Id, repeat: u32) -> Self {
        let base = format!("{cluster}--{failure}--{agent}");
        Self(if repeat > 1 { format!("{base}.r{repeat}") } else { base })
    }

    /// The text of the id; safe as a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it was made of; none when [`CaseId::new`] has not made it.
    pub fn parts(&self) -> Option<CaseParts> {
        let (whole, repeat) = match self.0.rsplit_once(".r") {
            Some((whole, repeat)) => (whole, repeat.parse().ok()?),
            None => (self.0.as_str(), 1),
        };
        let mut ids = whole.split("--").map(str::parse::<Id>);
        let (cluster, failure, agent) = (ids.next()?.ok()?, ids.next()?.ok()?, ids.next()?.ok()?);
        ids.next().is_none().then_some(CaseParts { cluster, failure, agent, repeat })
    }
}

/// What the id of a case tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseParts {
    /// As the matrix names it.
    pub cluster: Id,
    /// As the matrix names it.
    pub failure: Id,
    /// As the matrix names it.
    pub agent: Id,
    /// From 1.
    pub repeat: u32,
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The id of a run: eight lower-case hexadecimal digits, random.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// A run id from 32 random bits.
    pub fn from_bits(bits: u32) -> Self {
        Self(format!("{bits:08x}"))
    }

    /// A run id as it was stored.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_their_grammar() {
        for good in ["a", "oom-killed", "a1-b2-3"] {
            assert!(good.parse::<Id>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "A", "a_b", "ä", "a/b", "..", "a b"] {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(64).parse::<Id>().is_err());
    }

    #[test]
    fn case_ids_number_repeats_from_the_second_on() {
        let id = |s: &str| s.parse::<Id>().expect("an id");
        let case = |n| CaseId::new(&id("local"), &id("oom-killed"), &id("triage"), n);
        assert_eq!(case(1).as_str(), "local--oom-killed--triage");
        assert_eq!(case(3).as_str(), "local--oom-killed--triage.r3");
        for repeat in [1, 3] {
            let (cluster, failure, agent) = (id("local"), id("oom-killed"), id("triage"));
            assert_eq!(case(repeat).parts(), Some(CaseParts { cluster, failure, agent, repeat }));
        }
        for foreign in ["", "local--oom-killed", "a--b--c--d", "a--b--c.r", "a--b--C"] {
            assert_eq!(CaseId(foreign.to_owned()).parts(), None, "{foreign}");
        }
    }
}
