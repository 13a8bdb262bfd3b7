//! What a failure is told when it is called, and what it answers.

use std::time::Duration;

use serde_json::Value;

use crate::bindings::harness::failure::checkpoint;
use crate::{Error, Result};

/// One call: where, with which parameters, and what was saved before.
#[derive(Clone, Debug)]
pub struct Case {
    pub(crate) namespace: String,
    pub(crate) params: Value,
    pub(crate) metadata: Value,
    pub(crate) state: Option<Value>,
}

impl Case {
    /// The namespace of the case, where the workload runs.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// All parameters, validated, with defaults filled in.
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// A parameter that is text.
    ///
    /// # Errors
    /// When there is no such parameter, or it is no text: then `params` in metadata.yaml does not declare it so.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.params[name].as_str().ok_or_else(|| undeclared(name, "text"))
    }

    /// A parameter that is a whole number.
    ///
    /// # Errors
    /// When there is no such parameter, or it is no whole number: then `params` in metadata.yaml does not declare it so.
    pub fn integer(&self, name: &str) -> Result<i64> {
        self.params[name].as_i64().ok_or_else(|| undeclared(name, "a whole number"))
    }

    /// The metadata, with parameters and the namespace filled in.
    pub fn metadata(&self) -> &Value {
        &self.metadata
    }

    /// What was saved last; none in `induce`, and in `stop` when nothing was saved.
    pub fn state(&self) -> Option<&Value> {
        self.state.as_ref()
    }

    /// Saves what `stop` needs. It is kept also when `induce` is cut off or the harness dies: save before the change.
    ///
    /// # Errors
    /// When it could not be kept: do not make the change then.
    pub fn checkpoint(&self, state: &Value) -> Result<()> {
        Ok(checkpoint::save(&state.to_string())?)
    }
}

fn undeclared(name: &str, kind: &str) -> Error {
    Error::Invalid(format!("the parameter `{name}` is not {kind}; declare it so under `params` in metadata.yaml"))
}

/// What `induce` answers.
#[derive(Clone, Debug, Default)]
pub struct Induced {
    pub(crate) state: Option<Value>,
    pub(crate) agent_time: Option<Duration>,
}

impl Induced {
    /// Hands this state to `stop` instead of what the last checkpoint said.
    #[must_use]
    pub fn state(mut self, state: Value) -> Self {
        self.state = Some(state);
        self
    }

    /// How long the agent may take.
    #[must_use]
    pub fn agent_time(mut self, time: Duration) -> Self {
        self.agent_time = Some(time);
        self
    }
}
