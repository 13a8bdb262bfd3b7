//! What to say of a syntax error, and where to read on after one.

use std::ops::Range;

use super::tabs::tab_in_indentation;
use super::{Builder, Diagnostic, Entry, ErrorKind, Frame, Kind, Node, ScanError, too_deep};
use crate::node::Mapping;

impl Builder<'_> {
    /// Reports a syntax error; returns where it is. None for a tab, which is repaired instead.
    pub(super) fn syntax_error(&mut self, error: &ScanError) -> Option<usize> {
        let text = &self.source.text;
        let mut at = (self.base + error.marker().byte_offset().unwrap_or(0)).min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        if let Some(tab) = self.blamed_tab(at, error.kind()) {
            self.tab = Some(tab);
            return None;
        }
        // A line that was repaired may have been meant otherwise; it was reported.
        let above = self.line(at).start.saturating_sub(1);
        if self.repairs.has_line_at(text, at) || self.repairs.has_line_at(text, above) {
            return Some(at);
        }
        if let Some(opened) = self.unclosed(at, error.kind()) {
            let (message, help) = match text.as_bytes().get(opened) {
                Some(b'[') => ("this `[` is never closed", "add the missing `]`"),
                Some(b'{') => ("this `{` is never closed", "add the missing `}`"),
                _ => ("this quote is never closed", "add the closing quote"),
            };
            let one = Diagnostic::new("yaml::syntax", self.source, opened..opened + 1, message);
            self.diagnostics.push(one.with_help(help));
            return Some(opened);
        }
        let width = text[at..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
        let (message, help) = describe(error.kind());
        let mut one = Diagnostic::new("yaml::syntax", self.source, at..at + width, message);
        one.help = help.map(str::to_owned);
        self.diagnostics.push(one);
        Some(at)
    }

    /// The tab that an error is about: on its line, or, where the parser complains early, on the next.
    fn blamed_tab(&self, at: usize, kind: &ErrorKind) -> Option<usize> {
        let line = self.line(at);
        let early = matches!(
            kind,
            ErrorKind::TabNotAllowed
                | ErrorKind::TabInBlockIndentation
                | ErrorKind::TabInIndentation
                | ErrorKind::TabInPlainScalar
        );
        let neighbour = || match kind {
            _ if early => (line.end < self.source.text.len()).then(|| self.line(line.end + 1)),
            // A document that is indented with a tab is taken for a text that ends before this line.
            ErrorKind::ExpectedDocumentStart => line.start.checked_sub(1).map(|end| self.line(end)),
            _ => None,
        };
        self.tab_in_indentation(&line).or_else(|| self.tab_in_indentation(&neighbour()?))
    }

    /// The opening bracket or quote that an error is really about.
    fn unclosed(&self, at: usize, kind: &ErrorKind) -> Option<usize> {
        let text = &self.source.text;
        match kind {
            ErrorKind::UnclosedQuotedScalar
            | ErrorKind::InvalidQuotedScalarIndent
            | ErrorKind::DocumentIndicatorInQuotedScalar => {
                let from = self.last_end.min(at);
                text.get(from..at)?.find(['"', '\'']).map(|quote| from + quote)
            }
            ErrorKind::UnclosedFlowCollection { .. }
            | ErrorKind::UnexpectedEofFlowSequence
            | ErrorKind::UnexpectedEofFlowMapping
            | ErrorKind::UnexpectedEofImplicitFlowMapping
            | ErrorKind::InvalidColonPlacement
            | ErrorKind::InvalidFlowScalarIndent
            | ErrorKind::BlockEntryInFlowCollection => self.stack.iter().rev().map(Frame::start).find(|start| {
                // A flow collection that began on an earlier line, or that nothing closes.
                let ends_line = self.line(*start).end < at || at >= text.trim_end().len();
                ends_line && matches!(text.as_bytes().get(*start), Some(b'[' | b'{'))
            }),
            _ => None,
        }
    }

    fn tab_in_indentation(&self, line: &Range<usize>) -> Option<usize> {
        tab_in_indentation(&self.source.text[line.clone()]).map(|tab| line.start + tab)
    }

    /// The line around an offset, without its end.
    fn line(&self, at: usize) -> Range<usize> {
        let text = &self.source.text;
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        start..text[at..].find('\n').map_or(text.len(), |newline| at + newline)
    }

    /// The start of the next line that looks like a top-level key whose value was not read yet.
    pub(super) fn next_section(&self, at: usize, began: usize) -> Option<usize> {
        if !self.is_resumable() {
            return None;
        }
        let text = &self.source.text;
        let mut line = self.line(at);
        loop {
            // An unclosed bracket is noticed at the next key: that line itself is sound.
            let fresh = line.start > began && top_level_key(&text[line.clone()]).is_some_and(|key| !self.has_key(key));
            if fresh {
                return Some(line.start);
            }
            if line.end >= text.len() {
                return None;
            }
            line = self.line(line.end + 1);
        }
    }

    pub(super) fn is_resumable(&self) -> bool {
        match self.roots.last().map(|root| &root.kind) {
            Some(Kind::Map(map)) => map.entries.len() <= super::MAX_RESUMED_KEYS,
            _ => true,
        }
    }

    fn has_key(&self, key: &str) -> bool {
        match self.roots.last().map(|root| &root.kind) {
            Some(Kind::Map(map)) => map.get(key).is_some(),
            _ => false,
        }
    }

    /// Keys that stand in the text but were lost with an error count as present, so that nobody calls them missing.
    pub(super) fn poison_lost_keys(&mut self) {
        let text = self.source.text.clone();
        let mut lost = Vec::new();
        let mut start = 0;
        for line in text.split('\n') {
            if let Some(key) = top_level_key(line).filter(|key| !self.has_key(key)) {
                let span = start..start + key.len();
                lost.push(Entry { key: key.to_owned(), key_span: span.clone(), value: Node::poison(span) });
            }
            start += line.len() + 1;
        }
        if self.roots.is_empty() {
            self.roots.push(Node::poison(0..0));
        }
        match self.roots.last_mut().map(|root| &mut root.kind) {
            Some(Kind::Map(map)) => {
                map.partial = false;
                for entry in lost {
                    if map.get(&entry.key).is_none() {
                        map.entries.push(entry);
                    }
                }
            }
            Some(kind @ Kind::Poison) if !lost.is_empty() => {
                *kind = Kind::Map(Mapping { entries: lost, partial: false });
            }
            _ => {}
        }
    }
}

/// The key of a line such as `failures:` or `"name": x` that starts in the first column.
pub(super) fn top_level_key(line: &str) -> Option<&str> {
    let line = line.trim_end_matches('\r');
    let (key, rest) = line.split_once(':')?;
    let key = key.trim_end();
    let first = key.chars().next()?;
    let word = (first.is_alphanumeric() || first == '_')
        && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    (word && (rest.is_empty() || rest.starts_with([' ', '\t']))).then_some(key)
}

/// In words for people who know YAML by example only.
fn describe(kind: &ErrorKind) -> (String, Option<&'static str>) {
    let (message, help) = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => {
            ("there is a tab where YAML allows only spaces", "replace the tab with spaces")
        }
        ErrorKind::RecursionLimitExceeded => return (too_deep(), Some("no format here needs that; write it flatter")),
        ErrorKind::UnclosedFlowCollection { open: '[' } | ErrorKind::UnexpectedEofFlowSequence => {
            ("this `[` is never closed", "add the missing `]`")
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping => ("this `{` is never closed", "add the missing `}`"),
        ErrorKind::ExpectedFlowMappingSeparator => {
            ("inside `{…}` a `,` or the closing `}` is missing before this", "entries are separated by `, `")
        }
        ErrorKind::ExpectedFlowSequenceSeparator => {
            ("inside `[…]` a `,` or the closing `]` is missing before this", "items are separated by `, `")
        }
        ErrorKind::UnclosedQuotedScalar => ("this quote is never closed", "add the closing quote"),
        ErrorKind::MappingValueNotAllowed => (
            "a second `: ` in one line",
            "put the value in quotes, or move what follows to a line of its own, further indented",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey | ErrorKind::ExpectedBlockMappingKey => {
            ("expected `key: value` here", "a key ends with `: `; check the colon and the indentation of this line")
        }
        ErrorKind::BlockSequenceEntryNotAllowed | ErrorKind::ExpectedBlockSequenceEntry => (
            "a list item (`- `) is not possible here",
            "check the indentation: all items of a list start in one column",
        ),
        ErrorKind::InvalidIndentation => {
            ("the indentation does not fit any line above", "siblings start in the same column")
        }
        ErrorKind::UnexpectedCharacter { character: '@' | '`' } => {
            ("a value cannot start with this character", "put it in quotes")
        }
        ErrorKind::UnknownQuotedScalarEscape => {
            ("an unknown escape in double quotes", "write `\\\\` for a backslash, or use single quotes")
        }
        ErrorKind::ExpectedDocumentStart => {
            ("nothing can follow what ends above this line", "check the indentation of this line and of the one above")
        }
        other => return (format!("not valid YAML: {other}"), None),
    };
    (message.to_owned(), Some(help))
}
