//! The component host: wasmtime, limits, bindings.
