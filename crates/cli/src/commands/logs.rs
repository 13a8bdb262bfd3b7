//! `runs logs`: the lines of a run, from its event log, also while another process writes it.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use api::{Harness, Logged};
use model::Event;

use crate::args::{Format, Logs};
use crate::problem::Problem;
use crate::progress::{logged, told};
use crate::terminal::Terminal;

/// How often it is looked whether there is more.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(harness: &Harness, args: Logs, terminal: Terminal) -> Result<u8, Problem> {
    let mut log = harness.runs_logs(&args.run, args.case.as_deref())?;
    let mut out = Printer { terminal, format: args.output.format, array: !args.follow, first: true };
    loop {
        let written = match log.next()? {
            Logged::Event(event) => out.event(&event),
            Logged::Pending if args.follow => {
                std::thread::sleep(LOOK);
                continue;
            }
            Logged::Pending => {
                terminal.say("The run goes on; --follow waits for more.");
                break;
            }
            Logged::End => break,
        };
        match written {
            // `runs logs … | head` has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(0),
            written => written?,
        }
    }
    if log.unreadable() > 0 {
        terminal.say(&format!("warning: {} lines of the event log could not be read", log.unreadable()));
    }
    match out.end() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(0),
        ended => Ok(ended.map(|()| 0)?),
    }
}

/// Prints event by event, each as one write, so that who follows sees it at once and whole.
struct Printer {
    terminal: Terminal,
    format: Format,
    /// JSON as one array; otherwise, since nobody knows its end, an event a line.
    array: bool,
    first: bool,
}

impl Printer {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let text = match self.format {
            Format::Human => {
                let line = logged(event).or_else(|| told(event, self.terminal.verbose > 0, self.terminal.stdout_color));
                let Some(line) = line else { return Ok(()) };
                format!("{line}\n")
            }
            Format::Json => {
                let line = serde_json::to_string(event)?;
                match (self.array, self.first) {
                    (true, true) => format!("[\n  {line}"),
                    (true, false) => format!(",\n  {line}"),
                    (false, _) => format!("{line}\n"),
                }
            }
        };
        self.first = false;
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    fn end(self) -> io::Result<()> {
        if self.format == Format::Human || !self.array {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(if self.first { b"[]\n" } else { b"\n]\n" })?;
        stdout.flush()
    }
}
