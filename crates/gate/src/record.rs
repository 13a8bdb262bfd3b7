//! One record for every request, whatever becomes of it: also for one whose client went away before the answer.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use model::{Decision, GateRecord, Party};

use crate::Attributes;

/// Where records go. Called on the request's own task: it must not block.
pub type Sink = Arc<dyn Fn(GateRecord) + Send + Sync>;

/// A record in the making; what was not finished is handed in when dropped, with status 0.
pub(crate) struct Entry {
    record: Option<GateRecord>,
    started: Instant,
    sink: Sink,
}

impl Entry {
    pub(crate) fn begin(party: Party, sink: Sink) -> Self {
        let record = GateRecord {
            at: Timestamp::now(),
            party,
            verb: String::new(),
            group: String::new(),
            version: String::new(),
            resource: String::new(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            path: String::new(),
            mutation: false,
            decision: Decision::Allowed,
            because: String::new(),
            allow_with: String::new(),
            status: 0,
            duration_ms: 0,
        };
        Self { record: Some(record), started: Instant::now(), sink }
    }

    /// For a request whose attributes could not be derived: the verb is the method, the path is cut.
    pub(crate) fn odd(&mut self, method: &http::Method, path: &str) {
        if let Some(record) = &mut self.record {
            record.verb = method.as_str().to_ascii_lowercase();
            record.path = path.chars().take(256).collect();
        }
    }

    pub(crate) fn describe(&mut self, attributes: &Attributes) {
        let Some(record) = &mut self.record else { return };
        record.verb.clone_from(&attributes.verb);
        record.group.clone_from(&attributes.group);
        record.version.clone_from(&attributes.version);
        record.resource.clone_from(&attributes.resource);
        record.subresource.clone_from(&attributes.subresource);
        record.namespace.clone_from(&attributes.namespace);
        record.name.clone_from(&attributes.name);
        if !attributes.is_resource {
            record.path.clone_from(&attributes.path);
        }
    }

    pub(crate) fn named(&mut self, name: &str) {
        if let Some(record) = &mut self.record {
            name.clone_into(&mut record.name);
        }
    }

    pub(crate) fn mutation(&mut self, mutation: bool) {
        if let Some(record) = &mut self.record {
            record.mutation = mutation;
        }
    }

    /// Which lines would allow what is about to be denied.
    pub(crate) fn allow_with(&mut self, lines: String) {
        if let Some(record) = &mut self.record {
            record.allow_with = lines;
        }
    }

    pub(crate) fn finish(mut self, decision: Decision, because: impl Into<String>, status: u16) {
        if let Some(record) = &mut self.record {
            record.decision = decision;
            record.because = because.into();
            record.status = status;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            (self.sink)(record);
        }
    }
}
