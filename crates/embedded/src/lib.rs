//! The embedded cluster: API server over an in-memory store.
