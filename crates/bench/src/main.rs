//! Benchmarks: they print numbers and assert nothing, because machines differ. `cargo xtask bench [NAME...]` runs all, or
//! those whose name contains one of the words.

mod cases;
mod clusters;
mod expansion;
mod floor;
mod gated;
mod journal;
mod loaded;
mod measure;
mod plugins;
mod processes;

use std::process::ExitCode;

use measure::Measured;

type Benchmark = fn(&tokio::runtime::Runtime) -> Result<Vec<Measured>, String>;

const ALL: [(&str, Benchmark); 9] = [
    ("plugins", plugins::measure),
    ("clusters", clusters::measure),
    ("expansion", expansion::measure),
    ("gate", gated::measure),
    ("journal", journal::measure),
    ("processes", processes::measure),
    ("floor", floor::measure),
    ("load", loaded::measure),
    ("cases", cases::measure),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    for (name, benchmark) in ALL {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        match benchmark(&runtime) {
            Ok(results) => results.iter().for_each(|measured| println!("{measured}")),
            Err(error) => {
                eprintln!("bench: {name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
