//! The closed taxonomy of fault types. The same for every failure, and handed to every agent whole.

use schemars::JsonSchema;
use serde::Serialize;

/// The version of [`FAULT_TYPES`]; results of different versions are not compared by fault type.
pub const TAXONOMY_VERSION: u32 = 1;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FaultType {
    /// The word that an answer uses.
    pub id: &'static str,
    /// What it means, as the agent reads it.
    pub meaning: &'static str,
}

/// Every fault type, `none` last.
pub const FAULT_TYPES: &[FaultType] = &[
    FaultType { id: "image", meaning: "an image that does not exist, cannot be pulled or has an invalid name" },
    FaultType { id: "command", meaning: "a container's command or arguments are wrong" },
    FaultType {
        id: "application",
        meaning: "the program itself fails although image, command and configuration are right",
    },
    FaultType { id: "init-container", meaning: "an init container fails or never ends" },
    FaultType { id: "resource-limit", meaning: "limit or request unfit for the process or the nodes" },
    FaultType { id: "quota", meaning: "a quota or limit range refuses objects" },
    FaultType { id: "scheduling", meaning: "no node satisfies the constraints of the pod, or nodes refuse pods" },
    FaultType { id: "storage", meaning: "a volume, claim or storage class is missing or unusable" },
    FaultType { id: "configuration", meaning: "a config map, secret, key or environment value is missing or wrong" },
    FaultType { id: "permission", meaning: "a role, binding or service account is missing or too weak" },
    FaultType { id: "probe", meaning: "a liveness, readiness or startup probe is wrong" },
    FaultType { id: "rollout", meaning: "a rollout is stuck" },
    FaultType { id: "replicas", meaning: "a workload runs fewer replicas than it should" },
    FaultType { id: "disruption-budget", meaning: "a disruption budget blocks evictions" },
    FaultType { id: "autoscaling", meaning: "an autoscaler cannot do its work" },
    FaultType { id: "network", meaning: "a service, endpoint, port or network policy is missing or wrong" },
    FaultType { id: "admission", meaning: "a webhook or admission policy refuses objects" },
    FaultType { id: "lifecycle", meaning: "an object cannot be deleted, or a job cannot finish" },
    FaultType { id: "node", meaning: "a node is unhealthy" },
    FaultType { id: "none", meaning: "nothing is wrong" },
];

/// The fault type of this name.
pub fn fault_type(id: &str) -> Option<&'static FaultType> {
    FAULT_TYPES.iter().find(|f| f.id == id)
}
