//! Controllers, scheduler and node of the embedded cluster, as synchronous state machines over `simulation::World`.
//!
//! What they do and say follows recordings of a real cluster; what a container does comes from the `shell` crate.

mod autoscaler;
mod cronjob;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod fields;
mod hash;
mod index;
mod job;
mod kubelet;
mod owned_pod;
mod pod_gc;
mod quantity;
mod replicaset;
mod scheduler;
mod selector;
mod statefulset;
mod taints;
mod volumes;

use simulation::Controller;

/// The nodes of a cluster.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// How many there are: `node-1`, `node-2`...
    pub nodes: u32,
    /// CPUs of each.
    pub cpus: u32,
    /// Memory of each, in KiB.
    pub memory_kib: u64,
    /// Pods that each takes.
    pub pods: u32,
    /// The address of the first; those of the others follow.
    pub first_address: [u8; 4],
    /// Images that each has from the start.
    pub images: Vec<String>,
    /// When a node's agent does not run.
    pub outages: Vec<Outage>,
}

/// A time in which the kubelet of a node does not run. Its containers go on.
#[derive(Clone, Debug)]
pub struct Outage {
    /// The node.
    pub node: String,
    /// Since the cluster was started.
    pub from: std::time::Duration,
    /// Since the cluster was started.
    pub until: std::time::Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let images =
            ["busybox:1.36", "busybox:latest", "local/web:1", "registry.k8s.io/pause:3.10"].map(str::to_owned).to_vec();
        Self {
            nodes: 1,
            cpus: 2,
            memory_kib: 24_684_092,
            pods: 110,
            first_address: [10, 88, 0, 1],
            images,
            outages: Vec::new(),
        }
    }
}

/// Everything that makes objects behave.
pub fn controllers(config: &NodeConfig) -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(kubelet::Kubelet::new(config)),
        Box::new(scheduler::Scheduler::default()),
        Box::new(deployment::Deployments::default()),
        Box::new(replicaset::ReplicaSets::default()),
        Box::new(statefulset::StatefulSets::default()),
        Box::new(daemonset::DaemonSets::default()),
        Box::new(job::Jobs::default()),
        Box::new(cronjob::CronJobs::default()),
        Box::new(endpoints::Endpoints::default()),
        Box::new(disruption::Disruptions),
        Box::new(autoscaler::Autoscalers),
        Box::new(volumes::Volumes),
        Box::new(taints::Taints::default()),
        Box::new(pod_gc::PodCollector),
    ]
}
