//! What one call may use. Each limit has a name, and whoever goes beyond it is told the name.

use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;

/// Limits of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time that the component's own code may run, not counting the time in host calls.
    pub cpu: Duration,
    /// Bytes of all linear memories together.
    pub memory_bytes: u64,
    /// Elements of one table.
    pub table_elements: u64,
    /// Core instances, and also memories and tables.
    pub instances: u32,
    /// Calls of any import.
    pub host_calls: u64,
    /// Calls that change the cluster.
    pub mutations: u64,
    /// Bytes that one call of an import hands over, in all its texts: they are copied before anything is asked about them.
    pub call_bytes: u64,
    /// Bytes of one object or patch that is sent to the cluster.
    pub request_bytes: u64,
    /// Bytes of one answer of the cluster.
    pub response_bytes: u64,
    /// Bytes of all answers of the cluster together.
    pub total_response_bytes: u64,
    /// Bytes written to the log.
    pub log_bytes: u64,
    /// Bytes of one saved state.
    pub state_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(10),
            memory_bytes: 256 << 20,
            table_elements: 100_000,
            instances: 100,
            host_calls: 20_000,
            mutations: 1_000,
            call_bytes: 32 << 20,
            // The API server's own limit.
            request_bytes: 3 << 20,
            response_bytes: 8 << 20,
            total_response_bytes: 128 << 20,
            log_bytes: 1 << 20,
            state_bytes: 4 << 20,
        }
    }
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of {name} ({limit}) was reached")]
pub(crate) struct LimitReached {
    pub(crate) name: &'static str,
    pub(crate) limit: u64,
}

/// The component's own code ran too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the component's code ran for more than {0:?}")]
pub(crate) struct CpuExceeded(pub(crate) Duration);

/// Counts what one call uses.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    memory: u64,
    host_calls: u64,
    mutations: u64,
    responses: u64,
    log: u64,
    guest_time: Duration,
    /// When the component's code was last entered; none while a host call runs.
    entered: Option<Instant>,
    /// The first limit that was told to the component, which may have gone on.
    pub(crate) reached: Option<LimitReached>,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            memory: 0,
            host_calls: 0,
            mutations: 0,
            responses: 0,
            log: 0,
            guest_time: Duration::ZERO,
            entered: Some(Instant::now()),
            reached: None,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A host call begins: the component's code stands still until [`leave_host`](Self::leave_host).
    pub(crate) fn enter_host(&mut self) -> Result<(), LimitReached> {
        if let Some(since) = self.entered.take() {
            self.guest_time += since.elapsed();
        }
        count(&mut self.host_calls, 1, "host calls", self.limits.host_calls)
    }

    pub(crate) fn leave_host(&mut self) {
        self.entered = Some(Instant::now());
    }

    pub(crate) fn mutation(&mut self) -> Result<(), LimitReached> {
        let counted = count(&mut self.mutations, 1, "mutations", self.limits.mutations);
        self.note(counted)
    }

    pub(crate) fn request(&mut self, bytes: u64) -> Result<(), LimitReached> {
        let counted = count(&mut 0, bytes, "bytes of one request", self.limits.request_bytes);
        self.note(counted)
    }

    pub(crate) fn response(&mut self, bytes: u64) -> Result<(), LimitReached> {
        let counted = count(&mut self.responses, bytes, "bytes of all responses", self.limits.total_response_bytes);
        self.note(counted)
    }

    pub(crate) fn response_too_large(&mut self) -> LimitReached {
        let limit = LimitReached { name: "bytes of one response", limit: self.limits.response_bytes };
        self.reached.get_or_insert(limit);
        limit
    }

    pub(crate) fn log(&mut self, bytes: u64) -> Result<(), LimitReached> {
        count(&mut self.log, bytes, "log bytes", self.limits.log_bytes)
    }

    pub(crate) fn state(&mut self, bytes: u64) -> Result<(), LimitReached> {
        let counted = count(&mut 0, bytes, "bytes of saved state", self.limits.state_bytes);
        self.note(counted)
    }

    /// Whether the component's code has run longer than it may.
    pub(crate) fn cpu(&self) -> Result<(), CpuExceeded> {
        let now = self.entered.map_or(Duration::ZERO, |since| since.elapsed());
        if self.guest_time + now > self.limits.cpu { Err(CpuExceeded(self.limits.cpu)) } else { Ok(()) }
    }

    fn note(&mut self, counted: Result<(), LimitReached>) -> Result<(), LimitReached> {
        if let Err(limit) = counted {
            self.reached.get_or_insert(limit);
        }
        counted
    }
}

fn count(counter: &mut u64, add: u64, name: &'static str, limit: u64) -> Result<(), LimitReached> {
    *counter = counter.saturating_add(add);
    if *counter > limit { Err(LimitReached { name, limit }) } else { Ok(()) }
}

// An `Err` carries the name of the limit to us; `Ok(false)` would end in a trap that says nothing.
impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        count(&mut self.memory, more, "memory bytes", self.limits.memory_bytes)?;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        count(&mut 0, desired as u64, "table elements", self.limits.table_elements)?;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.limits.instances as usize
    }

    fn tables(&self) -> usize {
        self.limits.instances as usize
    }

    fn memories(&self) -> usize {
        self.limits.instances as usize
    }
}
