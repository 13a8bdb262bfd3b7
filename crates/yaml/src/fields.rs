//! A mapping whose keys are known: unknown ones are reported with a near match, missing ones by name.

use std::ops::Range;

use crate::node::{Kind, Mapping};
use crate::{At, Diagnostic, did_you_mean};

/// The fields of a mapping.
#[derive(Debug)]
pub struct Fields<'a> {
    at: At<'a>,
    map: &'a Mapping,
    what: &'static str,
    keys: &'static [&'static str],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(at: &At<'a>, what: &'static str, keys: &'static [&'static str]) -> Option<Self> {
        let Kind::Map(map) = &at.node.kind else {
            let help = format!("{} has the keys {}", article(what), keys.join(", "));
            return at.type_error(&format!("{} as `key: value` lines", article(what)), Some(help));
        };
        for entry in &map.entries {
            // A key that was lost with a syntax error was reported with it.
            if !keys.contains(&entry.key.as_str()) && entry.value.kind != Kind::Poison {
                let message = format!("unknown key `{}` in {}", entry.key, article(what));
                let mut one = Diagnostic::new("yaml::unknown-key", at.source(), entry.key_span.clone(), message);
                one.help = did_you_mean(&entry.key, "possible keys", keys.iter().copied());
                at.report::<()>(one);
            }
        }
        Some(Self { at: at.clone(), map, what, keys })
    }

    /// The mapping itself, for errors about it as a whole.
    pub fn at(&self) -> &At<'a> {
        &self.at
    }

    /// Whether the key is there, whatever its value.
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some()
    }

    /// Where the key itself stands.
    pub fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.map.get(key).map(|entry| entry.key_span.clone())
    }

    /// The value of a key that may be left out.
    pub fn optional(&self, key: &str) -> Option<At<'a>> {
        debug_assert!(self.keys.contains(&key), "`{key}` is read but not declared for {}", self.what);
        self.map.get(key).map(|entry| self.at.under(&entry.value, &entry.key_span))
    }

    /// The value of a key that may be left out, or be `null`, which means the same.
    pub fn nullable(&self, key: &str) -> Option<At<'a>> {
        self.optional(key).filter(|at| !at.is_null())
    }

    /// The value of a key that must be there.
    pub fn required(&self, key: &str) -> Option<At<'a>> {
        let found = self.optional(key);
        if found.is_none() && !self.map.partial {
            let message = format!("{} needs the key `{key}`", article(self.what));
            let start = self.at.span().start;
            let first_key = self.map.entries.first().map_or(start..start, |entry| entry.key_span.clone());
            let one = Diagnostic::new("yaml::missing-key", self.at.source(), first_key, message);
            return self.at.report(one);
        }
        found
    }

    /// An optional field: `Some(default)` when it is not there, none when it is wrong (and was reported).
    pub fn or<T>(&self, key: &str, default: T, read: impl FnOnce(At<'a>) -> Option<T>) -> Option<T> {
        match self.optional(key) {
            None => Some(default),
            Some(at) => read(at),
        }
    }

    /// An optional field: `Some(None)` when it is not there, none when it is wrong (and was reported).
    pub fn maybe<T>(&self, key: &str, read: impl FnOnce(At<'a>) -> Option<T>) -> Option<Option<T>> {
        match self.optional(key) {
            None => Some(None),
            Some(at) => read(at).map(Some),
        }
    }

    /// An optional list: empty when it is not there; every item is read, also after a wrong one.
    pub fn list<T>(&self, key: &str, read: impl FnMut(&At<'a>) -> Option<T>) -> Option<Vec<T>> {
        self.or(key, Vec::new(), |at| at.each(read))
    }

    /// Checks that `schema`, where it is there, is 1.
    pub fn schema(&self) -> Option<()> {
        let Some(at) = self.optional("schema") else { return Some(()) };
        match &at.node().kind {
            Kind::Poison => None,
            Kind::Number(number) if number.as_u64() == Some(1) => Some(()),
            _ => at.error_with_help("this version reads `schema: 1` only", "leave it out, or write `schema: 1`"),
        }
    }
}

fn article(what: &str) -> String {
    if what == "metadata" {
        return what.to_owned();
    }
    let vowel = what.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {what}", if vowel { "an" } else { "a" })
}
