//! Aligned columns for terminals.

use model::Outcome;

use crate::summary::Style;

/// A cell: what is shown, and how wide it is without its colour.
#[derive(Clone, Debug)]
pub struct Cell {
    shown: String,
    width: usize,
}

impl Cell {
    /// Text as it is. It must hold no escape sequences.
    pub fn plain(text: impl Into<String>) -> Self {
        let shown = text.into();
        Self { width: shown.chars().count(), shown }
    }

    /// Appends text in the colour of an outcome.
    pub(crate) fn push(&mut self, outcome: Outcome, text: &str, style: Style) {
        self.width += text.chars().count();
        self.shown.push_str(&colored(outcome, text, style));
    }

    /// Appends text as it is.
    pub(crate) fn push_plain(&mut self, text: &str) {
        self.width += text.chars().count();
        self.shown.push_str(text);
    }
}

/// Text in the colour of an outcome.
pub fn colored(outcome: Outcome, text: &str, style: Style) -> String {
    let code = match outcome {
        Outcome::Passed => 32,
        Outcome::Failed | Outcome::TimedOut => 31,
        Outcome::Invalid | Outcome::Error => 35,
        Outcome::Skipped | Outcome::Interrupted => 33,
    };
    if style.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Rows as lines, columns two spaces apart, each line indented so.
pub fn table(rows: &[Vec<Cell>], indent: &str) -> String {
    let widths = widths(rows);
    let mut out = String::new();
    for row in rows {
        let mut text = indent.to_owned();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(if index == 0 { "" } else { "  " });
            text.push_str(&cell.shown);
            text.extend(std::iter::repeat_n(' ', width - cell.width));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// How wide each column is.
pub(crate) fn widths(rows: &[Vec<Cell>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    (0..columns).map(|i| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.width).max().unwrap_or(0)).collect()
}
