//! Word expansion: variables, command substitutions (run before), arithmetic, field splitting, file names.

use std::sync::Arc;

use crate::arithmetic;
use crate::files::{Files, normalise, parent_of};
use crate::pattern;
use crate::syntax::{Node, Operator, Part, Redirect, Word};
use crate::task::Task;

/// Fields that one command may have; keeps a hostile script from eating memory.
const FIELDS: usize = 4096;
/// Bytes that one expansion may have.
const BYTES: usize = 256 * 1024;

/// A piece of expanded text, and whether it may be split.
struct Piece {
    text: String,
    quoted: bool,
}

/// Command substitutions of these words, in order of their running.
pub(crate) fn substitutions<'a>(words: impl Iterator<Item = &'a Word>) -> Vec<Arc<Node>> {
    let mut found = Vec::new();
    for word in words {
        collect(word, &mut found);
    }
    found
}

fn collect(word: &Word, found: &mut Vec<Arc<Node>>) {
    for part in word {
        match part {
            Part::Command { body, .. } => found.push(Arc::clone(body)),
            Part::Arithmetic { expression, .. } => collect(expression, found),
            Part::Variable { operator: Some((_, argument)), .. } => collect(argument, found),
            _ => {}
        }
    }
}

/// Every word of a node that is expanded when the node is evaluated.
pub(crate) fn words_of(node: &Node) -> Vec<&Word> {
    fn targets(redirects: &[Redirect]) -> impl Iterator<Item = &Word> {
        redirects.iter().map(|r| &r.target)
    }
    match node {
        Node::Simple { assigns, words, redirects } => {
            assigns.iter().map(|(_, word)| word).chain(words).chain(targets(redirects)).collect()
        }
        Node::For { words: Some(words), .. } => words.iter().collect(),
        Node::Case { word, .. } => vec![word],
        Node::Redirected(_, redirects) => targets(redirects).collect(),
        _ => Vec::new(),
    }
}

/// Expands with the state of one task.
pub(crate) struct Expander<'a> {
    pub(crate) task: &'a mut Task,
    pub(crate) pid: u32,
}

impl Expander<'_> {
    /// To one string, without splitting.
    pub(crate) fn single(&mut self, word: &Word) -> Result<String, String> {
        let pieces = self.pieces(word)?;
        Ok(pieces.into_iter().map(|piece| piece.text).collect())
    }

    /// To a pattern: quoted characters lose their meaning.
    pub(crate) fn pattern(&mut self, word: &Word) -> Result<String, String> {
        let mut text = String::new();
        for piece in self.pieces(word)? {
            for c in piece.text.chars() {
                if piece.quoted && matches!(c, '*' | '?' | '[' | '\\') {
                    text.push('\\');
                }
                text.push(c);
            }
        }
        Ok(text)
    }

    /// To fields: split, and with file names in place of patterns.
    pub(crate) fn fields(&mut self, words: &[Word], files: &Files) -> Result<Vec<String>, String> {
        let mut fields = Vec::new();
        for word in words {
            if let [Part::Variable { name, operator: None, length: false, quoted: true }] = word.as_slice()
                && name == "@"
            {
                fields.extend(self.task.arguments.iter().cloned());
                continue;
            }
            let pieces = self.pieces(word)?;
            self.split(pieces, files, &mut fields);
            if fields.len() > FIELDS {
                return Err("argument list too long".to_owned());
            }
        }
        Ok(fields)
    }

    fn split(&self, pieces: Vec<Piece>, files: &Files, fields: &mut Vec<String>) {
        let separators = self.task.variables.get("IFS").map_or(" \t\n", String::as_str).to_owned();
        let mut current: Option<(String, bool)> = None;
        let mut finish = |current: &mut Option<(String, bool)>| {
            if let Some((text, glob)) = current.take() {
                match self.file_names(&text, glob, files) {
                    Some(names) => fields.extend(names),
                    None => fields.push(text),
                }
            }
        };
        for piece in pieces {
            if piece.quoted {
                current.get_or_insert_with(|| (String::new(), false)).0.push_str(&piece.text);
                continue;
            }
            for c in piece.text.chars() {
                if separators.contains(c) {
                    finish(&mut current);
                } else {
                    let field = current.get_or_insert_with(|| (String::new(), false));
                    field.0.push(c);
                    field.1 |= matches!(c, '*' | '?' | '[');
                }
            }
        }
        finish(&mut current);
    }

    fn file_names(&self, text: &str, glob: bool, files: &Files) -> Option<Vec<String>> {
        if !glob || !pattern::is_pattern(text) {
            return None;
        }
        let (directory, last) = text.rsplit_once('/').map_or(("", text), |(d, l)| (d, l));
        if pattern::is_pattern(directory) {
            return None;
        }
        let place = if text.starts_with('/') && directory.is_empty() {
            "/".to_owned()
        } else {
            normalise(&self.task.cwd, directory)
        };
        debug_assert!(!parent_of(&place).is_empty());
        let prefix = if text.contains('/') { format!("{directory}/") } else { String::new() };
        let names: Vec<String> = files
            .list(&place)
            .into_iter()
            .filter(|name| pattern::matches(last, name) && (last.starts_with('.') || !name.starts_with('.')))
            .map(|name| format!("{prefix}{name}"))
            .collect();
        (!names.is_empty()).then_some(names)
    }

    fn pieces(&mut self, word: &Word) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::with_capacity(word.len());
        let mut total = 0;
        for (i, part) in word.iter().enumerate() {
            let piece = match part {
                Part::Literal { text, quoted } => {
                    let home = i == 0 && !quoted && (text == "~" || text.starts_with("~/"));
                    let text = if home { text.replacen('~', &self.variable("HOME"), 1) } else { text.clone() };
                    // Literal text of the script is never split, but its patterns are live.
                    if *quoted || !pattern::is_pattern(&text) {
                        Piece { text, quoted: true }
                    } else {
                        Piece { text, quoted: false }
                    }
                }
                Part::Variable { name, operator, length, quoted } => {
                    let text = self.parameter(name, operator.as_ref(), *length)?;
                    Piece { text, quoted: *quoted }
                }
                Part::Command { quoted, .. } => {
                    let text = if self.task.outputs.is_empty() { String::new() } else { self.task.outputs.remove(0) };
                    Piece { text: text.trim_end_matches('\n').to_owned(), quoted: *quoted }
                }
                Part::Arithmetic { expression, quoted } => {
                    let text = self.single(expression)?;
                    Piece { text: self.arithmetic(&text)?.to_string(), quoted: *quoted }
                }
            };
            total += piece.text.len();
            if total > BYTES {
                return Err("out of memory".to_owned());
            }
            pieces.push(piece);
        }
        Ok(pieces)
    }

    fn arithmetic(&mut self, text: &str) -> Result<i64, String> {
        let mut assigned = Vec::new();
        let value = {
            let task = &*self.task;
            let lookup = |name: &str| task.variables.get(name).cloned().unwrap_or_default();
            arithmetic::evaluate(text, &lookup, &mut |name, value| assigned.push((name.to_owned(), value)))?
        };
        for (name, value) in assigned {
            self.task.variables.insert(name, value.to_string());
        }
        Ok(value)
    }

    fn variable(&self, name: &str) -> String {
        self.lookup(name).unwrap_or_default()
    }

    fn lookup(&self, name: &str) -> Option<String> {
        let task = &*self.task;
        match name {
            "?" => Some(task.status.to_string()),
            "$" => Some(self.pid.to_string()),
            "!" => (task.background > 0).then(|| task.background.to_string()),
            "#" => Some(task.arguments.len().to_string()),
            "@" | "*" => Some(task.arguments.join(" ")),
            "-" => Some(String::new()),
            "0" => Some(task.name.clone()),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse::<usize>().ok().and_then(|n| task.arguments.get(n.wrapping_sub(1)).cloned())
            }
            name => task.variables.get(name).cloned(),
        }
    }

    fn parameter(&mut self, name: &str, operator: Option<&(Operator, Word)>, length: bool) -> Result<String, String> {
        let value = self.lookup(name);
        if length {
            return Ok(value.unwrap_or_default().chars().count().to_string());
        }
        let Some((operator, argument)) = operator else {
            return match value {
                None if self.task.fail_unset && name != "@" && name != "*" => Err(format!("{name}: parameter not set")),
                value => Ok(value.unwrap_or_default()),
            };
        };
        let absent = |or_empty: bool| value.as_ref().is_none_or(|v| or_empty && v.is_empty());
        match *operator {
            Operator::Default { or_empty } if absent(or_empty) => self.single(argument),
            Operator::Alternative { or_empty } => {
                if absent(or_empty) {
                    Ok(String::new())
                } else {
                    self.single(argument)
                }
            }
            Operator::Assign { or_empty } if absent(or_empty) => {
                let text = self.single(argument)?;
                self.task.variables.insert(name.to_owned(), text.clone());
                Ok(text)
            }
            Operator::Require { or_empty } if absent(or_empty) => {
                let text = self.single(argument)?;
                Err(format!("{name}: {}", if text.is_empty() { "parameter not set or null" } else { &text }))
            }
            Operator::TrimEnd { longest } => {
                Ok(trim(&value.unwrap_or_default(), &self.pattern(argument)?, true, longest))
            }
            Operator::TrimStart { longest } => {
                Ok(trim(&value.unwrap_or_default(), &self.pattern(argument)?, false, longest))
            }
            _ => Ok(value.unwrap_or_default()),
        }
    }
}

fn trim(value: &str, pattern: &str, end: bool, longest: bool) -> String {
    if value.len() > 4096 {
        return value.to_owned();
    }
    let mut cuts: Vec<usize> = value.char_indices().map(|(i, _)| i).chain([value.len()]).collect();
    // Shortest first: from the end for `%`, from the start for `#`.
    if end != longest {
        cuts.reverse();
    }
    for cut in cuts {
        let (removed, kept) = if end { (&value[cut..], &value[..cut]) } else { (&value[..cut], &value[cut..]) };
        if pattern::matches(pattern, removed) {
            return kept.to_owned();
        }
    }
    value.to_owned()
}
