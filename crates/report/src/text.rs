//! Words, symbols and text from outside, made fit to be shown.

use model::{DeniedRequest, Outcome};

/// The sign of an outcome. It always stands beside the word, so that neither it nor a colour carries meaning alone.
pub fn symbol(outcome: Outcome) -> char {
    match outcome {
        Outcome::Passed => '✓',
        Outcome::Failed => '✗',
        Outcome::TimedOut => '~',
        Outcome::Invalid => '?',
        Outcome::Error => '!',
        Outcome::Skipped => '-',
        Outcome::Interrupted => '^',
    }
}

/// Text from agents, clusters and failures as one line that cannot move a cursor, change a colour, turn the reading
/// direction or break XML: escape sequences go, control and formatting characters become spaces, runs of spaces one.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in harmless(text) {
        if c != ' ' || !(line.is_empty() || line.ends_with(' ')) {
            line.push(c);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// A log line as harmless as [`one_line`] makes it, with its indentation.
pub fn printable(line: &str) -> String {
    let text: String = harmless(line).collect();
    text.trim_end().to_owned()
}

/// The characters that may be shown; each control or formatting character as a space, escape sequences not at all.
fn harmless(text: &str) -> impl Iterator<Item = char> {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        loop {
            let c = chars.next()?;
            if !matches!(c, '\u{1b}' | '\u{9b}') {
                return Some(if is_hostile(c) { ' ' } else { c });
            }
            let sequence = c == '\u{9b}' || chars.next_if_eq(&'[').is_some();
            while sequence && chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
        }
    })
}

fn is_hostile(c: char) -> bool {
    let formatting =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    c.is_control() || formatting || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Milliseconds for people: `4.2s`, `1m 05s`, `2h 03m`.
pub fn duration(ms: u64) -> String {
    let tenths = ms.saturating_add(50) / 100;
    let seconds = ms.saturating_add(500) / 1000;
    match seconds {
        _ if tenths < 600 => format!("{}.{}s", tenths / 10, tenths % 10),
        ..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// What was asked and why it was denied, without who asked and what would allow it. Not yet harmless.
pub fn denied_request(denied: &DeniedRequest) -> String {
    let name = if denied.name.is_empty() { String::new() } else { format!(" {}", denied.name) };
    let scope = if denied.namespace.is_empty() { String::new() } else { format!(" in namespace {}", denied.namespace) };
    format!("{} {}{name}{scope}: {}", denied.verb, denied.resource, denied.because)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_becomes_one_harmless_line() {
        assert_eq!(one_line("a\u{1b}[31mred\u{1b}[0m\r\nb\tc\0\u{202e}d\u{1b}]x  "), "ared b c d]x");
        assert_eq!(one_line("cut off \u{1b}[3"), "cut off");
        assert_eq!(one_line("\n\n"), "");
        assert_eq!(printable("  - a\t\u{1b}[1mb  \r"), "  - a b");
    }

    #[test]
    fn durations_read_well_at_the_edges() {
        let shown = [0, 49, 50, 4_250, 59_940, 59_960, 65_000, 3_599_499, 3_599_500, 7_380_000].map(duration);
        assert_eq!(shown, ["0.0s", "0.0s", "0.1s", "4.3s", "59.9s", "1m 00s", "1m 05s", "59m 59s", "1h 00m", "2h 03m"]);
        duration(u64::MAX);
    }
}
