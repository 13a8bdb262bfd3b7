//! Lines that are indented with tabs: each is an error, and is read as if it were indented like its neighbours, so that
//! the tab hides nothing else. Places in the repaired text are mapped back to the text that the person wrote.

use std::collections::BTreeMap;
use std::ops::Range;

use super::recovery::top_level_key;
use crate::node::{Kind, Node};
use crate::{Diagnostic, Source};

/// After so many repairs one by one, all other tabs are repaired at once.
const ONE_BY_ONE: usize = 20;

/// Which lines (from 0) are read with another indentation (in spaces) than they have.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    lines: BTreeMap<usize, usize>,
    rounds: usize,
}

impl Repairs {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn has_line_at(&self, text: &str, offset: usize) -> bool {
        self.lines.contains_key(&line_of(text, offset))
    }

    /// Repairs the line of this tab and those of its section after it.
    pub(super) fn add(&mut self, text: &str, tab: usize) {
        self.rounds += 1;
        let first = line_of(text, tab);
        let mut lines: Vec<&str> = text.split('\n').collect();
        for number in first..lines.len() {
            if number > first && self.rounds < ONE_BY_ONE && top_level_key(lines[number]).is_some() {
                break;
            }
            if tab_in_indentation(lines[number]).is_some() {
                let indentation = fitting(&lines[..number], &self.lines, first, content(lines[number]));
                self.lines.insert(number, indentation);
                // Its neighbours below are to see it as repaired.
                lines[number] = content(lines[number]);
            }
        }
    }

    pub(super) fn apply(&self, original: &str) -> String {
        let repaired = original.split('\n').enumerate().map(|(number, line)| match self.lines.get(&number) {
            Some(spaces) => format!("{}{}", " ".repeat(*spaces), content(line)),
            None => line.to_owned(),
        });
        repaired.collect::<Vec<_>>().join("\n")
    }

    /// One error for each line.
    pub(super) fn report(&self, source: &Source) -> Vec<Diagnostic> {
        let starts = starts(&source.text);
        let one = |number: &usize| {
            let start = starts[*number];
            let line = source.text[start..].split('\n').next().unwrap_or_default();
            let tab = start + tab_in_indentation(line).unwrap_or(0);
            Diagnostic::new("yaml::tab", source, tab..tab + 1, "this line is indented with a tab")
                .with_help("YAML allows only spaces there: replace the tab with two spaces")
        };
        self.lines.keys().map(one).collect()
    }
}

/// The indentation that makes `line` a child or a sibling of the line above.
fn fitting(above: &[&str], repaired: &BTreeMap<usize, usize>, from: usize, line: &str) -> usize {
    let indentation = |number: usize| match repaired.get(&number) {
        Some(spaces) => *spaces,
        None => above[number].len() - content(above[number]).len(),
    };
    let meaningful = |number: &usize| !content(above[*number]).is_empty() && !content(above[*number]).starts_with('#');
    let is_item = |text: &str| text.starts_with("- ") || text == "-";
    let mut before = (0..above.len()).rev().filter(meaningful);
    let Some(last) = before.next() else { return 0 };
    let (text, column) = (content(above[last]).trim_end(), indentation(last));
    let inside = if is_item(text) { column + 2 } else { column };
    if text.ends_with(':') {
        return inside + 2;
    }
    if !is_item(line) {
        return inside;
    }
    if is_item(text) {
        return column;
    }
    // An item after the last key of the item before it; never further up than where this section began.
    let item = before.take_while(|number| *number + 200 > from).find(|number| is_item(content(above[*number])));
    item.map_or(column, indentation)
}

fn content(line: &str) -> &str {
    line.trim_start_matches([' ', '\t'])
}

/// Where in a line there is a tab before its first other character; none in blank lines.
pub(super) fn tab_in_indentation(line: &str) -> Option<usize> {
    let indentation = line.len() - content(line).len();
    let blank = content(line).trim().is_empty();
    line[..indentation].find('\t').filter(|_| !blank)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

fn starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect()
}

/// From places in the repaired text to those in the original.
pub(super) struct Mapping<'a> {
    repairs: &'a Repairs,
    original: &'a Source,
    original_starts: Vec<usize>,
    repaired_starts: Vec<usize>,
}

impl<'a> Mapping<'a> {
    pub(super) fn new(repairs: &'a Repairs, original: &'a Source, repaired: &str) -> Self {
        Self { repairs, original, original_starts: starts(&original.text), repaired_starts: starts(repaired) }
    }

    pub(super) fn offset(&self, offset: usize) -> usize {
        let line = self.repaired_starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let column = offset - self.repaired_starts[line];
        let start = self.original_starts[line];
        let Some(spaces) = self.repairs.lines.get(&line) else { return start + column };
        let text = self.original.text[start..].split('\n').next().unwrap_or_default();
        let written = text.len() - content(text).len();
        start + if column < *spaces { column.min(written) } else { written + column - spaces }
    }

    fn span(&self, span: &mut Range<usize>) {
        *span = self.offset(span.start)..self.offset(span.end);
    }

    pub(super) fn node(&self, node: &mut Node) {
        self.span(&mut node.span);
        match &mut node.kind {
            Kind::List(list) => list.items.iter_mut().for_each(|item| self.node(item)),
            Kind::Map(map) => map.entries.iter_mut().for_each(|entry| {
                self.span(&mut entry.key_span);
                self.node(&mut entry.value);
            }),
            _ => {}
        }
    }

    pub(super) fn diagnostic(&self, one: &mut Diagnostic) {
        one.source = self.original.clone();
        if let Some(span) = &mut one.span {
            self.span(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_like_their_neighbours() {
        for (text, repaired) in [
            ("a:\n\t- b\n\t- c\n", "a:\n  - b\n  - c\n"),
            ("a:\n  - b\n\t- c\n", "a:\n  - b\n  - c\n"),
            ("a:\n  - b: 1\n\tc: 2\n\t- d: 3\n", "a:\n  - b: 1\n    c: 2\n  - d: 3\n"),
            ("a:\n  b: 1\n\tc: 2\n", "a:\n  b: 1\n  c: 2\n"),
            ("\ta: 1\n\tb: 2\n", "a: 1\nb: 2\n"),
            ("a:\n\tb:\n\t\tc: 1\n", "a:\n  b:\n    c: 1\n"),
        ] {
            let mut repairs = Repairs::default();
            repairs.add(text, text.find('\t').expect("a tab"));
            assert_eq!(repairs.apply(text), repaired);
        }
    }

    #[test]
    fn places_are_those_of_the_original() {
        let text = "a:\n\t- b\n\t \t- cd\nx: 1\n";
        let mut repairs = Repairs::default();
        repairs.add(text, 3);
        let (source, repaired) = (Source::new("x", text), repairs.apply(text));
        let mapping = Mapping::new(&repairs, &source, &repaired);
        for word in ["a", "b", "cd", "x", "1"] {
            let place = mapping.offset(repaired.find(word).expect("kept"));
            assert!(text[place..].starts_with(word), "{word}");
        }
        assert_eq!(mapping.offset(repaired.len()), text.len());
    }
}
