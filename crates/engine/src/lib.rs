//! Runs a matrix: the life of a case, events, cancellation.
