//! Repeating and summing up.

use std::fmt;
use std::time::{Duration, Instant};

/// One line of the result.
#[derive(Debug)]
pub(crate) struct Measured {
    what: String,
    value: String,
    note: String,
}

impl Measured {
    /// A number that is no time.
    pub(crate) fn of(what: impl Into<String>, value: impl Into<String>, note: impl Into<String>) -> Self {
        Self { what: what.into(), value: value.into(), note: note.into() }
    }

    /// Several times of the same thing: the median, with the fastest and the slowest.
    pub(crate) fn times(what: impl Into<String>, mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |index: usize| times.get(index).copied().unwrap_or_default();
        let note = format!("{} times, {} to {}", times.len(), text(at(0)), text(at(times.len().saturating_sub(1))));
        Self { what: what.into(), value: text(at(times.len() / 2)), note }
    }

    /// Many times of the same thing: the median, with those that all but one in a hundred and all but one in a thousand keep.
    pub(crate) fn many(what: impl Into<String>, mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |share: f64| {
            let index = (times.len().saturating_sub(1)) as f64 * share;
            text(times.get(index as usize).copied().unwrap_or_default())
        };
        let note = format!("p99 {}, p99.9 {}, {} of them", at(0.99), at(0.999), times.len());
        Self { what: what.into(), value: at(0.5), note }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<52} {:>12}   {}", self.what, self.value, self.note)
    }
}

/// How long each of `count` turns takes.
pub(crate) fn repeat(count: usize, mut turn: impl FnMut() -> Result<(), String>) -> Result<Vec<Duration>, String> {
    (0..count)
        .map(|_| {
            let start = Instant::now();
            turn()?;
            Ok(start.elapsed())
        })
        .collect()
}

/// A duration with three digits and a unit that fits.
pub(crate) fn text(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        m if m < 1e3 => format!("{m:.1} us"),
        m if m < 1e6 => format!("{:.1} ms", m / 1e3),
        m => format!("{:.2} s", m / 1e6),
    }
}
