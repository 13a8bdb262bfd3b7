//! Links the program for a fixed address. It is started three times for each agent (supervisor, entry stage, and often the
//! agent), and a position-independent program of this size spends most of a start on 130,000 relocations, each start anew.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
