//! Reading the events of a run while another process may still be writing them.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};

use model::{Event, EventKind};

use crate::{RunDir, RunLock, StoreError};

/// What there is to read now.
#[derive(Clone, Debug, PartialEq)]
pub enum Tail {
    /// The next event.
    Event(Box<Event>),
    /// No more for now: the run goes on.
    Pending,
    /// No more, ever: the run is finished, or nobody writes it any more.
    End,
}

/// The events of one run, from the first. The file may not be there yet, and its last line may be half of one.
#[derive(Debug)]
pub struct EventTail {
    dir: RunDir,
    file: Option<BufReader<File>>,
    /// The part of a line that is there.
    line: Vec<u8>,
    finished: bool,
    /// Nobody wrote any more before the last look, so that what it finds is all.
    last_look: bool,
    unreadable: u64,
}

impl EventTail {
    /// The events of the run in this directory.
    pub fn new(dir: RunDir) -> Self {
        Self { dir, file: None, line: Vec::new(), finished: false, last_look: false, unreadable: 0 }
    }

    /// What comes next.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn next(&mut self) -> Result<Tail, StoreError> {
        loop {
            if let Some(event) = self.whole_line()? {
                self.finished |= matches!(event.event, EventKind::RunFinished { .. });
                return Ok(Tail::Event(Box::new(event)));
            }
            if self.finished || self.last_look {
                return Ok(Tail::End);
            }
            if RunLock::is_held(self.dir.path()) {
                return Ok(Tail::Pending);
            }
            // Between our reading and asking, the writer may have written its last words.
            self.last_look = true;
        }
    }

    /// Lines that are no events, so far: of a machine that lost power in the middle, or of a later version.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    fn whole_line(&mut self) -> Result<Option<Event>, StoreError> {
        let path = self.dir.events();
        if self.file.is_none() {
            match File::open(&path) {
                Ok(file) => self.file = Some(BufReader::new(file)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(StoreError::io("read", &path)(error)),
            }
        }
        let Some(file) = &mut self.file else { return Ok(None) };
        loop {
            file.read_until(b'\n', &mut self.line).map_err(StoreError::io("read", &path))?;
            if self.line.last() != Some(&b'\n') {
                // Half a line: its other half comes, or the writer was ended in the middle of it.
                return Ok(None);
            }
            let event = serde_json::from_slice(&self.line);
            self.line.clear();
            match event {
                Ok(event) => return Ok(Some(event)),
                Err(_) => self.unreadable += 1,
            }
        }
    }
}
