//! The component of failures that are written as `induce.sh start|stop`. The script itself runs on the host's side, through the
//! import `script`, with no more power than a component would have.

use std::time::Duration;

use failure_sdk::{Case, Error, Failure, Induced, Result, log, script};

struct Shim;

failure_sdk::failure!(Shim, "null");

impl Failure for Shim {
    fn induce(_: &Case) -> Result<Induced> {
        let output = run("start")?;
        Ok(match time_out(&output.stdout) {
            Some(time) => Induced::default().agent_time(time),
            None => Induced::default(),
        })
    }

    fn stop(_: &Case) -> Result<()> {
        run("stop").map(|_| ())
    }
}

fn run(argument: &str) -> Result<script::Output> {
    let output = script::run(&[argument])?;
    if output.code == 0 {
        return Ok(output);
    }
    let said = last_lines(if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr });
    let message = ["the script ended with code ", &output.code.to_string(), " on `", argument, "`: ", said].concat();
    log::error(&message);
    Err(Error::Other(message))
}

/// The last `TIMEOUT=<seconds>` that stands on a line of its own.
fn time_out(stdout: &str) -> Option<Duration> {
    let seconds = stdout.lines().rev().find_map(|line| line.trim().strip_prefix("TIMEOUT="))?;
    match seconds.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            log::warn("the script printed a TIMEOUT= that is not a whole number of seconds; it is ignored");
            None
        }
    }
}

fn last_lines(text: &str) -> &str {
    let text = text.trim();
    let start = text.char_indices().rev().filter(|(_, c)| *c == '\n').nth(4).map_or(0, |(index, _)| index + 1);
    &text[start..]
}
