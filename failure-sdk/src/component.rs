//! Between the bindings and the trait. Used by the expansion of `failure!`; not part of the API.

use std::sync::Once;

use crate::bindings;
use crate::target::milliseconds;
use crate::{Case, Failure};

pub fn induce<F: Failure>(call: bindings::Call) -> Result<bindings::Induced, bindings::Error> {
    report_panics();
    let induced = F::induce(&case(call, None)?)?;
    Ok(bindings::Induced {
        state: induced.state.map(|state| state.to_string()),
        agent_time: induced.agent_time.map(milliseconds),
    })
}

pub fn stop<F: Failure>(call: bindings::Call, state: Option<String>) -> Result<(), bindings::Error> {
    report_panics();
    Ok(F::stop(&case(call, state)?)?)
}

fn case(call: bindings::Call, state: Option<String>) -> crate::Result<Case> {
    Ok(Case {
        params: serde_json::from_str(&call.params)?,
        metadata: serde_json::from_str(&call.metadata)?,
        state: state.map(|text| serde_json::from_str(&text)).transpose()?,
        namespace: call.namespace,
    })
}

/// A panic ends in a trap, which carries no message: without this the log would not say what went wrong.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|info| crate::log::error(info.to_string()))));
}
