//! Loading components and calling them: a fresh store for each call, CPU time by epochs, wall time by the runtime.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use wasmtime::component::Component;
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::bindings::{self, ScriptedFailure, ScriptedFailurePre};
use crate::cache::Cache;
use crate::call::{Call, Induced};
use crate::context::{Context, linker};
use crate::engine;
use crate::error::{DeadlineKind, LoadError, PluginError};
use crate::limits::Limits;

/// How long a request that is on its way may take after its component was cut off.
const SETTLE: Duration = Duration::from_secs(30);
/// How long `metadata` may take.
const METADATA_TIME: Duration = Duration::from_secs(10);

/// The most components that are kept ready: more than a library has, and a bound for a program that runs for days.
const READY: usize = 128;

/// How components are run.
#[derive(Clone, Debug, Default)]
pub struct HostConfig {
    /// Where compiled components are kept; none compiles them anew each time.
    pub cache_dir: Option<PathBuf>,
    /// What one call may use.
    pub limits: Limits,
}

/// Loads components. Cheap to clone; one is enough for a program.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

struct Shared {
    limits: Limits,
    cache: Option<Cache>,
    /// What was loaded before, by digest: a run loads the same few components for each of its cases.
    ready: Mutex<HashMap<String, Ready>>,
    pooled: Option<Engine>,
    on_demand: OnceLock<Engine>,
    /// One permit for each place in the pool: who comes late waits, and does not fail.
    places: Arc<Semaphore>,
}

/// A component that can be called, without its host: which has it.
type Ready = ScriptedFailurePre<Context>;

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("limits", &self.0.limits).field("pooled", &self.0.pooled.is_some()).finish()
    }
}

impl Host {
    /// A host with this configuration. Where the machine cannot reserve the address space of a pool, instances are allocated one
    /// by one.
    ///
    /// # Errors
    /// [`LoadError::Compile`] when wasmtime does not know this machine.
    pub fn new(config: HostConfig) -> Result<Self, LoadError> {
        let on_demand = OnceLock::new();
        let pooled = match engine::pooled(&config.limits) {
            Ok(engine) => Some(engine),
            Err(error) => {
                tracing::debug!("no pool of instances: {error:#}");
                let engine = engine::on_demand().map_err(|error| LoadError::Compile(format!("{error:#}")))?;
                on_demand.get_or_init(|| engine);
                None
            }
        };
        let cache = config.cache_dir.as_deref().and_then(Cache::open);
        let places = Arc::new(Semaphore::new(engine::POOL_SIZE as usize));
        let ready = Mutex::default();
        Ok(Self(Arc::new(Shared { limits: config.limits, cache, ready, pooled, on_demand, places })))
    }

    /// Loads a component: as it was loaded before, from the cache, or by compiling it. Takes tens of milliseconds for a small one
    /// that is not cached.
    ///
    /// # Errors
    /// [`LoadError`] says what the bytes are instead of a failure that this program can run.
    pub fn load(&self, bytes: &[u8]) -> Result<Plugin, LoadError> {
        let key = component::digest(bytes);
        let ready = || self.0.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pre) = ready().get(&key) {
            return Ok(Plugin { pre: pre.clone(), shared: Arc::clone(&self.0) });
        }
        let plugin = self.load_new(bytes, &key)?;
        let mut ready = ready();
        if ready.len() >= READY {
            ready.clear();
        }
        ready.insert(key, plugin.pre.clone());
        Ok(plugin)
    }

    fn load_new(&self, bytes: &[u8], key: &str) -> Result<Plugin, LoadError> {
        let shared = &self.0;
        // A component that was compiled before was inspected before: its digest is its name.
        if let Some(engine) = &shared.pooled
            && let Some(plugin) = self.cached(engine, key)
        {
            return Ok(plugin);
        }
        let inspected = component::inspect(bytes)?;
        let foreign = inspected.foreign_imports();
        if !foreign.is_empty() {
            return Err(LoadError::UnknownImports(foreign.into_iter().map(str::to_owned).collect()));
        }
        if let Some(engine) = &shared.pooled {
            let component = compile(engine, bytes)?;
            check_size(&component, &shared.limits)?;
            match self.plugin(engine, &component) {
                Ok(plugin) => {
                    self.keep(engine, key, &component);
                    return Ok(plugin);
                }
                Err(error) if !fits_types(engine, &component) => return Err(error),
                Err(error) => tracing::debug!("the component does not fit the pool: {error}"),
            }
        }
        let engine = self.on_demand()?;
        if let Some(plugin) = self.cached(engine, key) {
            return Ok(plugin);
        }
        let component = compile(engine, bytes)?;
        check_size(&component, &shared.limits)?;
        let plugin = self.plugin(engine, &component)?;
        self.keep(engine, key, &component);
        Ok(plugin)
    }

    fn on_demand(&self) -> Result<&Engine, LoadError> {
        if let Some(engine) = self.0.on_demand.get() {
            return Ok(engine);
        }
        let engine = engine::on_demand().map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        Ok(self.0.on_demand.get_or_init(|| engine))
    }

    fn cached(&self, engine: &Engine, key: &str) -> Option<Plugin> {
        let component = self.0.cache.as_ref()?.load(engine, key)?;
        self.plugin(engine, &component).ok()
    }

    fn keep(&self, engine: &Engine, key: &str, component: &Component) {
        if let Some(cache) = &self.0.cache {
            cache.store(engine, key, component);
        }
    }

    fn plugin(&self, engine: &Engine, component: &Component) -> Result<Plugin, LoadError> {
        let mismatch = |error: wasmtime::Error| LoadError::Mismatch(format!("{error:#}"));
        let linker = linker(engine).map_err(mismatch)?;
        let instance = linker.instantiate_pre(component).map_err(mismatch)?;
        let pre = ScriptedFailurePre::new(instance).map_err(mismatch)?;
        Ok(Plugin { pre, shared: Arc::clone(&self.0) })
    }
}

/// Bytes of a page of linear memory.
const PAGE: u64 = 65_536;

fn compile(engine: &Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    Component::from_binary(engine, bytes).map_err(|error| LoadError::Compile(format!("{error:#}")))
}

/// Whether the component fits the contract, so that what kept it from the engine was the engine's size.
fn fits_types(engine: &Engine, component: &Component) -> bool {
    linker(engine).is_ok_and(|linker| linker.substituted_component_type(component).is_ok())
}

/// What a component asks for before any of its code has run can be told before it is run.
fn check_size(component: &Component, limits: &Limits) -> Result<(), LoadError> {
    let Some(needs) = component.resources_required() else { return Ok(()) };
    let count = u64::from(limits.instances);
    let checks = [
        ("memories", u64::from(needs.num_memories), count),
        ("tables", u64::from(needs.num_tables), count),
        ("table elements", needs.max_initial_table_size.unwrap_or(0), limits.table_elements),
        ("memory bytes", needs.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE), limits.memory_bytes),
    ];
    match checks.into_iter().find(|(_, needed, limit)| needed > limit) {
        Some((name, _, limit)) => Err(LoadError::Limit { name, limit }),
        None => Ok(()),
    }
}

/// A component that can be called. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    pre: ScriptedFailurePre<Context>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plugin")
    }
}

impl Plugin {
    /// Breaks it. Dropping the future cuts the component off; a change that is on its way is still carried out.
    ///
    /// # Errors
    /// [`PluginError`].
    pub async fn induce(&self, call: Call) -> Result<Induced, PluginError> {
        let deadline = call.deadline;
        let given = given(&call);
        let induced = self
            .run(Some(call), deadline, async move |failure, store| failure.call_induce(store, &given).await)
            .await?;
        let limit = self.shared.limits.state_bytes;
        if induced.state.as_ref().is_some_and(|state| state.len() as u64 > limit) {
            return Err(PluginError::Limit { name: "bytes of saved state", limit });
        }
        Ok(Induced { state: induced.state, agent_time: induced.agent_time.map(Duration::from_millis) })
    }

    /// Puts it back, with the state that was saved last or none.
    ///
    /// # Errors
    /// [`PluginError`].
    pub async fn stop(&self, call: Call, state: Option<String>) -> Result<(), PluginError> {
        let deadline = call.deadline;
        let given = given(&call);
        self.run(Some(call), deadline, async move |failure, store| {
            failure.call_stop(store, &given, state.as_deref()).await
        })
        .await
    }

    /// The metadata that the component itself gives; none for a component that serves any.
    ///
    /// # Errors
    /// [`PluginError`], also when the component calls an import to answer.
    pub async fn metadata(&self) -> Result<Option<Value>, PluginError> {
        let text =
            self.run(None, METADATA_TIME, async |failure, store| Ok(Ok(failure.call_metadata(store).await?))).await?;
        match serde_json::from_str(&text) {
            Ok(Value::Null) => Ok(None),
            Ok(value @ Value::Object(_)) => Ok(Some(value)),
            Ok(_) => Err(PluginError::Metadata("it is neither an object nor null".to_owned())),
            Err(error) => Err(PluginError::Metadata(error.to_string())),
        }
    }

    /// One call in a store of its own. After a trap or a cut the instance is dead, so none is ever used twice.
    async fn run<T>(
        &self,
        call: Option<Call>,
        wall: Duration,
        body: impl AsyncFnOnce(ScriptedFailure, &mut Store<Context>) -> wasmtime::Result<Result<T, bindings::Error>>,
    ) -> Result<T, PluginError> {
        let _place = self.shared.places.acquire().await;
        let context = Context::new(self.shared.limits.clone(), call);
        let in_flight = context.in_flight.clone();
        let mut store = Store::new(self.pre.engine(), context);
        store.limiter(|context| &mut context.meter);
        store.set_hostcall_fuel(usize::try_from(self.shared.limits.call_bytes).unwrap_or(usize::MAX));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            context.data().meter.cpu()?;
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        let work = async {
            let failure = self.pre.instantiate_async(&mut store).await.map_err(|error| at_start(&error))?;
            body(failure, &mut store).await.map_err(|error| PluginError::from_wasmtime(&error))
        };
        let ended = tokio::time::timeout(wall, work).await;
        match ended {
            Ok(answer) => answer?.map_err(|error| {
                let context = store.data();
                PluginError::from_guest(error, context.meter.reached, context.was_unavailable)
            }),
            Err(_) => {
                // What is on its way is not ours to break off: it is waited for, so that the caller knows that nothing follows.
                if tokio::time::timeout(SETTLE, in_flight.settle()).await.is_err() {
                    tracing::warn!("a request of a component that was cut off is still not answered");
                }
                Err(PluginError::Deadline { kind: DeadlineKind::Wall, limit: wall })
            }
        }
    }
}

/// Starting runs code too: initialisers may trap, loop and ask for memory.
fn at_start(error: &wasmtime::Error) -> PluginError {
    match PluginError::from_wasmtime(error) {
        PluginError::Trap { .. } if error.downcast_ref::<wasmtime::Trap>().is_none() => {
            PluginError::Instantiate(format!("{error:#}"))
        }
        other => other,
    }
}

fn given(call: &Call) -> bindings::Call {
    bindings::Call {
        namespace: call.namespace.clone(),
        params: call.params.to_string(),
        metadata: call.metadata.to_string(),
    }
}
