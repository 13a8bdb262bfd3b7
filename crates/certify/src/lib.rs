//! Whether a cluster is again as it was before a case.
