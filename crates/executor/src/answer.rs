//! Reads what an agent hands in. Nothing in it is trusted: a wrong answer is the agent's, a hostile one must do no harm.

use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use model::{Answer, AnswerRecord};
use rustix::fs::OFlags;

/// The largest answer, in bytes.
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;
/// The most entries of `root_causes`.
const MAX_CAUSES: usize = 256;
/// How deep lists and objects may lie in each other, members that nobody reads included.
const MAX_DEPTH: usize = 32;
/// The longest name, kind or fault type; Kubernetes' own names end at 253.
const MAX_WORD: usize = 512;

/// The answer in a file, or why it cannot be read. `optional`: a missing file is no error.
pub(crate) fn from_file(workspace: &Path, path: &Path, optional: bool) -> AnswerRecord {
    match read_file(workspace, path) {
        Ok(Some(text)) => from_text(&text),
        Ok(None) => missing(optional, "the agent left no answer file"),
        Err(why) => failed(why),
    }
}

/// The last top-level JSON object in a text.
pub(crate) fn from_output(output: &str, optional: bool) -> AnswerRecord {
    match last_object(output) {
        Some(object) if object.len() as u64 > MAX_BYTES => failed("the answer is larger than 1 MiB"),
        Some(object) => from_text(object),
        None => missing(optional, "the agent's output holds no JSON object"),
    }
}

/// The answer that the final object of the output holds: an object, or text with one in it.
pub(crate) fn from_value(value: Option<&serde_json::Value>, optional: bool) -> AnswerRecord {
    match value {
        Some(serde_json::Value::String(text)) => from_output(text, optional),
        Some(value @ serde_json::Value::Object(_)) => from_output(&value.to_string(), optional),
        _ => missing(optional, "the agent's output holds no answer"),
    }
}

/// None was handed in, which is an error only where one is asked for.
fn missing(optional: bool, why: &str) -> AnswerRecord {
    AnswerRecord { error: (!optional).then(|| why.to_owned()), missing: true, parsed: None }
}

fn failed(why: impl Into<String>) -> AnswerRecord {
    AnswerRecord { error: Some(why.into()), ..AnswerRecord::default() }
}

fn read_file(workspace: &Path, path: &Path) -> Result<Option<String>, String> {
    read_capped(workspace, path, MAX_BYTES, "the answer")
}

/// A file that an agent has left, read with distrust; none where there is none.
pub(crate) fn read_capped(workspace: &Path, path: &Path, max: u64, what: &str) -> Result<Option<String>, String> {
    // The agent may have put a link in the place of its whole workspace.
    if !fs::symlink_metadata(workspace).is_ok_and(|m| m.is_dir()) {
        return Err("the workspace is no longer a directory".to_owned());
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(format!("{what} is a symbolic link"));
        }
        Err(e) => return Err(format!("{what} cannot be opened: {}", e.kind())),
    };
    let meta = file.metadata().map_err(|e| format!("{what} cannot be read: {}", e.kind()))?;
    if !meta.is_file() {
        return Err(format!("{what} is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(|e| format!("{what} cannot be read: {}", e.kind()))?;
    if bytes.len() as u64 > max {
        return Err(format!("{what} is larger than {} MiB", max.div_ceil(1024 * 1024)));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| format!("{what} is not UTF-8"))
}

fn from_text(text: &str) -> AnswerRecord {
    match parse(text) {
        Ok(answer) => AnswerRecord { parsed: Some(answer), ..AnswerRecord::default() },
        Err(why) => failed(why),
    }
}

fn parse(text: &str) -> Result<Answer, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err("the answer is empty".to_owned());
    }
    if !text.starts_with('{') {
        return Err("the answer is not a JSON object".to_owned());
    }
    if depth(text) > MAX_DEPTH {
        return Err(format!("the answer is nested deeper than {MAX_DEPTH} levels"));
    }
    // Errors name a place in the answer, never its content.
    let mut answer: Answer = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if answer.root_causes.len() > MAX_CAUSES {
        return Err(format!("the answer has more than {MAX_CAUSES} root causes"));
    }
    for cause in &answer.root_causes {
        check_word("a root cause's kind", &cause.kind)?;
        check_word("a root cause's name", &cause.name)?;
        check_word("a root cause's namespace", cause.namespace.as_deref().unwrap_or_default())?;
    }
    check_word("fault_type", answer.fault_type.as_deref().unwrap_or_default())?;
    // Terminal sequences in free text would reach the terminals of people who read reports.
    answer.explanation = answer
        .explanation
        .map(|text| text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }).collect());
    Ok(answer)
}

/// The deepest nesting of brackets outside strings.
fn depth(text: &str) -> usize {
    let (mut now, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn check_word(what: &str, word: &str) -> Result<(), String> {
    if word.len() > MAX_WORD {
        return Err(format!("{what} in the answer is longer than {MAX_WORD} bytes"));
    }
    if word.chars().any(char::is_control) {
        return Err(format!("{what} in the answer holds control characters"));
    }
    Ok(())
}

/// Bytes that may be parsed in vain before the search is given up.
const PATIENCE: usize = 64 * 1024 * 1024;

/// The last JSON object that stands at the top level of a text of prose, logs and JSON.
pub(crate) fn last_object(text: &str) -> Option<&str> {
    last_object_where(text, |_| true)
}

/// The same, of those that somebody wants.
pub(crate) fn last_object_where<'a>(text: &'a str, wanted: impl Fn(&'a str) -> bool) -> Option<&'a str> {
    let (mut found, mut at, mut wasted) = (None, 0, 0);
    while let Some(offset) = text[at..].find('{') {
        let start = at + offset;
        let mut stream = serde_json::Deserializer::from_str(&text[start..]).into_iter::<serde::de::IgnoredAny>();
        match stream.next() {
            Some(Ok(_)) => {
                at = start + stream.byte_offset();
                let object = &text[start..at];
                found = Some(object).filter(|object| wanted(object)).or(found);
            }
            failure => {
                wasted += failure.and_then(Result::err).map_or(0, |error| read_until(&text[start..], &error)).max(128);
                at = start + 1;
            }
        }
        if wasted > PATIENCE {
            break;
        }
    }
    found
}

/// How many bytes were read before the error: it may come late, and after each brace again.
fn read_until(text: &str, error: &serde_json::Error) -> usize {
    let before = match error.line() {
        0 | 1 => 0,
        line => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(at, _)| at),
    };
    before + error.column()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_object_is_found_among_anything() {
        let cases = [
            ("", None),
            ("no object [1, 2]", None),
            ("{\"a\": 1}", Some("{\"a\": 1}")),
            ("log {not json} {\"a\": {\"b\": 1}} tail }", Some("{\"a\": {\"b\": 1}}")),
            ("{\"a\": 1}\n{\"b\": 2}\n", Some("{\"b\": 2}")),
            ("```json\n{\"b\": \"}{\"}\n```", Some("{\"b\": \"}{\"}")),
            ("{\"a\": 1} {\"cut\": ", Some("{\"a\": 1}")),
        ];
        for (text, expected) in cases {
            assert_eq!(last_object(text), expected, "{text}");
        }
        assert_eq!(last_object(&"{".repeat(1_000_000)), None);
        assert_eq!(last_object(&"{\"a\":".repeat(200_000)), None);
        assert_eq!(last_object(&format!("{} [line cut]", "{\"a\":".repeat(200_000))), None, "in bounded time");
        assert_eq!(last_object(&format!("{} [line cut]", "{\"a\":\n".repeat(200_000))), None, "in bounded time");
    }

    #[test]
    fn rubbish_is_named_for_what_it_is() {
        let cases: [(String, &str); 8] = [
            (String::new(), "is empty"),
            ("I think it is DNS.".to_owned(), "not a JSON object"),
            ("{}".to_owned(), "fault_present"),
            ("{\"fault_present\": \"yes\"}".to_owned(), "invalid type"),
            (format!("{{\"fault_present\": true, \"x\": {}", "[".repeat(300)), "nested deeper"),
            ("{\"fault_present\": true, \"fault_type\": \"a\\u001b[2J\"}".to_owned(), "control characters"),
            (format!("{{\"fault_present\": true, \"fault_type\": \"{}\"}}", "x".repeat(600)), "longer than"),
            ("{\"fault_present\": true} and more".to_owned(), "trailing"),
        ];
        for (text, expected) in cases {
            let error = from_text(&text).error.unwrap_or_default();
            assert!(error.contains(expected), "{error} should say {expected}");
        }
        let fine = from_text("{\"fault_present\": false, \"explanation\": \"\\u001b[31mred\", \"more\": 1}");
        assert_eq!(fine.parsed.and_then(|a| a.explanation).as_deref(), Some(" [31mred"));
    }
}
