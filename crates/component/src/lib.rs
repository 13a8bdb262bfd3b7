//! WebAssembly components as files: componentise, metadata section, inspect without running.
