//! The programs and builtins that the shell knows, and what a command needs of its surroundings.

mod builtin;
mod condition;
mod network;
mod storage;
mod system;
mod text;

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use crate::files::{Files, normalise};
use crate::network::Network;
use crate::process::{Effect, PIPE, Shared};
use crate::syntax::Node;
use crate::task::{Input, Output, Task};

/// What a command comes to.
pub(crate) enum Outcome {
    Done(i32),
    /// Ends after this time with this status.
    After(Duration, i32),
    Forever,
    /// Run again when the pipe is full or closed.
    Input(usize),
    Wait(Vec<u32>),
    Exit(i32),
    /// Goes on with this, in the same shell.
    Script(Arc<Node>),
    /// Goes on with another command.
    Again(Vec<String>),
    /// Has arranged for itself.
    Pending,
}

/// What a command sees.
pub(crate) struct Context<'a> {
    pub(crate) id: u32,
    pub(crate) task: &'a mut Task,
    pub(crate) shared: &'a mut Shared,
    pub(crate) network: &'a dyn Network,
    pub(crate) now: Duration,
    /// Statuses of tasks that are over.
    pub(crate) finished: BTreeMap<u32, i32>,
    /// The other tasks that are not.
    pub(crate) running: Vec<u32>,
}

impl Shared {
    /// Writes where the descriptor points.
    pub(crate) fn write(&mut self, output: &Output, bytes: &[u8]) {
        match output {
            Output::Stdout => self.emit(false, bytes),
            Output::Stderr => self.emit(true, bytes),
            Output::Null => {}
            Output::Attached(id, stderr) => {
                self.effects.push(Effect::Output { id: *id, stderr: *stderr, data: bytes.to_vec() });
            }
            Output::Pipe(pipe) => {
                if let Some(pipe) = self.pipes.get_mut(pipe) {
                    let room = (4 * PIPE).saturating_sub(pipe.data.len());
                    pipe.data.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
            }
            Output::File(path) => {
                let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
                // A full or read-only file has been reported when it was opened.
                let _ = files.append(path, bytes, 0);
            }
        }
    }
}

impl Context<'_> {
    pub(crate) fn out(&mut self, text: &str) {
        let output = self.task.files.out.clone();
        self.shared.write(&output, text.as_bytes());
    }

    pub(crate) fn out_bytes(&mut self, bytes: &[u8]) {
        let output = self.task.files.out.clone();
        self.shared.write(&output, bytes);
    }

    pub(crate) fn err(&mut self, text: &str) {
        let output = self.task.files.err.clone();
        self.shared.write(&output, format!("{text}\n").as_bytes());
    }

    /// Complains and fails.
    pub(crate) fn fail(&mut self, text: &str, status: i32) -> Outcome {
        self.err(text);
        Outcome::Done(status)
    }

    pub(crate) fn path(&self, path: &str) -> String {
        normalise(&self.task.cwd, path)
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        self.shared.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of standard input, or the pipe to wait for.
    pub(crate) fn input(&mut self) -> Result<Vec<u8>, usize> {
        match &mut self.task.files.input {
            Input::Null => Ok(Vec::new()),
            Input::Data(data, at) => {
                let rest = data.get(*at..).unwrap_or_default().to_vec();
                *at = data.len();
                Ok(rest)
            }
            Input::Pipe(pipe) => {
                let id = *pipe;
                let Some(pipe) = self.shared.pipes.get_mut(&id) else { return Ok(Vec::new()) };
                if pipe.data.len() < PIPE && self.running.contains(&pipe.writer) {
                    return Err(id);
                }
                Ok(std::mem::take(&mut pipe.data))
            }
        }
    }

    /// The contents of the named files, or standard input without any.
    pub(crate) fn inputs(&mut self, program: &str, names: &[&str]) -> Result<(Vec<u8>, i32), usize> {
        if names.is_empty() {
            return self.input().map(|data| (data, 0));
        }
        let (mut all, mut status) = (Vec::new(), 0);
        for name in names {
            if *name == "-" {
                all.extend(self.input()?);
                continue;
            }
            let path = self.path(name);
            if matches!(path.as_str(), "/dev/null") {
                continue;
            }
            let read = self.files().read(&path).map(<[u8]>::to_vec);
            match read {
                Ok(data) => all.extend(data),
                Err(reason) => {
                    self.err(&format!("{program}: can't open '{name}': {reason}"));
                    status = 1;
                }
            }
        }
        Ok((all, status))
    }

    pub(crate) fn variable(&self, name: &str) -> String {
        self.task.variables.get(name).cloned().unwrap_or_default()
    }
}

type Command = fn(&mut Context<'_>, &[String]) -> Outcome;

/// Whether the shell itself does it.
pub(crate) fn is_builtin(name: &str) -> bool {
    builtin::find(name).is_some()
}

/// Whether there is such a program in a busybox.
pub(crate) fn is_program(name: &str) -> bool {
    program(name).is_some()
}

fn program(name: &str) -> Option<Command> {
    system::find(name)
        .or_else(|| text::find(name))
        .or_else(|| storage::find(name))
        .or_else(|| network::find(name))
        .or_else(|| {
            builtin::find(name)
                .filter(|_| matches!(name, "echo" | "printf" | "true" | "false" | "test" | "[" | "pwd" | "kill"))
        })
}

/// Runs a builtin or program.
pub(crate) fn run(context: &mut Context<'_>, name: &str, argv: &[String]) -> Outcome {
    let command = if context.task.is_shell || name == "exit" {
        builtin::find(name).or_else(|| program(name))
    } else {
        program(name)
    };
    match command {
        Some(command) => command(context, argv),
        None => Outcome::Done(127),
    }
}

/// Words as string slices, without the command itself.
pub(crate) fn arguments(argv: &[String]) -> Vec<&str> {
    argv.iter().skip(1).map(String::as_str).collect()
}

/// Single-letter flags (also clustered) and the rest.
pub(crate) fn flags(argv: &[String]) -> (String, Vec<&str>) {
    let (mut letters, mut rest, mut open) = (String::new(), Vec::new(), true);
    for word in argv.iter().skip(1) {
        match word.strip_prefix('-') {
            Some("-") if open => open = false,
            Some(cluster) if open && !cluster.is_empty() => letters.push_str(cluster.trim_start_matches('-')),
            _ => rest.push(word.as_str()),
        }
    }
    (letters, rest)
}

/// `1.5`, `10s`, `2m`, `infinity`: as sleep takes them.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if matches!(text, "infinity" | "inf") {
        return Some(Duration::MAX);
    }
    let (number, unit) = match text.chars().last()? {
        's' => (&text[..text.len() - 1], 1.0),
        'm' => (&text[..text.len() - 1], 60.0),
        'h' => (&text[..text.len() - 1], 3600.0),
        'd' => (&text[..text.len() - 1], 86_400.0),
        c if c.is_ascii_digit() || c == '.' => (text, 1.0),
        _ => return None,
    };
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let seconds: f64 = number.parse().ok()?;
    Some(Duration::try_from_secs_f64(seconds * unit).unwrap_or(Duration::MAX))
}

/// `200M`, `1k`: as dd and head take them.
pub(crate) fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "c" => 1,
        "b" => 512,
        "k" | "K" | "kiB" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
