//! What the engine gives with each call, and gets back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use futures::future::BoxFuture;
use serde_json::Value;

/// See [`Call::checkpoint`].
pub type Checkpoint = Arc<dyn Fn(String) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// See [`Call::log`]. What cannot be taken at once is a future, and the failure waits for it.
pub type Log = Arc<dyn Fn(&str) -> Option<BoxFuture<'static, ()>> + Send + Sync>;

/// Everything that one call of `induce` or `stop` is given.
#[derive(Clone)]
pub struct Call {
    /// The cluster, as far as this failure may use it: whatever it refuses is refused.
    pub client: kube::Client,
    /// The time of that cluster.
    pub clock: Arc<dyn Clock>,
    /// The namespace of the case.
    pub namespace: String,
    /// The parameters, validated, with defaults filled in.
    pub params: Value,
    /// The metadata, with `$(case)` and `$(params.x)` replaced.
    pub metadata: Value,
    /// Where the random numbers come from.
    pub seed: u64,
    /// Takes each line of the failure's log.
    pub log: Log,
    /// Takes each state that the failure saves. Resolves when it is kept, whatever may end this process; or with why not.
    pub checkpoint: Checkpoint,
    /// Runs the script of the failure's folder; none for failures that have no script.
    pub script: Option<Arc<dyn ScriptRunner>>,
    /// Wall time after which the call is cut off.
    pub deadline: Duration,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("namespace", &self.namespace)
            .field("params", &self.params)
            .field("seed", &self.seed)
            .field("script", &self.script.is_some())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// What `induce` answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Induced {
    /// The state for `stop`; none keeps what the last checkpoint said.
    pub state: Option<String>,
    /// How long the agent may take; none leaves it to the matrix.
    pub agent_time: Option<Duration>,
}

/// Runs the one script of a failure's folder.
pub trait ScriptRunner: Send + Sync {
    /// Runs it with these arguments and waits for its end. Dropping the future ends the script.
    fn run(&self, args: Vec<String>) -> BoxFuture<'static, Result<ScriptOutput, ScriptError>>;
}

/// How a script ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptOutput {
    /// Exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// The end of its standard output.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
}

/// Why a script was not run to its end, in words for the failure's author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScriptError(pub String);
