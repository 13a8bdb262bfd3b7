//! Undo against the embedded cluster: what a case did to objects, and what is there afterwards.

mod holding;
mod outcomes;
mod owners;
mod random;
mod restoring;
mod rig;
mod stopping;
