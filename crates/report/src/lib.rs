//! What people and CI read after a run: terminal summary, Markdown, JUnit. Pure: documents in, text out; called by api.
//! Results of different clusters are never added up into one rate, and every text is labelled with the kind of cluster.

mod baseline;
mod floor;
mod groups;
mod junit;
mod markdown;
mod rates;
mod statistics;
mod summary;
mod table;
mod text;

use model::{CaseFile, RunFile};

pub use baseline::{Combination, baseline, counts, shares};
pub use junit::junit;
pub use markdown::markdown;
pub use statistics::{Interval, Share, mcnemar};
pub use summary::{Style, summary};
pub use table::{Cell, colored, table};
pub use text::{denied_request, duration, one_line, printable, symbol};

/// A run to be shown.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its `run.json`.
    pub run: &'a RunFile,
    /// Its cases, in expansion order.
    pub cases: &'a [CaseFile],
    /// Where the run directory lies, as people should read it.
    pub dir: &'a str,
}

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the report cannot be written as XML: {0}")]
pub struct ReportError(String);
