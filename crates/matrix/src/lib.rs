//! Matrix files: parse, validate, expand.
