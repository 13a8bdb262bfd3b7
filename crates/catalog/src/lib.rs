//! Failures and agent presets: find, inspect, verify.
