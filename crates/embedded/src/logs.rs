//! What containers have written: by pod, container and run, bounded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use simulation::ContainerRun;

/// Lines kept of one run; a container runtime keeps 10 MB, which is far more than the simulated ones write.
const MAX_LINES: usize = 20_000;
const MAX_LINE: usize = 16 * 1024;

/// One line of a log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    pub(crate) stderr: bool,
    pub(crate) text: Arc<str>,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: VecDeque<Line>,
    /// Lines that were dropped at the front.
    dropped: usize,
}

impl Log {
    /// The lines from number `from` on, and the number behind the last.
    pub(crate) fn from(&self, from: usize) -> (impl DoubleEndedIterator<Item = &Line>, usize) {
        let skip = from.saturating_sub(self.dropped).min(self.lines.len());
        (self.lines.range(skip..), self.dropped + self.lines.len())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Logs {
    runs: BTreeMap<ContainerRun, Log>,
}

impl Logs {
    pub(crate) fn push(&mut self, run: &ContainerRun, at: Timestamp, stderr: bool, line: &str) {
        let log = match self.runs.get_mut(run) {
            Some(log) => log,
            None => self.runs.entry(run.clone()).or_default(),
        };
        let mut end = line.len().min(MAX_LINE);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        log.lines.push_back(Line { at, stderr, text: line[..end].into() });
        if log.lines.len() > MAX_LINES {
            log.lines.pop_front();
            log.dropped += 1;
        }
    }

    pub(crate) fn get(&self, run: &ContainerRun) -> Option<&Log> {
        self.runs.get(run)
    }

    pub(crate) fn drop_run(&mut self, run: &ContainerRun) {
        self.runs.remove(run);
    }

    /// The pod is gone, and so are its logs.
    pub(crate) fn drop_pod(&mut self, uid: &str) {
        self.runs.retain(|run, _| run.pod_uid != uid);
    }
}
