//! What a matrix may name. The caller fills this in from its libraries; nothing here looks anything up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::Objective;
use serde_json::Value;

/// Checks the parameters of a failure: failure id and values in, parameter and message out for each that is wrong.
pub type ParamsCheck = Arc<dyn Fn(&str, &BTreeMap<String, Value>) -> Vec<(String, String)> + Send + Sync>;

/// Says what is wrong with a template: provisioner and template in; none when it can be used.
pub type TemplateCheck = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// Says why a failure or an agent cannot serve an objective; none when it can.
pub type ObjectiveCheck = Arc<dyn Fn(&str, Objective) -> Option<String> + Send + Sync>;

/// What a matrix may name.
#[derive(Clone, Default)]
pub struct Known {
    /// Ids of failures.
    pub failures: Vec<String>,
    /// Ids of agents.
    pub agents: Vec<String>,
    /// Whether an agent without a preset may be named: `run-live-test.sh` is there and may know it.
    pub live_test: bool,
    /// Provisioners of this version.
    pub provisioners: Vec<String>,
    /// Checks templates; none: not checked.
    pub template: Option<TemplateCheck>,
    /// Names that `agent_access` may have; empty: not checked.
    pub access: Vec<String>,
    /// Failures that are there but cannot be used, with the reason.
    pub unusable_failures: BTreeMap<String, String>,
    /// Agents that are there but cannot be used, with the reason.
    pub unusable_agents: BTreeMap<String, String>,
    /// Checks parameters; none: not checked.
    pub params: Option<ParamsCheck>,
    /// Checks failures against the objective; none: not checked.
    pub failure_serves: Option<ObjectiveCheck>,
    /// Checks agents against the objective; none: not checked.
    pub agent_serves: Option<ObjectiveCheck>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known")
            .field("failures", &self.failures)
            .field("agents", &self.agents)
            .field("provisioners", &self.provisioners)
            .finish_non_exhaustive()
    }
}
