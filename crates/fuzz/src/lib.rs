//! Laws that hold for whatever bytes come in: what libFuzzer tries (`cargo xtask fuzz`), and what an ordinary test tries
//! over the seeds in `seeds/`. A target panics where a law is broken.

mod bodies;
mod documents;
mod expressions;
mod output;
mod patches;
mod paths;
mod protobuf;
mod selectors;

/// One way in for foreign bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its folder of seeds.
    pub name: &'static str,
    /// Holds the laws against one input.
    pub hold: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "paths", hold: paths::hold },
    Target { name: "patches", hold: patches::hold },
    Target { name: "selectors", hold: selectors::hold },
    Target { name: "bodies", hold: bodies::hold },
    Target { name: "expressions", hold: expressions::hold },
    Target { name: "metadata", hold: documents::metadata },
    Target { name: "matrices", hold: documents::matrices },
    Target { name: "output", hold: output::hold },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Whether two values are the same but for the last digit of numbers with a fraction, which serde_json reads fast and not
/// always to the nearest.
fn is_same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (a, b) {
        (Number(a), Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
            a == b || (a - b).abs() <= a.abs().max(b.abs()) * 1e-14
        }
        (Array(a), Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Object(a), Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
        }
        (a, b) => a == b,
    }
}
