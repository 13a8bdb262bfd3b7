//! What one call has behind its imports: the cluster, the clock, the log, and the meter that counts it all.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::{Error, ScriptedFailure};
use crate::call::Call;
use crate::limits::{Limits, Meter};
use crate::resources::Resource;

/// The data of one store.
pub(crate) struct Context {
    pub(crate) meter: Meter,
    /// None while `metadata` is asked for, which may call nothing.
    pub(crate) call: Option<Call>,
    pub(crate) in_flight: InFlight,
    /// The component was told that the cluster, or the place for its state, is not there for now.
    pub(crate) was_unavailable: bool,
    /// Kinds that the API server was asked for.
    pub(crate) discovered: HashMap<(String, String), Resource>,
    random: u64,
}

impl Context {
    pub(crate) fn new(limits: Limits, call: Option<Call>) -> Self {
        let random = call.as_ref().map_or(0, |call| call.seed);
        Self {
            meter: Meter::new(limits),
            call,
            in_flight: InFlight::default(),
            was_unavailable: false,
            discovered: HashMap::new(),
            random,
        }
    }

    /// The call, or what ends `metadata` when it calls an import.
    pub(crate) fn call(&self) -> wasmtime::Result<&Call> {
        self.call.as_ref().ok_or_else(|| wasmtime::Error::msg("`metadata` called an import, which it must not"))
    }

    /// SplitMix64: stable over all versions of all libraries, so that a seed means the same for ever.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The change that is on its way to the cluster, if any. It runs on a task of its own, so that cutting the component off never
/// cuts off a request half-way; whoever cuts it off waits here until the request is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<()>>);

impl InFlight {
    /// Runs `work` to its end, also when the caller is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let guard = Arc::clone(&self.0).lock_owned().await;
        let task = tokio::spawn(async move {
            let value = work.await;
            drop(guard);
            value
        });
        task.await.map_err(|error| Error::Other(format!("the request was not carried out: {error}")))
    }

    /// Waits until nothing is on its way.
    pub(crate) async fn settle(&self) {
        drop(self.0.lock().await);
    }
}

/// Everything that the contract offers, and nothing else: no WASI.
///
/// # Errors
/// When the generated bindings contradict themselves.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Context>> {
    let mut linker = Linker::new(engine);
    ScriptedFailure::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    Ok(linker)
}
