//! Lets the agent at the scene: its way through the gate, its task, its time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::AgentPreset;
use executor::agent::{AgentResult, AgentRun};
use executor::{Exit, Stream};
use jiff::Timestamp;
use judge::Ending;
use model::{AnswerSlot, Endpoints, FAULT_TYPES, LogStream, Objective, Party, SCHEMA, Task};

use crate::logs::CaseLogs;
use crate::record::End;
use crate::scene::Scene;
use crate::watches::Watches;
use crate::{Cancel, Setting};

/// In the folder of a case's logs: what the agent was given, [`executor::agent::Given`].
pub const GIVEN: &str = "given.json";

/// What the agent is told, word for word the same for every failure.
pub(crate) fn prompt(namespace: &str, objective: Objective) -> String {
    let asked = match objective {
        Objective::Diagnose => "Investigate without changing anything, then write your answer to the path below.",
        Objective::Mitigate | Objective::Both => {
            "Investigate, repair it if needed, then write your answer to the path below."
        }
    };
    format!(
        "Something may be wrong in namespace {namespace}. {asked} The answer is one JSON object: fault_present \
         (boolean, required), root_causes (objects with kind, namespace, name), fault_type (one of the given words), \
         explanation, fixed. KUBECONFIG points at the cluster."
    )
}

/// What is needed to run one agent once.
pub(crate) struct AgentCall<'a> {
    pub(crate) setting: &'a Setting,
    pub(crate) preset: &'a AgentPreset,
    pub(crate) args: &'a [String],
    pub(crate) objective: Objective,
    pub(crate) access: &'a str,
    pub(crate) time: Duration,
    pub(crate) log_dir: PathBuf,
    pub(crate) artifacts_dir: PathBuf,
    pub(crate) logs: Arc<CaseLogs>,
    pub(crate) cancel: Cancel,
}

impl std::fmt::Debug for AgentCall<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentCall").field("preset", &self.preset.id).finish_non_exhaustive()
    }
}

/// Runs the agent while the scene goes on around it, at wall time.
pub(crate) async fn let_in(call: AgentCall<'_>, scene: &Scene, watches: &mut Watches) -> Result<AgentResult, End> {
    let site = scene.cluster.site(&scene.cluster_name);
    let power = call.setting.grants.agent(call.preset.id.as_str(), call.access, site);
    let power = power.map_err(|error| End::test(error.to_string()))?;
    let policy = power.policy(&scene.namespace).within_limits();
    let _wall_time = scene.clock.keep_wall_time().await;
    let endpoint = scene
        .gate
        .serve(Party::Agent, Arc::new(policy))
        .map_err(|error| End::infrastructure(format!("the gate's proxy: {error}")))?;
    let logs = Arc::clone(&call.logs);
    let run = AgentRun {
        preset: call.preset,
        args: call.args,
        task: &task(&scene.namespace, call.objective, call.time, &scene.cluster.endpoints),
        kubeconfig: endpoint.kubeconfig(),
        harness_exe: &call.setting.harness_exe,
        hidden: &call.setting.hidden,
        given_log: call.log_dir.join(GIVEN),
        stdout_log: call.log_dir.join("agent.stdout"),
        stderr_log: call.log_dir.join("agent.stderr"),
        artifacts_dir: call.artifacts_dir,
        deadline: Instant::now() + call.time,
        on_line: Arc::new(move |stream, line: &str| {
            let stream = match stream {
                Stream::Stdout => LogStream::AgentStdout,
                Stream::Stderr => LogStream::AgentStderr,
            };
            logs.line(stream, line)
        }),
    };
    let result = watches.pump_while(executor::agent::run(run, call.cancel.raised())).await;
    endpoint.shutdown().await;
    Ok(result)
}

/// Why an agent may not be let at a cluster: its grant asks for a sandbox there that this machine does not have.
pub(crate) fn refused(agent: &str, required: bool, available: bool) -> Option<End> {
    (required && !available).then(|| {
        End::infrastructure(format!(
            "the grant of agent `{agent}` says `require_sandbox`, and files cannot be hidden here: that takes Linux 6.2 or \
             later with `landlock` in /sys/kernel/security/lsm, and for root the capability CAP_SETPCAP; run it elsewhere, \
             or on a cluster that a provisioner made"
        ))
    })
}

/// How the agent ended, as the judge asks it.
pub(crate) fn ending(result: &AgentResult) -> Ending {
    if let Some(why) = &result.unavailable {
        return Ending::Unavailable(why.clone());
    }
    match &result.exit {
        Exit::Code(code) => match result.outcome {
            Some(outcome) => Ending::Coded(*code, outcome),
            None => Ending::Exited(*code),
        },
        Exit::Signal(signal) => Ending::Signalled(*signal),
        Exit::TimedOut => Ending::TimedOut,
        Exit::Cancelled => Ending::Cancelled,
        Exit::Capped(what) => Ending::Capped(what.clone()),
        Exit::NotStarted(why) => Ending::NotStarted(why.clone()),
    }
}

/// The task as the agent reads it; the executor fills in the path of the answer.
pub(crate) fn task(namespace: &str, objective: Objective, time: Duration, endpoints: &Endpoints) -> Task {
    let fault_types: BTreeMap<String, String> =
        FAULT_TYPES.iter().map(|fault| (fault.id.to_owned(), fault.meaning.to_owned())).collect();
    Task {
        schema: SCHEMA,
        prompt: prompt(namespace, objective),
        namespace: namespace.to_owned(),
        objective,
        deadline: Timestamp::now().checked_add(time).unwrap_or(Timestamp::MAX),
        answer: AnswerSlot { path: String::new(), schema: executor::answer_schema() },
        fault_types,
        endpoints: endpoints.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_may_ask_for_a_sandbox() {
        let end = refused("claude", true, false).expect("refused");
        assert_eq!((end.outcome, end.class), (model::Outcome::Error, Some(model::Class::Infrastructure)));
        assert!(end.message.contains("`claude`") && end.message.contains("require_sandbox"), "{}", end.message);
        assert_eq!(refused("claude", true, true), None);
        assert_eq!(refused("claude", false, false), None);
    }
}
