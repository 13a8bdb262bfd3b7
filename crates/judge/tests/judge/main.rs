//! The judge from outside: state machine, scoring, outcomes, and the properties that hold for any input.

mod build;
mod observer;
mod outcomes;
mod properties;
mod scoring;
