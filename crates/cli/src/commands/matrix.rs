//! `validate` and `list`

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use api::{Choice, Harness, Validation};
use report::{Cell, table};

use super::{runtime, show};
use crate::args::{Format, Output};
use crate::problem::{Problem, diagnostics};
use crate::terminal::Terminal;

pub(crate) fn validate(harness: &Harness, matrix: &Path, output: Output, terminal: Terminal) -> Result<u8, Problem> {
    let validation = runtime()?.block_on(harness.validate(matrix))?;
    if output.format == Format::Human {
        diagnostics(&validation.diagnostics, terminal);
        if !validation.valid {
            return Ok(model::exit_code::INVALID_INPUT);
        }
    }
    show(&validation, output, human)?;
    Ok(if validation.valid { model::exit_code::OK } else { model::exit_code::INVALID_INPUT })
}

fn human(validation: &Validation) -> String {
    let mut rows = vec![["AGENT", "EXECUTOR", "FROM", ""].map(Cell::plain).to_vec()];
    for agent in &validation.agents {
        let renamed = if agent.id == agent.name { String::new() } else { format!(" ({})", agent.id) };
        let control = if agent.control { "control" } else { "" };
        let note = agent.missing.clone().map_or(control.to_owned(), |missing| format!("not ready: {missing}"));
        rows.push(vec![
            Cell::plain(format!("{}{renamed}", agent.name)),
            Cell::plain(&agent.executor),
            Cell::plain(&agent.executor_from),
            Cell::plain(note),
        ]);
    }
    format!("{} is valid: {} cases\n\n{}", validation.file, validation.cases, table(&rows, ""))
}

/// Streams, so that a matrix of a million cases takes no more memory than one of ten.
pub(crate) fn list(
    harness: &Harness,
    matrix: &Path,
    choice: &Choice,
    output: Output,
    terminal: Terminal,
) -> Result<u8, Problem> {
    let listing = harness.list(matrix, choice)?;
    diagnostics(&listing.warnings, terminal);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut write = || -> io::Result<()> {
        let mut first = true;
        for case in listing.cases() {
            match output.format {
                Format::Human => writeln!(out, "{}", case.id)?,
                Format::Json => {
                    out.write_all(if first { b"[\n  " } else { b",\n  " })?;
                    serde_json::to_writer(&mut out, &case)?;
                }
            }
            first = false;
        }
        if output.format == Format::Json {
            out.write_all(if first { b"[]\n" } else { b"\n]\n" })?;
        }
        out.flush()
    };
    match write() {
        // `list | head` has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(0),
        result => Ok(result.map(|()| 0)?),
    }
}
