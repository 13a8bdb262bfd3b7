//! Certification against the embedded cluster: what counts as a leak, what as somebody else's, and what as nothing.

mod faults;
mod leaks;
mod world;
