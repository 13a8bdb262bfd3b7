//! The embedded cluster: how fast one starts, and what many cost.

use std::time::Instant;

use embedded::{Cluster, Options};
use tokio::runtime::Runtime;

use crate::measure::{Measured, repeat, text};

const MANY: u64 = 300;

/// All of it.
pub(crate) fn measure(runtime: &Runtime) -> Result<Vec<Measured>, String> {
    let _runtime = runtime.enter();
    let start = |seed| Cluster::start(Options { seed, ..Options::default() });
    let mut seed = 0;
    let starting = repeat(50, || {
        seed += 1;
        drop(start(seed));
        Ok(())
    })?;
    let begin = Instant::now();
    let clusters: Vec<Cluster> = (0..MANY).map(start).collect();
    let many = begin.elapsed();
    Ok(vec![
        Measured::times("embedded cluster, start", starting),
        Measured::of("embedded clusters, many at once", text(many), format!("{} alive in one process", clusters.len())),
    ])
}
