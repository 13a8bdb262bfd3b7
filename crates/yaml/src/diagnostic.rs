//! One thing that is wrong in a document, and all of them; shown plainly or, through miette, with the source.

use std::fmt;
use std::ops::Range;

use miette::{LabeledSpan, SourceCode};

use crate::Source;

/// Whether a document with this can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It can; but the author should know.
    Warning,
    /// It cannot.
    Error,
}

/// What is wrong, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable word for programs.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, one sentence.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// What to write beside the marked text.
    pub label: Option<String>,
    /// The bytes of the source that it is about; none when it is about the file as a whole.
    pub span: Option<Range<usize>>,
    /// Where it stands.
    pub source: Source,
}

impl Diagnostic {
    /// An error at a place.
    pub fn new(code: &'static str, source: &Source, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), ..Self::without_span(code, source, message) }
    }

    /// An error about a file as a whole.
    pub fn without_span(code: &'static str, source: &Source, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            help: None,
            label: None,
            span: None,
            source: source.clone(),
        }
    }

    /// With what would be right.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With words beside the marked text.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same as a warning.
    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Line and column of the start, both from 1.
    pub fn location(&self) -> Option<(usize, usize)> {
        self.span.as_ref().map(|span| self.source.location(span.start))
    }
}

/// `file:line:column: message`, and `help: …` on lines of its own.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.name)?;
        if let Some((line, column)) = self.location() {
            write!(f, ":{line}:{column}")?;
        }
        let warning = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, ": {warning}{}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {}", help.replace('\n', "\n        ")),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// What miette shows as the headline: without the place, which the snippet shows.
#[derive(Debug)]
struct Shown<'a>(&'a Diagnostic);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.0.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        miette::Diagnostic::severity(self.0)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        miette::Diagnostic::help(self.0)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.0.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        miette::Diagnostic::labels(self.0)
    }
}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Warning => miette::Severity::Warning,
            Severity::Error => miette::Severity::Error,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        let label = LabeledSpan::new(self.label.clone(), span.start, span.len());
        Some(Box::new(std::iter::once(label)))
    }
}

/// Everything that is wrong with one or more documents, in reading order. Never empty where it stands for a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Sorted by file and place, without repetitions.
    pub fn new(mut all: Vec<Diagnostic>) -> Self {
        // Files keep the order in which they were read; only places within one file are sorted.
        let mut names: Vec<String> = Vec::new();
        for one in &all {
            if !names.contains(&one.source.name) {
                names.push(one.source.name.clone());
            }
        }
        let file = |one: &Diagnostic| names.iter().position(|name| *name == one.source.name);
        all.sort_by_key(|one| (file(one), one.span.as_ref().map(|span| span.start)));
        all.dedup_by(|a, b| a.message == b.message && a.span == b.span && a.source.name == b.source.name);
        Self(all)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// All of them with the source around each, for people at a terminal.
    pub fn pretty(&self, color: bool) -> String {
        let theme = if color { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::unicode_nocolor() };
        let handler = miette::GraphicalReportHandler::new_themed(theme).with_links(false);
        let mut text = String::new();
        for one in &self.0 {
            if handler.render_report(&mut text, &Shown(one)).is_err() {
                text.push_str(&one.to_string());
            }
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        text
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{one}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_pretty_say_the_same() {
        let source = Source::new("m.yaml", "name: x\nfoo: 1\n");
        let one = Diagnostic::new("c", &source, 8..11, "unknown key `foo`").with_help("keys: name");
        let all = Diagnostics::new(vec![one.clone(), one.clone()]);
        assert_eq!(all.to_string(), "m.yaml:2:1: unknown key `foo`\n  help: keys: name");
        let pretty = all.pretty(false);
        for part in ["unknown key `foo`", "m.yaml:2:1", "keys: name", "foo: 1"] {
            assert!(pretty.contains(part), "{part} is missing in\n{pretty}");
        }
        assert!(one.as_warning().to_string().contains("m.yaml:2:1: warning: unknown"));
    }
}
