//! The log of a run, event by event, also while another process writes it.

use model::Event;
use store::{EventTail, RunDir, StoreError, Tail};

use crate::{ApiError, Harness};

/// What there is to read now.
#[derive(Clone, Debug, PartialEq)]
pub enum Logged {
    /// The next event.
    Event(Box<Event>),
    /// No more for now: the run goes on.
    Pending,
    /// No more, ever.
    End,
}

/// How many cases an error lists.
const LISTED: usize = 20;

/// The events of a run, or of some of its cases.
#[derive(Debug)]
pub struct RunLogs {
    tail: EventTail,
    run: String,
    case: Option<Wanted>,
    /// Some case was there that is wanted.
    found: bool,
    /// Cases that were seen, for the error that says that the wanted one is not among them.
    seen: Vec<String>,
}

/// Which cases.
#[derive(Debug)]
enum Wanted {
    Exactly(String),
    With(String),
}

impl Wanted {
    fn is(&self, case: &str) -> bool {
        match self {
            Self::Exactly(id) => case == id,
            Self::With(part) => case.contains(part.as_str()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Exactly(text) | Self::With(text) => text,
        }
    }
}

impl RunLogs {
    /// What comes next.
    ///
    /// # Errors
    /// The file cannot be read, or is at its end without an event of the wanted case.
    pub fn next(&mut self) -> Result<Logged, ApiError> {
        loop {
            match self.tail.next()? {
                Tail::Event(event) if self.wants(&event) => return Ok(Logged::Event(event)),
                Tail::Event(_) => {}
                Tail::Pending => return Ok(Logged::Pending),
                Tail::End => return self.end(),
            }
        }
    }

    /// Lines that are no events, so far.
    pub fn unreadable(&self) -> u64 {
        self.tail.unreadable()
    }

    fn wants(&mut self, event: &Event) -> bool {
        let Some(wanted) = &self.case else { return true };
        let Some(case) = &event.case else { return false };
        let is = wanted.is(case.as_str());
        self.found |= is;
        if !is && self.seen.len() <= LISTED && !self.seen.iter().any(|seen| seen == case.as_str()) {
            self.seen.push(case.to_string());
        }
        is
    }

    fn end(&mut self) -> Result<Logged, ApiError> {
        match &self.case {
            Some(wanted) if !self.found => {
                let mut known = std::mem::take(&mut self.seen);
                if known.len() > LISTED {
                    known.truncate(LISTED);
                    known.push("…".to_owned());
                }
                Err(StoreError::CaseNotFound { run: self.run.clone(), case: wanted.text().to_owned(), known }.into())
            }
            _ => Ok(Logged::End),
        }
    }
}

impl Harness {
    /// The log of a run that has ended or goes on: of the case that has this id, or of all whose id has this part.
    ///
    /// # Errors
    /// There is no such run.
    pub fn runs_logs(&self, run: &str, case: Option<&str>) -> Result<RunLogs, ApiError> {
        let record = self.existing_store()?.run(run)?;
        let case = case.map(|text| match is_case(&record.dir, text) {
            true => Wanted::Exactly(text.to_owned()),
            false => Wanted::With(text.to_owned()),
        });
        let run = record.file.run_id.to_string();
        Ok(RunLogs { tail: EventTail::new(record.dir), run, case, found: false, seen: Vec::new() })
    }
}

/// Whether a case of just this id has begun: else `a--b--c` would also mean its repeats.
fn is_case(dir: &RunDir, text: &str) -> bool {
    let entries = std::fs::read_dir(dir.logs()).into_iter().flatten();
    entries.filter_map(Result::ok).any(|entry| entry.file_name() == *text)
}
