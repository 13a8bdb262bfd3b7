//! The real kubectl against a served cluster: protobuf bodies, apply, tables, waits. Skipped, by name, where there is
//! no kubectl.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use embedded::{Cluster, Options};
use tokio::process::Command;

const DEFINITION: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1, maximum: 100, description: How many parts it has.}
              color: {type: string, default: blue}
          status: {type: object, properties: {size: {type: integer}}}
";

async fn kubectl(config: &Path, line: &[&str]) -> (bool, String) {
    let mut command = Command::new("kubectl");
    command.args(line).env("KUBECONFIG", config).env("HOME", config.parent().unwrap()).env("NO_PROXY", "127.0.0.1");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(90), command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("kubectl {line:?} took too long")).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

async fn has_kubectl() -> bool {
    let mut version = Command::new("kubectl");
    version.args(["version", "--client"]).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().await.is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_works() {
    if !has_kubectl().await {
        eprintln!("SKIPPED kubectl_works: there is no kubectl on the PATH");
        return;
    }
    let cluster = Cluster::start(Options::default());
    let server = cluster.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, server.kubeconfig()).unwrap();
    let manifest = folder.path().join("app.yaml");
    std::fs::write(
        &manifest,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: '1'}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: idle}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers: [{name: c, image: 'busybox:1.36', command: [sleep, '3600']}]\n",
    )
    .unwrap();
    let file = manifest.to_str().unwrap();
    let (crd, widget) = (folder.path().join("crd.yaml"), folder.path().join("widget.yaml"));
    std::fs::write(&crd, DEFINITION).unwrap();
    std::fs::write(&widget, "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3}\n")
        .unwrap();
    let (crd, widget) = (crd.to_str().unwrap(), widget.to_str().unwrap());
    let steps: &[(&[&str], &str)] = &[
        (&["get", "nodes"], "node-1"),
        (&["create", "deployment", "web", "--image=local/web:1", "--replicas=2"], "deployment.apps/web created"),
        (&["create", "configmap", "cm", "--from-literal=a=b"], "configmap/cm created"),
        (&["create", "secret", "generic", "s", "--from-literal=a=b"], "secret/s created"),
        (&["create", "job", "j", "--image=busybox:1.36", "--", "true"], "job.batch/j created"),
        (&["create", "cronjob", "cj", "--image=busybox:1.36", "--schedule=0 3 * * *"], "cronjob.batch/cj created"),
        (&["create", "role", "r", "--verb=get", "--resource=pods"], "role.rbac.authorization.k8s.io/r created"),
        (&["create", "rolebinding", "rb", "--role=r", "--user=u"], "rolebinding.rbac.authorization.k8s.io/rb created"),
        (&["create", "serviceaccount", "sa"], "serviceaccount/sa created"),
        (&["create", "service", "clusterip", "svc", "--tcp=80:8080"], "service/svc created"),
        (&["create", "ingress", "ing", "--rule=example.com/x=svc:80"], "ingress.networking.k8s.io/ing created"),
        (&["create", "quota", "q", "--hard=pods=50"], "resourcequota/q created"),
        (&["create", "poddisruptionbudget", "pdb", "--selector=app=web", "--min-available=1"], "pdb created"),
        (&["create", "priorityclass", "pc", "--value=5"], "priorityclass.scheduling.k8s.io/pc created"),
        (&["create", "namespace", "other"], "namespace/other created"),
        (&["create", "token", "sa"], "ey"),
        (&["autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=50"], "autoscaled"),
        (&["auth", "can-i", "create", "pods"], "yes"),
        (&["auth", "whoami"], "kubernetes-admin"),
        (&["apply", "-f", file], "pod/idle created"),
        (&["apply", "-f", file], "configmap/app unchanged"),
        (&["apply", "--server-side", "--force-conflicts", "-f", file], "configmap/app serverside-applied"),
        (&["rollout", "status", "deployment/web", "--timeout=60s"], "successfully rolled out"),
        (&["wait", "--for=condition=Ready", "pod/idle", "--timeout=60s"], "condition met"),
        (&["get", "pods", "-o", "wide"], "Running"),
        (&["describe", "pod", "idle"], "Successfully assigned default/idle to node-1"),
        (&["get", "events"], "Scheduled"),
        (&["events"], "Scheduled"),
        (&["scale", "deployment/web", "--replicas=1"], "scaled"),
        (&["patch", "configmap", "app", "-p", "{\"data\":{\"b\":\"2\"}}"], "patched"),
        (&["label", "pod", "idle", "x=y"], "labeled"),
        (
            &["run", "once", "--image=busybox:1.36", "--restart=Never", "--", "sh", "-c", "echo hello"],
            "pod/once created",
        ),
        (&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/once", "--timeout=60s"], "condition met"),
        (&["logs", "once"], "hello"),
        (&["get", "all"], "deployment.apps/web"),
        (&["delete", "pod", "idle", "--wait", "--timeout=60s"], "deleted"),
        (&["delete", "namespace", "other", "--timeout=60s"], "deleted"),
        (&["explain", "pod.spec"], "containers"),
        (&["apply", "-f", crd], "widgets.example.com created"),
        (&["wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=60s"], "condition met"),
        (&["explain", "widget.spec.size"], "How many parts it has."),
        (&["explain", "crd.spec.versions.schema"], "openAPIV3Schema"),
        (&["explain", "validatingwebhookconfigurations.webhooks.rules"], "apiVersions"),
        (&["apply", "-f", widget], "widget.example.com/w created"),
        (&["apply", "--server-side", "--force-conflicts", "-f", widget], "serverside-applied"),
        (&["get", "widgets"], "SIZE"),
        (&["get", "wd", "w", "-o", "jsonpath={.spec.color}"], "blue"),
        (&["scale", "widget/w", "--replicas=4"], "scaled"),
        (&["get", "clusterroles"], "cluster-admin"),
        (&["auth", "can-i", "get", "secrets", "--as=nobody"], "no"),
    ];
    for (line, expected) in steps {
        let (ok, text) = kubectl(&config, line).await;
        // `can-i` says no with its exit code too.
        assert!((ok || *expected == "no") && text.contains(expected), "kubectl {}\n{text}", line.join(" "));
    }
    let (ok, text) =
        kubectl(&config, &["patch", "widget", "w", "--type=merge", "-p", "{\"spec\":{\"size\":500}}"]).await;
    assert!(!ok && text.contains("spec.size in body should be less than or equal to 100"), "{text}");
    let (ok, text) = kubectl(&config, &["create", "-f", file]).await;
    assert!(!ok && text.contains("configmaps \"app\" already exists"), "{text}");
    let (ok, text) = kubectl(&config, &["get", "pods", "none"]).await;
    assert!(!ok && text.contains("Error from server (NotFound): pods \"none\" not found"), "{text}");
    server.shutdown().await;
}
