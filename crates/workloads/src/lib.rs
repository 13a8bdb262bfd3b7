//! Controllers, scheduler and node of the embedded cluster.
