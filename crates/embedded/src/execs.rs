//! Commands that run in containers for clients: what they have written and nobody has taken yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use simulation::Exec;
use tokio::sync::Notify;

use crate::state::State;

/// Bytes that may wait for a client who does not read; a command that writes more is ended.
const LIMIT: usize = 4 << 20;

#[derive(Debug)]
struct Open {
    chunks: VecDeque<(bool, Vec<u8>)>,
    bytes: usize,
    /// It wrote more than was taken.
    overflown: bool,
    code: Option<i32>,
    told: Arc<Notify>,
}

/// What has become of a command since it was last asked.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// True: standard error.
    pub(crate) chunks: VecDeque<(bool, Vec<u8>)>,
    pub(crate) overflown: bool,
    /// Its exit code, once there is nothing more.
    pub(crate) code: Option<i32>,
}

#[derive(Debug, Default)]
pub(crate) struct Execs {
    sequence: u64,
    open: BTreeMap<u64, Open>,
}

impl Execs {
    /// A new one, and what is told when there is news of it.
    pub(crate) fn open(&mut self) -> (u64, Arc<Notify>) {
        self.sequence += 1;
        let told = Arc::new(Notify::new());
        let open = Open { chunks: VecDeque::new(), bytes: 0, overflown: false, code: None, told: Arc::clone(&told) };
        self.open.insert(self.sequence, open);
        (self.sequence, told)
    }

    pub(crate) fn take(&mut self, id: u64) -> News {
        let Some(open) = self.open.get_mut(&id) else { return News::default() };
        open.bytes = 0;
        News { chunks: std::mem::take(&mut open.chunks), overflown: open.overflown, code: open.code }
    }

    pub(crate) fn close(&mut self, id: u64) {
        self.open.remove(&id);
    }

    pub(crate) fn write(&mut self, id: u64, stderr: bool, data: &[u8]) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.bytes += data.len();
        open.overflown |= open.bytes > LIMIT;
        if !open.overflown {
            match open.chunks.back_mut() {
                Some((last, chunk)) if *last == stderr => chunk.extend_from_slice(data),
                _ => open.chunks.push_back((stderr, data.to_vec())),
            }
        }
        open.told.notify_one();
    }

    pub(crate) fn end(&mut self, id: u64, code: i32) {
        if let Some(open) = self.open.get_mut(&id) {
            open.code = Some(code);
            open.told.notify_one();
        }
    }

    /// The cluster is gone, and whatever ran in it.
    pub(crate) fn end_all(&mut self) {
        for open in self.open.values_mut() {
            open.code.get_or_insert(137);
            open.told.notify_one();
        }
    }
}

impl State {
    /// Lets the node of the pod begin it. The error is the node's.
    pub(crate) fn begin_exec(&mut self, exec: &Exec) -> Result<(), String> {
        let begun = self.ask_controllers(|controller, state| controller.exec(state, exec));
        begun.unwrap_or_else(|| Err("error dialing backend: no kubelet serves the pod".to_owned()))
    }

    /// Ends it, if it still runs.
    pub(crate) fn cancel_exec(&mut self, exec: &Exec) {
        self.execs.close(exec.id);
        self.ask_controllers(|controller, state| {
            controller.cancel_exec(state, exec);
            None::<()>
        });
    }
}
