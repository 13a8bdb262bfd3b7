//! Semantic versions (semver.org 2.0.0), kept as they were written.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `MAJOR.MINOR.PATCH`, with `-pre.release` and `+build` where they are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl Version {
    /// The text of the version.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The version of metadata that names none.
impl Default for Version {
    fn default() -> Self {
        Self("0.0.0".to_owned())
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
        let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let number =
            |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) && (n == "0" || !n.starts_with('0'));
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let words = |part: Option<&str>| part.is_none_or(|part| part.split('.').all(word));
        let numbers: Vec<&str> = core.split('.').collect();
        if numbers.len() == 3 && numbers.iter().all(|n| number(n)) && words(pre) && words(build) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("`{text}` is not a semantic version: write three numbers, as in `1.0.0`"))
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_follow_the_grammar() {
        for good in ["0.0.0", "1.2.3", "1.0.0-rc.1", "1.0.0-x+build.5", "10.20.30+a"] {
            assert!(good.parse::<Version>().is_ok(), "{good}");
        }
        for bad in ["", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.x", "v1.0.0", "1.0.0-", "1.0.0+", "1.0.0-a..b"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
