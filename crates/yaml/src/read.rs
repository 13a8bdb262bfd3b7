//! Typed values out of the tree. Every reader reports what is wrong and returns none; nothing stops at the first error.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use crate::node::{Kind, Node};
use crate::scalar::offset_in_source;
use crate::{Diagnostic, Diagnostics, Fields, Severity, Source, did_you_mean, parse, parse_duration};

/// Reads a document: parses it, hands its root to `f`, and reports everything that was found.
///
/// # Errors
/// Everything that is wrong with the document.
pub fn read<T>(source: &Source, f: impl FnOnce(At<'_>) -> Option<T>) -> Result<T, Diagnostics> {
    read_with_warnings(source, f).map(|(value, _)| value)
}

/// The same; what is worth knowing but not wrong comes along.
///
/// # Errors
/// Everything that is wrong with the document, warnings included.
pub fn read_with_warnings<T>(
    source: &Source,
    f: impl FnOnce(At<'_>) -> Option<T>,
) -> Result<(T, Diagnostics), Diagnostics> {
    let parsed = parse(source);
    let reader = Reader { source: source.clone(), found: RefCell::new(parsed.diagnostics) };
    let value = if source.text.trim().is_empty() {
        reader.push(Diagnostic::new("yaml::empty", source, 0..0, "the file is empty"));
        None
    } else {
        f(reader.at(&parsed.root))
    };
    let found = reader.found.into_inner();
    let failed = found.iter().any(|one| one.severity == Severity::Error);
    match value {
        Some(value) if !failed => Ok((value, Diagnostics::new(found))),
        _ if failed => Err(Diagnostics::new(found)),
        // A reader that gives up must say why; this keeps an oversight from passing as success.
        _ => Err(Diagnostic::without_span("yaml::unreadable", source, "the file could not be read").into()),
    }
}

/// Collects what is wrong with one document.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    found: RefCell<Vec<Diagnostic>>,
}

impl Reader {
    fn at<'a>(&'a self, node: &'a Node) -> At<'a> {
        At { reader: self, node, mark: node.span.start..node.span.end }
    }

    fn push(&self, one: Diagnostic) {
        self.found.borrow_mut().push(one);
    }
}

/// A value of the document, to be read as something.
#[derive(Clone, Debug)]
pub struct At<'a> {
    pub(crate) reader: &'a Reader,
    pub(crate) node: &'a Node,
    /// What to mark when something is wrong with it: the value, or its key where the value is nothing.
    pub(crate) mark: Range<usize>,
}

impl<'a> At<'a> {
    pub(crate) fn under(&self, node: &'a Node, key_span: &Range<usize>) -> Self {
        let mark = if node.span.is_empty() { key_span.clone() } else { node.span.clone() };
        Self { reader: self.reader, node, mark }
    }

    /// The tree itself.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// The document.
    pub fn source(&self) -> &'a Source {
        &self.reader.source
    }

    /// The bytes to mark for errors about this value.
    pub fn span(&self) -> Range<usize> {
        self.mark.clone()
    }

    /// Whether this was reported as unreadable already.
    pub fn is_poison(&self) -> bool {
        self.node.kind == Kind::Poison
    }

    /// Whether an error cut this list or mapping off.
    fn is_partial(&self) -> bool {
        match &self.node.kind {
            Kind::List(list) => list.partial,
            Kind::Map(map) => map.partial,
            _ => false,
        }
    }

    /// Whether there is nothing here.
    pub fn is_null(&self) -> bool {
        self.node.kind == Kind::Null
    }

    /// Whether this is text.
    pub fn is_text(&self) -> bool {
        matches!(self.node.kind, Kind::Text(_))
    }

    /// Whether this is a mapping.
    pub fn is_map(&self) -> bool {
        matches!(self.node.kind, Kind::Map(_))
    }

    /// Whether this is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.node.kind, Kind::List(_))
    }

    /// Reports that this value is wrong. Returns none, to be returned.
    pub fn error<T>(&self, message: impl Into<String>) -> Option<T> {
        self.report(Diagnostic::new("value", self.source(), self.first_line(), message))
    }

    /// The same, with what would be right.
    pub fn error_with_help<T>(&self, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        self.report(Diagnostic::new("value", self.source(), self.first_line(), message).with_help(help))
    }

    /// Reports something worth knowing.
    pub fn warn(&self, message: impl Into<String>, help: impl Into<String>) {
        let one = Diagnostic::new("value", self.source(), self.first_line(), message);
        self.reader.push(one.with_help(help).as_warning());
    }

    /// Reports an error about a part of this text, given in bytes of its value: `2..5` of `a: "x == y"`. Finds the
    /// place in the source also in folded and quoted text.
    pub fn error_in_text<T>(&self, part: Range<usize>, message: impl Into<String>, help: Option<String>) -> Option<T> {
        let mut one = Diagnostic::new("value", self.source(), self.part_of_text(part), message);
        one.help = help;
        self.report(one)
    }

    fn part_of_text(&self, part: Range<usize>) -> Range<usize> {
        let Kind::Text(value) = &self.node.kind else { return self.first_line() };
        let raw = &self.source().text[self.node.span.clone()];
        let start = self.node.span.start + offset_in_source(raw, value, part.start);
        let end = self.node.span.start + offset_in_source(raw, value, part.end.max(part.start));
        let line_end = self.source().text[start..].find('\n').map_or(self.source().text.len(), |n| start + n);
        start..end.clamp(start, line_end)
    }

    /// Reports a diagnostic that was made by hand. Returns none, to be returned.
    pub fn report<T>(&self, one: Diagnostic) -> Option<T> {
        self.reader.push(one);
        None
    }

    /// The mark, cut to its first line: a whole section is no help as a mark.
    fn first_line(&self) -> Range<usize> {
        let text = &self.source().text[self.mark.clone()];
        self.mark.start..self.mark.start + text.find('\n').unwrap_or(text.len())
    }

    pub(crate) fn type_error<T>(&self, expected: &str, help: Option<String>) -> Option<T> {
        if self.is_poison() || self.is_partial() {
            return None;
        }
        let found = self.describe();
        let mut one = Diagnostic::new(
            "yaml::type",
            self.source(),
            self.first_line(),
            format!("expected {expected}, found {found}"),
        );
        one.help = help;
        self.report(one)
    }

    fn describe(&self) -> String {
        let raw = || {
            let raw = self.source().text.get(self.node.span.clone()).unwrap_or_default();
            let short: String = raw.chars().take(40).take_while(|c| *c != '\n').collect();
            if short.len() < raw.len() { format!("{short}…") } else { short }
        };
        match &self.node.kind {
            Kind::Poison | Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => format!("`{value}`"),
            Kind::Number(_) => format!("the number {}", raw()),
            Kind::Text(_) => format!("the text `{}`", raw()),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping (`key: value`)".to_owned(),
        }
    }

    /// Text.
    pub fn text(&self) -> Option<String> {
        self.str().map(str::to_owned)
    }

    /// Text, borrowed.
    pub fn str(&self) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Text(text) => Some(text),
            Kind::Number(_) | Kind::Bool(_) => {
                let raw = &self.source().text[self.node.span.clone()];
                self.type_error("text", Some(format!("put it in quotes: \"{raw}\"")))
            }
            _ => self.type_error("text", None),
        }
    }

    /// Text that is not empty.
    pub fn nonempty(&self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() { self.error("this must not be empty") } else { Some(text) }
    }

    /// Text, or a number or truth value as it is spelt: what stands in a command line.
    pub fn spelt(&self) -> Option<String> {
        match &self.node.kind {
            Kind::Number(_) | Kind::Bool(_) => Some(self.source().text[self.node.span.clone()].to_owned()),
            _ => self.text(),
        }
    }

    /// Text that is read by its type's own grammar.
    pub fn parsed<T: FromStr<Err: Display>>(&self) -> Option<T> {
        let text = self.str()?;
        text.parse().map_or_else(|error: T::Err| self.error(error.to_string()), Some)
    }

    /// A truth value.
    pub fn bool(&self) -> Option<bool> {
        match &self.node.kind {
            Kind::Bool(value) => Some(*value),
            Kind::Text(text) => {
                let help = match text.to_lowercase().as_str() {
                    "yes" | "on" | "y" | "true" => Some("write `true`".to_owned()),
                    "no" | "off" | "n" | "false" => Some("write `false`".to_owned()),
                    _ => None,
                };
                self.type_error("`true` or `false`", help)
            }
            _ => self.type_error("`true` or `false`", None),
        }
    }

    /// A whole number within bounds, both included.
    pub fn unsigned(&self, min: u64, max: u64) -> Option<u64> {
        let value = match &self.node.kind {
            Kind::Number(number) => number.as_u64(),
            _ => return self.type_error("a whole number", None),
        };
        match value {
            Some(value) if (min..=max).contains(&value) => Some(value),
            _ => self.type_error(&format!("a whole number from {min} to {max}"), None),
        }
    }

    /// A number within bounds, both included.
    pub fn number(&self, min: f64, max: f64) -> Option<f64> {
        let value = match &self.node.kind {
            Kind::Number(number) => number.as_f64(),
            _ => return self.type_error("a number", None),
        };
        match value {
            Some(value) if (min..=max).contains(&value) => Some(value),
            _ => self.type_error(&format!("a number from {min} to {max}"), None),
        }
    }

    /// A duration such as `10m`, not zero and at most `max`.
    pub fn duration(&self, max: Duration) -> Option<Duration> {
        if let Kind::Number(number) = &self.node.kind {
            return self.type_error("a duration", Some(format!("give it a unit: `{number}s` for seconds")));
        }
        let duration = match parse_duration(self.str()?) {
            Ok(duration) => duration,
            Err(message) => return self.error(message),
        };
        if duration.is_zero() {
            return self.error("this duration must be longer than nothing");
        }
        if duration > max {
            return self.error(format!("this is too long: at most {}", crate::format_duration(max)));
        }
        Some(duration)
    }

    /// One of these words.
    pub fn one_of<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.str()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(value.clone());
        }
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let mut one = Diagnostic::new(
            "value",
            self.source(),
            self.first_line(),
            format!("`{text}` is not one of the words for this"),
        );
        one.help = did_you_mean(text, "possible are", all);
        self.report(one)
    }

    /// Any value, as JSON.
    pub fn json(&self) -> Option<Value> {
        (!self.node.is_damaged()).then(|| self.node.to_json())
    }

    /// The items of a list.
    pub fn list(&self) -> Option<Vec<At<'a>>> {
        match &self.node.kind {
            Kind::List(list) => Some(list.items.iter().map(|item| self.under(item, &self.mark)).collect()),
            Kind::Text(text) => self.type_error("a list", Some(format!("write `[{text}]`"))),
            _ => self.type_error("a list", None),
        }
    }

    /// The items of a list that has at least one.
    pub fn nonempty_list(&self, what: &str) -> Option<Vec<At<'a>>> {
        if self.is_null() {
            return self.error_with_help("this list is empty", format!("list {what}"));
        }
        let items = self.list()?;
        if items.is_empty() && !self.is_partial() {
            return self.error_with_help("this list is empty", format!("list {what}"));
        }
        Some(items)
    }

    /// Every item of a list, read by `f`; all items are read before this gives up.
    pub fn each<T>(&self, mut f: impl FnMut(&At<'a>) -> Option<T>) -> Option<Vec<T>> {
        all(self.list()?.iter().map(&mut f))
    }

    /// A list of texts.
    pub fn texts(&self) -> Option<Vec<String>> {
        self.each(At::text)
    }

    /// A mapping with these keys only; `what` names it in messages, without an article: `matrix`.
    pub fn fields(&self, what: &'static str, keys: &'static [&'static str]) -> Option<Fields<'a>> {
        Fields::new(self, what, keys)
    }

    /// Every text in this value, however deep, but for keys.
    pub fn walk_text(&self, visit: &mut dyn FnMut(&At<'a>, &'a str)) {
        match &self.node.kind {
            Kind::Text(text) => visit(self, text),
            Kind::List(list) => list.items.iter().for_each(|item| self.under(item, &self.mark).walk_text(visit)),
            Kind::Map(map) => {
                map.entries.iter().for_each(|entry| self.under(&entry.value, &entry.key_span).walk_text(visit));
            }
            _ => {}
        }
    }

    /// The entries of a mapping with free keys: name, place of the name, value.
    pub fn entries(&self) -> Option<Vec<(&'a str, At<'a>, At<'a>)>> {
        let Kind::Map(map) = &self.node.kind else { return self.type_error("a mapping (`key: value`)", None) };
        let one = |entry: &'a crate::Entry| {
            let key = At { reader: self.reader, node: &entry.value, mark: entry.key_span.clone() };
            (entry.key.as_str(), key, self.under(&entry.value, &entry.key_span))
        };
        Some(map.entries.iter().map(one).collect())
    }
}

/// All or none, but every one is looked at.
pub(crate) fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let (mut values, mut complete) = (Vec::new(), true);
    for item in items {
        match item {
            Some(value) => values.push(value),
            None => complete = false,
        }
    }
    complete.then_some(values)
}
