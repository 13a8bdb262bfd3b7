//! Agents that look where they should not. Each test says what an agent would find without a sandbox.

use std::path::Path;

use executor::{Exit, sandbox_available};

use crate::agents::{KUBECONFIG, Stage, preset};

/// The lines that an agent wrote, of a shell script.
async fn said(stage: &Stage, script: &str, more: &str) -> Vec<String> {
    let result = stage.run(&preset(script, more)).await;
    assert_eq!(result.exit, Exit::Code(0));
    stage.lines.lock().expect("lock").clone()
}

/// Files as an operator has them, in a folder that stands for the rest of the disk.
fn disk() -> tempfile::TempDir {
    let disk = tempfile::tempdir().expect("a folder");
    for file in ["failures/x/metadata.yaml", "results/harness.db", "home/.kube/config", "tools/data"] {
        let path = disk.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, format!("{KUBECONFIG}{file}")).expect("written");
    }
    disk
}

#[tokio::test]
async fn nothing_outside_is_read_or_written() {
    if !sandbox_available() {
        return;
    }
    let disk = disk();
    let at = disk.path().display();
    let script = format!(
        "for file in failures/x/metadata.yaml results/harness.db home/.kube/config tools/data; do
             cat {at}/$file && echo read $file; echo x >> {at}/$file && echo wrote $file
         done
         ls {at} && echo listed; rm -rf {at} && echo removed; touch {at}/new && echo made
         ls /tmp && echo tmp; ls /var/tmp && echo vartmp; ls /dev/shm && echo shm; cat /etc/shadow && echo shadow
         for id in /proc/[0-9]*; do
             cat $id/environ > $TMPDIR/e && test -s $TMPDIR/e && ! grep -q \"TMPDIR=$TMPDIR\" $TMPDIR/e && echo $id
         done | head -1
         ln -s {at}/tools/data link; cat link && echo through a link; ln {at}/tools/data hard && echo hard link
         true"
    );
    let stage = Stage::new();
    let lines = said(&stage, &format!("{{ {script}\n}} 2>/dev/null"), "").await;
    assert!(lines.is_empty(), "{lines:?}");
    assert!(disk.path().join("tools/data").exists());
}

#[tokio::test]
async fn what_the_preset_names_is_read_and_not_written() {
    if !sandbox_available() {
        return;
    }
    let disk = disk();
    let at = disk.path().display().to_string();
    let script =
        format!("cat {at}/tools/data | tail -1; cat {at}/failures/x/metadata.yaml; echo x > {at}/tools/data; true");
    let mut stage = Stage::new();
    stage.hidden = vec![disk.path().join("failures"), disk.path().join("not/there")];
    let lines = said(&stage, &format!("{{ {script}\n}} 2>/dev/null"), &format!("sandbox: {{read: ['{at}']}}")).await;
    assert_eq!(lines, ["tools/data"], "what is hidden stays hidden, whatever the preset names");
    let given = std::fs::read_to_string(stage.folder.path().join("given.json")).expect("what it was given");
    let given: executor::agent::Given = serde_json::from_str(&given).expect("JSON");
    assert!(given.landlock && given.environment.contains(&"KUBECONFIG".to_owned()));
    assert!(given.sandbox.read.iter().any(|path| path.ends_with("tools")));
    assert!(!given.sandbox.read.iter().any(|path| path.starts_with(disk.path().join("failures"))));
    assert_eq!(given.task.namespace, "c-1");
}

#[tokio::test]
async fn an_agent_can_work() {
    // Programs, names, certificates, scripts of its own, its kubeconfig and home.
    let script = r#"
        cat /etc/resolv.conf > resolv.txt || test ! -e /etc/resolv.conf; getent hosts localhost > /dev/null
        cat "$KUBECONFIG" > c; cp c "$KUBECONFIG.lock"; mv "$KUBECONFIG.lock" "$KUBECONFIG"
        printf '#!/bin/sh\necho ran\n' > "$TMPDIR/tool"; chmod +x "$TMPDIR/tool"; "$TMPDIR/tool"
        mkdir -p "$HOME/.cache/a"; mv c "$HOME/.cache/a/"; echo x > /dev/null; head -c 4 /dev/urandom | wc -c
        cat /proc/self/status | head -c 5; echo; kill -0 $$ && echo lives
    "#;
    let stage = Stage::new();
    let lines = said(&stage, script, "").await;
    assert_eq!(lines, ["ran", "4", "Name:", "lives"]);
}

#[tokio::test]
async fn the_harness_itself_runs_and_its_folder_stays_closed() {
    if !sandbox_available() {
        return;
    }
    let folder = Path::new(crate::STAGE).parent().expect("a folder").display().to_string();
    let text = format!(
        "id: probe\ncommand: [/bin/sh, -c, '$0 a b; ls {folder} >/dev/null 2>&1 && echo listed; true', $(harness)]\n"
    );
    let preset = catalog::AgentPreset::parse(&yaml::Source::new("probe.yaml", text), Some("probe")).expect("a preset");
    let stage = Stage::new();
    stage.run(&preset).await;
    assert_eq!(*stage.lines.lock().expect("lock"), ["a b"]);
}
