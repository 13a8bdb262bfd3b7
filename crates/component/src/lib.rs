//! WebAssembly components as files: what a packed failure is made of, and how it is read without running any of its code.
//! Nothing here knows what metadata means (that is `catalog`) or how a component is run (that is `plugin`).

mod compile;
mod container;
mod inspect;
mod package;

pub use compile::{Compile, CompileError, CompiledModule, GUEST_TARGET, compile};
pub use inspect::{CONTRACT_VERSION, InspectError, Inspected, SectionInfo, World, digest, inspect};
pub use package::{FILES_SECTION, METADATA_SECTION, PackageError, componentise, embed_metadata, package, unpackage};

/// The contract, as the WIT texts of package `harness:failure`: file name and text.
pub const WIT: &[(&str, &str)] = &[
    ("power.wit", include_str!("../../../wit/power.wit")),
    ("types.wit", include_str!("../../../wit/types.wit")),
    ("world.wit", include_str!("../../../wit/world.wit")),
];
