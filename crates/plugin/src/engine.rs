//! Configuration of wasmtime: epochs for CPU time, a pool of instances where the machine can hold one.

use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::Limits;

/// How often a running component is looked at.
const TICK: Duration = Duration::from_millis(10);

/// How many calls may run at a time out of the pool.
pub(crate) const POOL_SIZE: u32 = 64;

/// An engine that counts epochs while it lives, with a pool of instances.
///
/// # Errors
/// When the machine cannot reserve the pool's address space.
pub(crate) fn pooled(limits: &Limits) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    // Python and JavaScript use more than twenty core instances in one component.
    let per_component = limits.instances.min(50);
    pool.total_component_instances(POOL_SIZE)
        .total_core_instances(POOL_SIZE * 8)
        .total_memories(POOL_SIZE * 3)
        .total_tables(POOL_SIZE * 4)
        .total_stacks(POOL_SIZE)
        .max_core_instances_per_component(per_component)
        // Those of JavaScript have three: the interpreter's, and two of what WASI was replaced by.
        .max_memories_per_component(4)
        .max_tables_per_component(8)
        .max_memory_size(usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX))
        .table_elements(20_000);
    engine(InstanceAllocationStrategy::Pooling(pool))
}

/// An engine that allocates each instance anew: slower, and without bounds of a pool.
///
/// # Errors
/// When wasmtime does not know this machine.
pub(crate) fn on_demand() -> wasmtime::Result<Engine> {
    engine(InstanceAllocationStrategy::OnDemand)
}

fn engine(strategy: InstanceAllocationStrategy) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model(true).epoch_interruption(true).allocation_strategy(strategy);
    let engine = Engine::new(&config)?;
    tick(engine.weak());
    Ok(engine)
}

/// A thread, not a task: a component that never returns may hold every worker of the runtime. Ends with the engine.
fn tick(engine: EngineWeak) {
    let spawned = std::thread::Builder::new().name("epochs".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(TICK);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => break,
            }
        }
    });
    if let Err(error) = spawned {
        tracing::error!("components cannot be limited in CPU time: {error}");
    }
}
