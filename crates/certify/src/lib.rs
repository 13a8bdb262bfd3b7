//! Whether a cluster is again as it was before a case: a look at everything that can be listed, kept as digests, a second
//! look, and the rules by which the two are equal (`rules.yaml`). It only reads. Whose a difference is follows from what
//! went through the gate; what is done about a leak is the engine's.

mod baseline;
mod compare;
mod differences;
mod discovery;
mod fetch;
#[cfg(test)]
mod laws;
mod normal;
mod ownership;
mod rules;
mod snapshot;

pub use baseline::{Baseline, Unreachable};
pub use differences::{CertifyError, Differences, certify_until, compare};
pub use ownership::Ownership;
pub use rules::RULES;
