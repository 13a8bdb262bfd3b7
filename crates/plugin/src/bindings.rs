//! The host's side of the contract, generated from the WIT. The world `scripted-failure` holds all that `failure` does.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "scripted-failure",
    imports: { default: async | trappable },
    exports: { default: async },
});

pub(crate) use harness::failure::types::{ObjectRef, Selection};
