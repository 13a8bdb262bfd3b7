//! The two streams: data on standard output, talk on standard error, and what the terminal can show.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError, TryLockError};

use console::Term;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::Color;

/// What the program writes to, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Colours on standard output.
    pub(crate) stdout_color: bool,
    /// Colours on standard error.
    pub(crate) stderr_color: bool,
    /// Standard error is a terminal that can redraw lines.
    pub(crate) live: bool,
    /// No talk.
    pub(crate) quiet: bool,
    /// How much talk.
    pub(crate) verbose: u8,
}

impl Terminal {
    pub(crate) fn new(color: Color, quiet: bool, verbose: u8) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let colored = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !unwanted && !dumb,
        };
        let live = io::stderr().is_terminal() && !dumb;
        Self {
            stdout_color: colored(io::stdout().is_terminal()),
            stderr_color: colored(io::stderr().is_terminal()),
            live,
            quiet,
            verbose,
        }
    }

    /// Columns of the terminal on standard output; a fixed number elsewhere, so that files and pipes do not depend on
    /// the window that they were made in.
    pub(crate) fn width(&self) -> usize {
        let fixed = report::Style::default().width;
        if !io::stdout().is_terminal() {
            return fixed;
        }
        std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(fixed)
    }

    /// Columns of the terminal on standard error, where there is one.
    pub(crate) fn stderr_width(&self) -> usize {
        let (_, columns) = Term::stderr().size();
        usize::from(columns).max(20)
    }

    pub(crate) fn style(&self) -> report::Style {
        report::Style { color: self.stdout_color, width: self.width() }
    }

    /// Says something to people, on standard error, unless they want it quiet.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            complain(text);
        }
    }
}

/// What is redrawn at the end of standard error, while something is. Whoever writes there takes it away meanwhile.
static REDRAWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// From now on this is redrawn; none: what was is taken away.
pub(crate) fn redrawing(bar: Option<ProgressBar>) {
    let mut redrawn = REDRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) = std::mem::replace(&mut *redrawn, bar) {
        before.finish_and_clear();
    }
}

/// Writes to standard error as one write, so that lines of several threads are never torn. Errors are passed over:
/// there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let _ = to_stderr(format!("{text}\n").as_bytes());
}

/// The one way to standard error.
fn to_stderr(bytes: &[u8]) -> io::Result<()> {
    let write = || io::stderr().lock().write_all(bytes);
    // A panic while something is drawn is told by the thread that draws: it must not wait for itself.
    match REDRAWN.try_lock() {
        Ok(redrawn) => redrawn.as_ref().map_or_else(write, |bar| bar.suspend(write)),
        Err(TryLockError::Poisoned(redrawn)) => {
            redrawn.into_inner().as_ref().map_or_else(write, |bar| bar.suspend(write))
        }
        Err(TryLockError::WouldBlock) if std::thread::panicking() => write(),
        Err(TryLockError::WouldBlock) => {
            let redrawn = REDRAWN.lock().unwrap_or_else(PoisonError::into_inner);
            redrawn.as_ref().map_or_else(write, |bar| bar.suspend(write))
        }
    }
}

/// Standard error for the program's own log, which comes event by event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk;

impl Write for Talk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        to_stderr(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints data as it is. A reader that has gone (`| head`) is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints a JSON document.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}
