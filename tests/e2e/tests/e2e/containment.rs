//! Agents that daemonise, multiply, fill the disk and look around: ended, capped, refused; and a harness that is killed.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use e2e::{Running, Sandbox, processes_mentioning, wait_until};
use model::{Class, Outcome};
use rustix::process::Signal;

fn preset(sandbox: &Sandbox, id: &str, script: &str) {
    let text = format!(
        "id: {id}\nsupports: [diagnose]\ncommand: [sh, -c, {}]\nstdin: none\nanswer: file\n",
        serde_json::Value::from(script)
    );
    sandbox.write(&format!("agents/{id}.yaml"), text);
}

fn matrix(agents: &str) -> String {
    format!(
        "name: wild\nclusters:\n  - {{id: local, provisioner: embedded}}\nfailures: [oom-killed]\nagents: [{agents}]\n\
         objective: diagnose\nexecution: {{timeout_per_test: 1m}}\n"
    )
}

#[test]
fn a_wild_agent_is_ended_and_the_next_case_is_fine() {
    let sandbox = Sandbox::new();
    preset(&sandbox, "daemon", "setsid -f sleep 600; setsid -f sh -c 'setsid -f sleep 600'");
    // Bounded, and over by itself: what is tested may fail.
    preset(&sandbox, "many", "for i in `seq 700`; do sleep 30 & done; wait");
    preset(&sandbox, "large", "exec truncate -s 2G \"$TMPDIR/f\"");
    let looks = "cat ../../m.yaml m.yaml \"$OLDPWD/m.yaml\" SANDBOX/m.yaml && echo read; ls SANDBOX && echo listed
         echo x > SANDBOX/agents/daemon.yaml && echo wrote
         cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q 'unique-[n]ame' && echo told; true";
    preset(&sandbox, "looks", &looks.replace("SANDBOX", &sandbox.path().display().to_string()));
    let unique = sandbox.write("unique-name.yaml", matrix("daemon, many, large, looks, triage"));
    sandbox.write("m.yaml", "");
    sandbox.harness(&["run", &unique.display().to_string(), "--agents-dir", "agents"]).expect(10);
    let run = sandbox.only_run();
    let case = |agent: &str| run.case(&format!("local--oom-killed--{agent}"));
    for (agent, why) in [("many", "more than 512 processes"), ("large", "a file of more than 1024 MiB")] {
        let case = case(agent);
        assert_eq!((case.outcome, case.class), (Outcome::Failed, Some(Class::Agent)), "{agent}: {}", case.message);
        assert!(case.message.contains(why), "{agent}: {}", case.message);
        assert!(case.isolation.process_tree, "{agent}");
    }
    assert_eq!(case("daemon").outcome, Outcome::Failed, "it hands in nothing");
    assert_eq!(case("triage").outcome, Outcome::Passed, "{}", case("triage").message);
    let looked = case("looks");
    if looked.isolation.landlock {
        assert_eq!(run.read("logs/local--oom-killed--looks/agent.stdout"), "");
    }
    sandbox.assert_nothing_left();
}

#[test]
fn a_killed_harness_takes_its_agent_with_it() {
    let sandbox = Sandbox::new();
    preset(&sandbox, "stays", "trap '' TERM HUP INT; setsid -f sleep 600; echo awake; while :; do sleep 600; done");
    sandbox.write("m.yaml", matrix("stays"));
    let mut command = sandbox.command();
    command.args(["run", "m.yaml", "--agents-dir", "agents"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Running::start(&mut command);
    wait_until("the agent to start", Duration::from_secs(60), || {
        let runs = fs::read_dir(sandbox.path().join("results")).into_iter().flatten().filter_map(Result::ok);
        runs.map(|run| run.path().join("events.jsonl"))
            .any(|events| fs::read_to_string(events).is_ok_and(|text| text.contains("awake")))
    });
    let id = process.child().id();
    assert_eq!(fs::read_to_string(format!("/proc/{id}/cmdline")).expect("it runs"), "harness-cli\0");
    let supervisors = children(id);
    assert!(!supervisors.is_empty());
    process.signal(Signal::KILL);
    process.wait(Duration::from_secs(30));
    wait_until("its agent to end", Duration::from_secs(60), || processes_mentioning(sandbox.path()).is_empty());
    let runs =
        |id: &String| fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains("supervise"));
    wait_until("its supervisor to end", Duration::from_secs(30), || !supervisors.iter().any(runs));
    let places = || fs::read_dir(sandbox.tmp()).expect("a folder").flatten().map(|entry| entry.path());
    assert_eq!(places().filter(|path| path.join("kubeconfig").exists()).count(), 0, "its kubeconfig is gone");
}

/// The processes that a process has started.
fn children(parent: u32) -> Vec<String> {
    let of_parent = format!("PPid:\t{parent}\n");
    fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|id| fs::read_to_string(format!("/proc/{id}/status")).is_ok_and(|status| status.contains(&of_parent)))
        .collect()
}
