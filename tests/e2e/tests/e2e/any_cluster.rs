//! The failure library on a cluster that the harness did not make: the one of `HARNESS_TEST_KUBECONFIG`, else an embedded
//! cluster in a process of its own, in real time. What a cluster cannot show is skipped by name, with the reason.

use std::fs;
use std::path::PathBuf;

use e2e::{Cluster, Kubectl, Sandbox, kubectl_or_skip, repository};

use crate::library;

/// Without a cluster of the caller's: one of each sort, which is enough to show that nothing needs to live in the process.
const HANDFUL: [&str; 4] = ["quota-exceeded", "scale-to-zero", "pvc-missing", "missing-configmap"];

/// Why a failure cannot show on this cluster.
fn hidden(kubectl: &Kubectl, id: &str) -> Option<&'static str> {
    let served = |path: &str| kubectl.run(&["get", "--raw", path]).code == 0;
    match id {
        "hpa-blind" if served("/apis/metrics.k8s.io/v1beta1") => Some("the cluster has metrics, so an autoscaler sees"),
        _ => None,
    }
}

/// None of the pods can run: there is no network for them, or nothing to run them on.
fn lame(kubectl: &Kubectl) -> Option<&'static str> {
    let nodes = kubectl.ok(&[
        "get",
        "nodes",
        "-o",
        r#"jsonpath={range .items[*].status.conditions[?(@.type=="Ready")]}{.status} {end}"#,
    ]);
    (!nodes.contains("True")).then_some("no node is ready (a cluster without a CNI?)")
}

#[test]
fn failures_take_hold_on_any_cluster() {
    let test = "the library on any cluster";
    let Some(program) = kubectl_or_skip(test) else { return };
    let given = std::env::var_os("HARNESS_TEST_KUBECONFIG").map(PathBuf::from);
    let own = given.is_none().then(Cluster::up);
    let sandbox = Sandbox::new();
    let kubeconfig = given.or_else(|| own.as_ref().map(|own| own.kubeconfig().to_path_buf())).expect("one of them");
    let kubectl = Kubectl::new(program, &kubeconfig, &sandbox.path().join("home"));
    let server = kubectl.ok(&["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let context = kubectl.ok(&["config", "current-context"]);
    let needed = fs::read_to_string(repository().join("matrices/library.grants.yaml")).expect("the library's grants");
    let grants = format!("clusters: [{{context: '{context}', server: '{server}'}}]\n{needed}");
    let grants = sandbox.write("grants.yaml", grants).display().to_string();
    let file = kubeconfig.display().to_string();
    let ids: Vec<String> = match own {
        Some(_) => HANDFUL.map(str::to_owned).to_vec(),
        None => library::failures(&sandbox).iter().map(|failure| library::id(failure).to_owned()).collect(),
    };
    let mut wrong = Vec::new();
    for id in &ids {
        if let Some(reason) = lame(&kubectl).or_else(|| hidden(&kubectl, id)) {
            eprintln!("skipped: {id}: {reason}");
            continue;
        }
        let line = ["failures", "run", id, "--kubeconfig", &file, "--grants", &grants, "--hold", "0s"];
        let finished = sandbox.harness(&line);
        match finished.code {
            0 => eprintln!("took hold and was put back: {id}"),
            code => wrong.push(format!("{id}: {code}\n{}\n{}", finished.stdout, finished.stderr)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if let Some(own) = own {
        own.interrupt();
    }
}
