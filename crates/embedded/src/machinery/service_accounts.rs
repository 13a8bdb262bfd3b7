//! Each namespace has the account `default` and the cluster's certificate, also after someone has deleted them.

use serde_json::json;
use simulation::{Change, Controller, World, resources};

use crate::object;

/// Stands for the certificate of the cluster's own authority; the simulated containers never check it.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

#[derive(Debug)]
pub(super) struct ServiceAccounts;

fn provide(world: &mut dyn World, namespace: &str) {
    if world.get(&resources::CONFIG_MAPS, namespace, "kube-root-ca.crt").is_none() {
        let map = json!({
            "metadata": {
                "name": "kube-root-ca.crt", "namespace": namespace,
                "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."},
            },
            "data": {"ca.crt": CERTIFICATE},
        });
        // The namespace may be gone already: then there is nothing to provide.
        let _ = world.create(&resources::CONFIG_MAPS, map, "kube-controller-manager");
    }
    if world.get(&resources::SERVICE_ACCOUNTS, namespace, "default").is_none() {
        let account = json!({"metadata": {"name": "default", "namespace": namespace}});
        let _ = world.create(&resources::SERVICE_ACCOUNTS, account, "kube-controller-manager");
    }
}

impl Controller for ServiceAccounts {
    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(resource, object) if *resource == resources::NAMESPACES => {
                provide(world, object::name(object));
            }
            Change::Deleted(resource, object)
                if *resource == resources::SERVICE_ACCOUNTS || *resource == resources::CONFIG_MAPS =>
            {
                let namespace = object::namespace(object).to_owned();
                let lost = matches!(object::name(object), "default" | "kube-root-ca.crt");
                let living = world
                    .get(&resources::NAMESPACES, "", &namespace)
                    .is_some_and(|namespace| !object::is_deleting(&namespace));
                if lost && living {
                    provide(world, &namespace);
                }
            }
            _ => {}
        }
    }

    fn wake(&mut self, _world: &mut dyn World, _key: &str) {}
}
