//! What the kill tests play with: a namespace that was there before, failures that reach into it, an agent that repairs.

use std::path::Path;

use e2e::{Kubectl, Sandbox};

/// One for each way to change a cluster. Each ends by breaking the ConfigMap that its health looks at: it shows at once.
pub(super) const FAILURES: [&str; 4] = ["creates", "patches", "scales", "deletes"];

/// What was there before, in a namespace of its own.
const SHOP: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}, annotations: {team: shop}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: app, image: 'nginx:1.27', ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop, labels: {kept: 'yes'}}
data: {colour: blue, size: large}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop}
data: {password: Y29ycmVjdC1ob3JzZQ==}
---
apiVersion: v1
kind: Pod
metadata: {name: lone, namespace: shop, labels: {app: lone}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: app, image: 'busybox:1.36', command: [sleep, '100000']}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: batch-1, namespace: shop, labels: {app: batch}}
data: {number: '1'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: batch-2, namespace: shop, labels: {app: batch}}
data: {number: '2'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: batch-3, namespace: shop, labels: {app: batch}}
data: {number: '3'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: parent, namespace: shop}
";

/// The workload of each failure, in the namespace of the case.
const WORKLOAD: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: mode}
data: {mode: fine}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: second}
data: {a: b}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: {app: app}}
spec:
  replicas: 1
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: app, image: 'nginx:1.27'}]
";

const METADATA: &str = "\
name: Something is made of the shop
description: Reaches into a namespace that was there before.
expected_duration: 10s
workload: {manifests: [workload.yaml]}
capabilities:
  rules:
    - apiGroups: ['', apps]
      resources: [configmaps, secrets, services, pods, deployments]
      verbs: [get, list, create, update, patch, delete]
      namespaces: [$(case), shop]
symptoms:
  - name: broken
    select: {apiVersion: v1, kind: ConfigMap, name: mode}
    any: object.data.mode == 'broken'
health:
  - name: fine
    select: {apiVersion: v1, kind: ConfigMap, name: mode}
    all: object.data.mode == 'fine'
ground_truth:
  fault_type: configuration
  root_causes: [{apiVersion: v1, kind: ConfigMap, name: mode}]
reference_fix:
  - patch: {apiVersion: v1, kind: ConfigMap, name: mode}
    with: {data: {mode: fine}}
induce:";

const BREAK: &str = "  - {patch: {apiVersion: v1, kind: ConfigMap, name: mode}, with: {data: {mode: broken}}}\n";

const CREATES: &str = "
  - create: {apiVersion: v1, kind: ConfigMap, metadata: {name: extra, namespace: shop}, data: {a: b}}
  - create:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: intruder, namespace: shop}
      spec:
        replicas: 1
        selector: {matchLabels: {app: intruder}}
        template:
          metadata: {labels: {app: intruder}}
          spec:
            terminationGracePeriodSeconds: 0
            containers: [{name: app, image: 'busybox:1.36', command: [sleep, '100000']}]
  - create: {apiVersion: v1, kind: Secret, metadata: {name: made}, data: {a: Yg==}}
";

const PATCHES: &str = "
  - patch: {apiVersion: apps/v1, kind: Deployment, name: web, namespace: shop}
    with: {metadata: {annotations: {team: none}}, spec: {template: {metadata: {labels: {patched: 'yes'}}}}}
  - {patch: {apiVersion: v1, kind: Secret, name: key, namespace: shop}, with: {data: {password: d3Jvbmc=}}}
  - {patch: {apiVersion: v1, kind: Service, name: web, namespace: shop}, with: {spec: {selector: {app: nobody}}}}
  - {patch: {apiVersion: v1, kind: ConfigMap, name: settings, namespace: shop}, type: merge, with: {data: {size: null, new: x}}}
  - {patch: {apiVersion: v1, kind: ConfigMap, name: second}, with: {data: {a: c}}}
";

const SCALES: &str = "
  - {patch: {apiVersion: apps/v1, kind: Deployment, name: web, namespace: shop}, with: {spec: {replicas: 0}}}
  - {patch: {apiVersion: apps/v1, kind: Deployment, name: app}, with: {spec: {replicas: 3}}}
";

const DELETES: &str = "
  - delete: {apiVersion: v1, kind: ConfigMap, name: settings, namespace: shop}
  - delete: {apiVersion: v1, kind: Pod, name: lone, namespace: shop}
  - delete: {apiVersion: apps/v1, kind: Deployment, name: web, namespace: shop}
  - delete: {apiVersion: v1, kind: Service, name: web, namespace: shop}
  - delete: {apiVersion: v1, kind: Secret, name: key, namespace: shop}
  - delete: {apiVersion: v1, kind: ConfigMap, name: child, namespace: shop}
  - delete: {apiVersion: v1, kind: ConfigMap, name: parent, namespace: shop}
  - delete: {apiVersion: v1, kind: ConfigMap, name: second}
";

/// Repairs whatever may be wrong, and more. What is not there cannot be repaired, which is no error.
const MENDER: &str = r#"
kubectl get configmaps,deployments,pods -n shop -o name
kubectl patch configmap mode -p '{"data":{"mode":"fine"}}'
kubectl -n shop scale deployment web --replicas=1
kubectl -n shop patch deployment web -p '{"spec":{"template":{"metadata":{"labels":{"tier":"front"}}}}}'
kubectl -n shop create configmap settings --from-literal=colour=red
kubectl -n shop create configmap note --from-literal=a=b
kubectl -n shop delete configmap/extra pod/lone --ignore-not-found --wait=false
kubectl delete --raw '/api/v1/namespaces/shop/configmaps?labelSelector=app%3Dbatch'
echo '{"fault_present": true, "root_causes": [{"kind": "ConfigMap", "name": "mode"}], "fault_type": "configuration"}' \
  > "$HARNESS_ANSWER"
"#;

/// Makes the namespace and waits until its pods are there.
pub(super) fn set_up(kubectl: &Kubectl, sandbox: &Sandbox) {
    let shop = sandbox.write("shop.yaml", SHOP).display().to_string();
    kubectl.ok(&["create", "-f", &shop]);
    let parent = kubectl.ok(&["-n", "shop", "get", "configmap", "parent", "-o", "jsonpath={.metadata.uid}"]);
    let child = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: child\n  namespace: shop\n  ownerReferences: [{{apiVersion: v1, \
         kind: ConfigMap, name: parent, uid: {parent}}}]\n"
    );
    kubectl.ok(&["create", "-f", &sandbox.write("child.yaml", child).display().to_string()]);
    kubectl.ok(&["-n", "shop", "wait", "--for=condition=Available", "deployment/web", "--timeout=60s"]);
    kubectl.ok(&["-n", "shop", "wait", "--for=condition=Ready", "pod/lone", "--timeout=60s"]);
}

/// Writes what a run reads: a matrix for each failure, failures, the agent, and the operator's grants.
pub(super) fn write_inputs(sandbox: &Sandbox, kubectl: &Kubectl, kubeconfig: &Path, programs: &Path) {
    let server = kubectl.ok(&["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let context = kubectl.ok(&["config", "current-context"]);
    let mut grants = format!("clusters: [{{context: {context}, server: '{server}'}}]\nfailures:\n");
    for (failure, steps) in FAILURES.iter().zip([CREATES, PATCHES, SCALES, DELETES]) {
        sandbox.write(&format!("failures/{failure}/metadata.yaml"), format!("{METADATA}{steps}{BREAK}"));
        sandbox.write(&format!("failures/{failure}/workload.yaml"), WORKLOAD);
        sandbox.write(
            &format!("{failure}.yaml"),
            format!(
                "name: kills\nclusters: [{{id: staging, provisioner: stub, kubeconfig: {}, context: {context}}}]\n\
                 failures: [{failure}]\nagents: [mender]\nobjective: both\nagent_access: edit-cluster\n\
                 execution: {{timeout_per_test: 60s}}\n",
                kubeconfig.display()
            ),
        );
        grants.push_str(&format!(
            "  - id: {failure}\n    rules:\n      - apiGroups: ['', apps]\n        \
             resources: [configmaps, secrets, services, pods, deployments]\n        \
             verbs: [get, list, create, update, patch, delete]\n        namespaces: [$(case), shop]\n"
        ));
    }
    grants.push_str("agents: [{id: mender, access: edit-cluster}]\n");
    sandbox.write("grants.yaml", grants);
    let mender = serde_json::Value::from(MENDER);
    sandbox.write(
        "agents/mender.yaml",
        format!(
            "id: mender\nsupports: [diagnose, mitigate]\ncommand: [sh, -c, {mender}]\nstdin: none\nanswer: file\n\
             sandbox: {{read: [{}]}}\n",
            programs.display()
        ),
    );
}
