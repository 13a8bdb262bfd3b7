//! Witness, checks, scoring.
