//! Transcripts of a shell: what was typed and what must be printed. One file is one session against one cluster.
//!
//! - `$ command` is run by `sh`; lines with `> ` go on with it. What it prints on both streams follows, up to an empty line
//!   before the next command. `$~ command` is repeated until it prints that.
//! - `[..]` stands for anything within a line, `...` alone for any lines.
//! - `? 1` at the end is the exit code; without it the code is 0.
//! - `1.32| text` is a line that only this version of kubectl prints.
//! - `# text` behind an empty line says why.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a repeated command may take to print what it must.
const PATIENCE: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(150);

/// One command of a transcript.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) command: String,
    repeated: bool,
    expected: Vec<String>,
    code: i32,
}

/// Reads a transcript as a version of kubectl (`1.32`) must print it.
pub(super) fn parse(text: &str, version: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let typed = line.strip_prefix("$~ ").map(|command| (command, true));
        if let Some((command, repeated)) = typed.or_else(|| line.strip_prefix("$ ").map(|command| (command, false))) {
            steps.push(Step { line: at + 1, command: command.to_owned(), repeated, ..Step::default() });
            continue;
        }
        let Some(step) = steps.last_mut() else { continue };
        if let Some(more) = line.strip_prefix("> ").filter(|_| step.expected.is_empty()) {
            step.command.push('\n');
            step.command.push_str(more);
        } else if let Some(code) = line.strip_prefix("? ").and_then(|code| code.parse().ok()) {
            step.code = code;
        } else if let Some((only, text)) = line.split_once("| ").filter(|(only, _)| is_version(only)) {
            if only == version {
                step.expected.push(text.to_owned());
            }
        } else if !(line.starts_with("# ") && step.expected.last().is_some_and(String::is_empty)) {
            step.expected.push(line.to_owned());
        }
    }
    for step in &mut steps {
        while step.expected.last().is_some_and(String::is_empty) {
            step.expected.pop();
        }
    }
    steps
}

fn is_version(text: &str) -> bool {
    text.split_once('.').is_some_and(|(major, minor)| {
        major == "1" && !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit())
    })
}

impl Step {
    /// Runs it with the surroundings of a shell; what is wrong with what it printed.
    pub(super) fn check(&self, shell: &dyn Fn() -> Command) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let (printed, code) = run(shell().arg("-c").arg(&self.command));
            let expected: Vec<&str> = self.expected.iter().map(String::as_str).collect();
            if code == self.code && matches(&expected, &printed.iter().map(String::as_str).collect::<Vec<_>>()) {
                return Ok(());
            }
            if !self.repeated || Instant::now() > until {
                let (wanted, printed) = (self.expected.join("\n"), printed.join("\n"));
                let codes = if code == self.code { String::new() } else { format!("? {code}, not {}\n", self.code) };
                return Err(format!(
                    "line {}: $ {}\n--- expected\n{wanted}\n--- printed\n{printed}\n{codes}",
                    self.line, self.command
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn run(command: &mut Command) -> (Vec<String>, i32) {
    let output = command.stdin(Stdio::null()).output().expect("sh");
    assert!(output.stderr.is_empty(), "the shell's streams are one");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    (lines, output.status.code().unwrap_or(-1))
}

/// Whether the lines are the expected ones.
fn matches(expected: &[&str], printed: &[&str]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), _) => (0..=printed.len()).any(|skip| matches(rest, &printed[skip..])),
        (Some((wanted, rest)), Some((line, more))) => line_matches(wanted.trim_end(), line) && matches(rest, more),
        _ => false,
    }
}

/// Whether a line is as expected, where `[..]` is anything.
fn line_matches(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split("[..]");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn a_transcript_tells_what_is_not_printed() {
    let text =
        "# why\n$ printf 'a\\n\\nb 1s\\n'; cat <<E\n> x\n> E\na\n\n1.32| b [..]s\n1.36| c\n...\n\n$ exit 3\n? 3\n";
    let shell = || Command::new("sh");
    let steps = parse(text, "1.32");
    assert_eq!(steps.iter().map(|step| step.line).collect::<Vec<_>>(), [2, 11]);
    for step in &steps {
        step.check(&shell).expect("is as it must be");
    }
    let refused = parse(text, "1.36")[0].check(&shell).expect_err("another version prints something else");
    assert!(refused.starts_with("line 2: $ printf") && refused.contains("\nc\n"), "{refused}");
    assert!(parse("$ exit 3\n", "1.32")[0].check(&shell).is_err(), "the code counts");
    assert!(!line_matches("a[..]b[..]c", "a b d"), "the end counts");
}
