//! Nothing that an agent can reach tells it what was done: an agent that collects everything, and a search in that.

use e2e::{Sandbox, kubectl_or_skip};

use crate::library;

/// Writes down all that the agent process sees: environment, task, files, processes above it, the whole namespace.
const SNOOP: &str = r#"
exec > seen.txt 2>&1
env; set; pwd; ls -la . .. "$HOME" /tmp; cat "$HARNESS_TASK" "$KUBECONFIG"; id; mount
parent=$PPID
tr '\0' '\n' < /proc/$parent/environ
tr '\0' '\n' < /proc/self/environ
find . .. "$HOME" -type f -exec cat {} + 2>/dev/null | head -c 1000000
if command -v kubectl; then
  for kind in pods deployments replicasets events services configmaps secrets serviceaccounts roles rolebindings; do
    kubectl get $kind -o json --show-managed-fields
  done
  kubectl get namespace "$HARNESS_NAMESPACE" -o json --show-managed-fields
  kubectl get namespaces -o json
  kubectl auth can-i --list
  kubectl api-resources
  kubectl logs -l x!=y --prefix --all-containers
fi
exit 0
"#;

#[test]
fn what_an_agent_can_reach_does_not_tell_it_the_answer() {
    let kubectl = kubectl_or_skip("the search of the cluster for the truth");
    let sandbox = Sandbox::new();
    sandbox.write("snoop.sh", SNOOP);
    let script = sandbox.path().join("snoop.sh").display().to_string();
    sandbox.write(
        "agents/snoop.yaml",
        format!(
            "id: snoop\nsupports: [diagnose]\ncommand: [sh, {script}]\nstdin: none\nsandbox: {{read: [{script}]}}\n"
        ),
    );
    let failures = library::failures(&sandbox);
    let failures: Vec<_> = failures.iter().filter(|failure| !library::needs_program(failure)).collect();
    let ids: Vec<&str> = failures.iter().map(|failure| library::id(failure)).collect();
    sandbox.write(
        "m.yaml",
        format!(
            "name: m\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [{}]\nagents: [snoop]\n\
             objective: diagnose\nexecution: {{timeout_per_test: 60s}}\n",
            ids.join(", ")
        ),
    );
    let mut command = sandbox.command();
    if let Some(folder) = kubectl.as_deref().and_then(std::path::Path::parent) {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", folder.display()));
    }
    // No answer: every case fails, which is all that is asked of it here.
    e2e::Finished::of(command.args(["run", "m.yaml", "--agents-dir", "agents"])).expect(10);

    let run = sandbox.only_run();
    for failure in failures {
        let id = library::id(failure);
        let metadata = library::metadata(failure);
        let seen = run.read(format!("artifacts/local--{id}--snoop/seen.txt"));
        assert!(seen.contains("HARNESS_TASK="), "{id}: the agent saw its environment");
        assert!(kubectl.is_none() || seen.contains("\"kind\": \"Pod\""), "{id}: the agent saw the namespace:\n{seen}");
        let mut secrets = vec![id.to_owned(), metadata["name"].as_str().unwrap_or(id).to_owned()];
        secrets.extend(
            metadata["symptoms"].as_array().into_iter().flatten().filter_map(|s| s["name"].as_str().map(str::to_owned)),
        );
        secrets.extend(["ground_truth", "repair_scope", "harness:failure", "induce", "witness"].map(str::to_owned));
        for secret in secrets {
            let place = seen.lines().find(|line| line.contains(&secret));
            assert!(place.is_none(), "{id}: the agent can see {secret:?}: {place:?}");
        }
    }
}
