//! What people see while a run goes on, on standard error: on a terminal the cases that run, redrawn, below the lines of
//! those that have ended; plain lines elsewhere.

mod board;
mod estimate;
mod lines;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::Listener;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use model::{Event, EventKind};

use crate::terminal::{Terminal, complain, redrawing};
use board::Board;

pub(crate) use lines::{logged, told};

/// How often what is redrawn is redrawn.
const TICK: Duration = Duration::from_millis(200);

/// Makes the listeners that a run gets.
pub(crate) fn listeners(terminal: Terminal, follow: bool) -> Vec<Box<dyn Listener>> {
    match terminal {
        Terminal { quiet: true, .. } if !follow => Vec::new(),
        // What is redrawn leaves no room for streaming logs.
        Terminal { live: true, verbose: 0, quiet: false, .. } if !follow => vec![Box::new(Live::new(terminal))],
        _ => vec![Box::new(Plain { terminal, follow })],
    }
}

/// One line for each finished case; with `-v` the phases, with `--follow` the logs.
struct Plain {
    terminal: Terminal,
    follow: bool,
}

impl Listener for Plain {
    fn event(&mut self, event: &Event) {
        if self.follow && event.case.is_some() {
            logged(event).iter().for_each(|line| complain(line));
        }
        if !self.terminal.quiet {
            told(event, self.terminal.verbose > 0, self.terminal.stderr_color).iter().for_each(|line| complain(line));
        }
    }
}

/// The board, redrawn; finished cases above it.
struct Live {
    terminal: Terminal,
    board: Arc<Mutex<Board>>,
}

impl Live {
    fn new(terminal: Terminal) -> Self {
        let board = Arc::new(Mutex::new(Board::new(Instant::now())));
        let shown = Arc::clone(&board);
        let draw = move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
            let lines =
                shown.lock().unwrap_or_else(PoisonError::into_inner).lines(Instant::now(), terminal.stderr_width());
            // Nobody is there to hear of a terminal that is gone.
            let _ = to.write_str(&lines.join("\n"));
        };
        let bar = ProgressBar::new(0);
        // The template is a constant: it is either right always or never.
        if let Ok(style) = ProgressStyle::with_template("{board}") {
            bar.set_style(style.with_key("board", draw));
        }
        bar.enable_steady_tick(TICK);
        redrawing(Some(bar));
        Self { terminal, board }
    }
}

impl Listener for Live {
    fn event(&mut self, event: &Event) {
        // Not held while something is printed: what is printed redraws the board.
        self.board.lock().unwrap_or_else(PoisonError::into_inner).take(event, Instant::now());
        if matches!(event.event, EventKind::RunFinished { .. }) {
            return redrawing(None);
        }
        let begins = matches!(event.event, EventKind::RunStarted { .. });
        told(event, false, self.terminal.stderr_color).iter().filter(|_| !begins).for_each(|line| complain(line));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Also when the run ends by an error: the cursor is left on a line of its own.
        redrawing(None);
    }
}
