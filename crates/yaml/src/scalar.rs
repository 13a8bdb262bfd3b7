//! Scalars: which type a plain one has (YAML 1.2, core schema, section 10.3.2), and where a part of a text value stands
//! in the source, folded and quoted text included.

use serde_json::Number;

use crate::Kind;

/// The value of a plain scalar. `None` for a float that JSON cannot hold.
pub(crate) fn resolve_plain(text: &str) -> Option<Kind> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Kind::Null),
        "true" | "True" | "TRUE" => return Some(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Kind::Bool(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN" | ".NAN" => return None,
        _ => {}
    }
    if let Some(number) = integer(text) {
        return Some(Kind::Number(number));
    }
    if looks_like_float(text) {
        let value: f64 = text.parse().ok()?;
        return Number::from_f64(value).map(Kind::Number);
    }
    Some(Kind::Text(text.to_owned()))
}

fn integer(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().filter(|_| !digits.starts_with('+')).map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')).map(Number::from);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok()
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn looks_like_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
    };
    mantissa_ok && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

/// Where byte `offset` of the value of a scalar stands in `raw`, the source text of that scalar. Walks both side by
/// side: line folding turns runs of white space into others, and quoting puts characters in between. Where they cannot
/// be matched (numeric escapes), the last place that could.
pub(crate) fn offset_in_source(raw: &str, value: &str, offset: usize) -> usize {
    let start = match raw.chars().next() {
        Some('|' | '>') => raw.find('\n').map_or(raw.len(), |newline| newline + 1),
        Some('"' | '\'') => 1,
        _ => 0,
    };
    let quote = raw.chars().next().filter(|c| matches!(c, '"' | '\''));
    let mut source = raw[start..].char_indices().map(|(i, c)| (i + start, c)).peekable();
    let mut last = start;
    let mut in_space = true;
    for (at, wanted) in value.char_indices() {
        if at > offset {
            break;
        }
        if wanted.is_whitespace() {
            in_space = true;
            last = source.peek().map_or(last, |(i, _)| *i);
            continue;
        }
        if in_space {
            while source.next_if(|(_, c)| c.is_whitespace()).is_some() {}
            in_space = false;
        }
        match source.next() {
            Some((i, found)) if found == wanted && !(quote == Some('\'') && found == '\'') => last = i,
            Some((i, found)) if (quote == Some('"') && found == '\\') || (quote == Some('\'') && found == '\'') => {
                last = i;
                if source.next().is_none_or(|(_, escaped)| escaped != wanted) {
                    return last;
                }
            }
            _ => return last,
        }
    }
    if offset >= value.len() && !value.is_empty() {
        last += raw[last..].chars().next().map_or(0, char::len_utf8);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_core_schema() {
        let number = |n: i64| Some(Kind::Number(n.into()));
        assert_eq!(resolve_plain("0x1f"), number(31));
        assert_eq!(resolve_plain("0o17"), number(15));
        assert_eq!(resolve_plain("+7"), number(7));
        assert_eq!(resolve_plain("-7"), number(-7));
        assert_eq!(resolve_plain("1.50"), Number::from_f64(1.5).map(Kind::Number));
        assert_eq!(resolve_plain("~"), Some(Kind::Null));
        for text in ["yes", "on", "1.0.0", "0x", "1e", "12ab", "-", "+", ".", "1_000", "0o9", "e5", "1:30"] {
            assert_eq!(resolve_plain(text), Some(Kind::Text(text.to_owned())), "{text}");
        }
        assert_eq!(resolve_plain(".inf"), None);
        assert_eq!(resolve_plain("1e999"), None);
    }

    #[test]
    fn positions_in_folded_and_quoted_text() {
        let at = |raw: &str, value: &str, part: &str| {
            let found = offset_in_source(raw, value, value.find(part).expect("part of the value"));
            assert!(raw[found..].starts_with(part.split(' ').next().unwrap_or(part)), "{raw:?} at {found}: {part}");
        };
        at(">-\n      one two\n      three four\n", "one two three four", "three");
        at(">-\n      one two\n      three four\n", "one two three four", "four");
        at("|\n  a\n   b\n", "a\n b\n", "b");
        at("\"say \\\"x\\\" now\"", "say \"x\" now", "now");
        at("'it''s here'", "it's here", "here");
        at("plain text\n   goes on", "plain text goes on", "goes");
        assert_eq!(offset_in_source("abc", "abc", 3), 3, "the end");
    }

    proptest! {
        #[test]
        fn stays_inside(raw in "\\PC{0,30}", value in "\\PC{0,30}", offset in 0usize..40) {
            let found = offset_in_source(&raw, &value, offset);
            prop_assert!(found <= raw.len() && raw.is_char_boundary(found));
        }
    }
}
