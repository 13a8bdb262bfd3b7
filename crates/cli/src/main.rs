//! harness-cli.
fn main() {}
