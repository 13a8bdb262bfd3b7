//! Kinds in every spelling that kubectl takes: kind, plural, singular, short name, with a group, with group and version.
//! A table of the built-in kinds; others follow the usual plural rules. Knows nothing of objects.

/// A built-in kind.
struct Builtin {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
}

const fn namespaced(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
) -> Builtin {
    Builtin { group, kind, plural, short, namespaced: true }
}

const fn cluster(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
) -> Builtin {
    Builtin { group, kind, plural, short, namespaced: false }
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const DRA: &str = "resource.k8s.io";

/// What `kubectl api-resources` of a 1.36 cluster lists.
const BUILTIN: &[Builtin] = &[
    namespaced("", "Binding", "bindings", &[]),
    cluster("", "ComponentStatus", "componentstatuses", &["cs"]),
    namespaced("", "ConfigMap", "configmaps", &["cm"]),
    namespaced("", "Endpoints", "endpoints", &["ep"]),
    namespaced("", "Event", "events", &["ev"]),
    namespaced("", "LimitRange", "limitranges", &["limits"]),
    cluster("", "Namespace", "namespaces", &["ns"]),
    cluster("", "Node", "nodes", &["no"]),
    namespaced("", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"]),
    cluster("", "PersistentVolume", "persistentvolumes", &["pv"]),
    namespaced("", "Pod", "pods", &["po"]),
    namespaced("", "PodTemplate", "podtemplates", &[]),
    namespaced("", "ReplicationController", "replicationcontrollers", &["rc"]),
    namespaced("", "ResourceQuota", "resourcequotas", &["quota"]),
    namespaced("", "Secret", "secrets", &[]),
    namespaced("", "ServiceAccount", "serviceaccounts", &["sa"]),
    namespaced("", "Service", "services", &["svc"]),
    cluster(ADMISSION, "MutatingAdmissionPolicy", "mutatingadmissionpolicies", &[]),
    cluster(ADMISSION, "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", &[]),
    cluster(ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", &[]),
    cluster(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", &[]),
    cluster(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", &[]),
    cluster(ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", &[]),
    cluster("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"]),
    cluster("apiregistration.k8s.io", "APIService", "apiservices", &[]),
    namespaced("apps", "ControllerRevision", "controllerrevisions", &[]),
    namespaced("apps", "DaemonSet", "daemonsets", &["ds"]),
    namespaced("apps", "Deployment", "deployments", &["deploy"]),
    namespaced("apps", "ReplicaSet", "replicasets", &["rs"]),
    namespaced("apps", "StatefulSet", "statefulsets", &["sts"]),
    cluster("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", &[]),
    cluster("authentication.k8s.io", "TokenReview", "tokenreviews", &[]),
    namespaced("authorization.k8s.io", "LocalSubjectAccessReview", "localsubjectaccessreviews", &[]),
    cluster("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews", &[]),
    cluster("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews", &[]),
    cluster("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews", &[]),
    namespaced("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"]),
    namespaced("batch", "CronJob", "cronjobs", &["cj"]),
    namespaced("batch", "Job", "jobs", &[]),
    cluster("certificates.k8s.io", "CertificateSigningRequest", "certificatesigningrequests", &["csr"]),
    cluster("certificates.k8s.io", "ClusterTrustBundle", "clustertrustbundles", &[]),
    namespaced("coordination.k8s.io", "Lease", "leases", &[]),
    namespaced("coordination.k8s.io", "LeaseCandidate", "leasecandidates", &[]),
    namespaced("discovery.k8s.io", "EndpointSlice", "endpointslices", &[]),
    namespaced("events.k8s.io", "Event", "events", &["ev"]),
    cluster("flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas", &[]),
    cluster("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "prioritylevelconfigurations", &[]),
    namespaced("metrics.k8s.io", "PodMetrics", "pods", &[]),
    cluster("metrics.k8s.io", "NodeMetrics", "nodes", &[]),
    namespaced("extensions", "Ingress", "ingresses", &["ing"]),
    cluster(NETWORKING, "IngressClass", "ingressclasses", &[]),
    namespaced(NETWORKING, "Ingress", "ingresses", &["ing"]),
    cluster(NETWORKING, "IPAddress", "ipaddresses", &["ip"]),
    namespaced(NETWORKING, "NetworkPolicy", "networkpolicies", &["netpol"]),
    cluster(NETWORKING, "ServiceCIDR", "servicecidrs", &[]),
    cluster("node.k8s.io", "RuntimeClass", "runtimeclasses", &[]),
    namespaced("policy", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"]),
    cluster(RBAC, "ClusterRole", "clusterroles", &[]),
    cluster(RBAC, "ClusterRoleBinding", "clusterrolebindings", &[]),
    namespaced(RBAC, "Role", "roles", &[]),
    namespaced(RBAC, "RoleBinding", "rolebindings", &[]),
    cluster(DRA, "DeviceClass", "deviceclasses", &[]),
    namespaced(DRA, "ResourceClaim", "resourceclaims", &[]),
    namespaced(DRA, "ResourceClaimTemplate", "resourceclaimtemplates", &[]),
    cluster(DRA, "ResourceSlice", "resourceslices", &[]),
    cluster("scheduling.k8s.io", "PriorityClass", "priorityclasses", &["pc"]),
    cluster(STORAGE, "CSIDriver", "csidrivers", &[]),
    cluster(STORAGE, "CSINode", "csinodes", &[]),
    namespaced(STORAGE, "CSIStorageCapacity", "csistoragecapacities", &[]),
    cluster(STORAGE, "StorageClass", "storageclasses", &["sc"]),
    cluster(STORAGE, "VolumeAttachment", "volumeattachments", &[]),
    cluster(STORAGE, "VolumeAttributesClass", "volumeattributesclasses", &["vac"]),
    cluster("storagemigration.k8s.io", "StorageVersionMigration", "storageversionmigrations", &[]),
];

/// A kind as somebody spelled it: a word, and a group where one was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spelling {
    word: String,
    group: Option<String>,
}

impl Spelling {
    /// Reads `Deployment`, `deploy`, `deployments.apps`, `deployments.v1.apps`, `apps/v1/Deployment`, `v1/Pod`,
    /// `apps/v1, Kind=Deployment`.
    pub(crate) fn read(text: &str) -> Self {
        let text = text.trim().to_lowercase().replace(", kind=", "/");
        if let Some((before, word)) = text.rsplit_once('/') {
            let group = before.split('/').map(str::trim).find(|part| !is_version(part)).unwrap_or_default();
            let group = if group == "core" { "" } else { group };
            return Self { word: word.trim().to_owned(), group: Some(group.to_owned()) };
        }
        match text.split_once('.') {
            None => Self { word: text, group: None },
            Some((word, rest)) => {
                let (first, others) = rest.split_once('.').unwrap_or((rest, ""));
                let group = if is_version(first) { others } else { rest };
                Self { word: word.to_owned(), group: Some(group.to_owned()) }
            }
        }
    }

    /// Whether this spelling means `kind` of `group`. Without a group, the kind of any group is meant; a group may be
    /// cut short, as kubectl allows.
    pub(crate) fn means(&self, group: &str, kind: &str) -> bool {
        let group_fits = match self.group.as_deref() {
            None => true,
            Some("") => group.is_empty(),
            Some(written) => group.to_lowercase().starts_with(written),
        };
        group_fits && spells(&self.word, group, kind)
    }

    /// The built-in kind that is meant, as it is written in manifests; none for custom ones.
    pub(crate) fn builtin(&self) -> Option<(&'static str, &'static str)> {
        BUILTIN.iter().find(|b| self.means(b.group, b.kind)).map(|b| (b.group, b.kind))
    }
}

fn is_version(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('v') else { return false };
    rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.replace("alpha", "").replace("beta", "").bytes().all(|b| b.is_ascii_digit())
}

fn spells(word: &str, group: &str, kind: &str) -> bool {
    let lower = kind.to_lowercase();
    if word == lower {
        return true;
    }
    match find(group, kind) {
        Some(builtin) => word == builtin.plural || builtin.short.contains(&word),
        None => word == plural_of(&lower),
    }
}

fn find(group: &str, kind: &str) -> Option<&'static Builtin> {
    BUILTIN.iter().find(|b| b.group == group && b.kind.eq_ignore_ascii_case(kind))
}

/// As Kubernetes' code generators guess a plural.
fn plural_of(lower: &str) -> String {
    let vowel = |c: char| "aeiou".contains(c);
    if lower.ends_with('s') || lower.ends_with("ch") || lower.ends_with('x') || lower.ends_with("sh") {
        return format!("{lower}es");
    }
    match lower.strip_suffix('y') {
        Some(stem) if !stem.ends_with(vowel) => format!("{stem}ies"),
        _ => format!("{lower}s"),
    }
}

/// Whether a plural resource name of a request is that of this kind.
pub(crate) fn is_resource_of(resource: &str, group: &str, kind: &str) -> bool {
    match find(group, kind) {
        Some(builtin) => builtin.plural == resource,
        None => plural_of(&kind.to_lowercase()) == resource,
    }
}

/// The kind behind a plural resource name; none for custom ones.
pub(crate) fn kind_of(group: &str, resource: &str) -> Option<&'static str> {
    BUILTIN.iter().find(|b| b.group == group && b.plural == resource).map(|b| b.kind)
}

/// Whether the kind is known to live outside namespaces.
pub(crate) fn is_cluster_scoped(group: &str, kind: &str) -> bool {
    find(group, kind).is_some_and(|b| !b.namespaced)
}

/// Whether two words are one kind of a group. A custom kind may be known by its plural only, from a request.
pub(crate) fn same_kind(group: &str, a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || is_resource_of(a, group, b) || is_resource_of(b, group, a)
}

/// Whether two groups hold the same objects under this kind.
pub(crate) fn same_group(kind: &str, a: &str, b: &str) -> bool {
    let twins = |x: &str, y: &str| match kind.to_lowercase().as_str() {
        "event" => x.is_empty() && y == "events.k8s.io",
        "ingress" => x == "extensions" && y == NETWORKING,
        _ => false,
    };
    a == b || twins(a, b) || twins(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(text: &str, group: &str, kind: &str) -> bool {
        Spelling::read(text).means(group, kind)
    }

    #[test]
    fn a_deployment_in_every_spelling() {
        for text in [
            "Deployment",
            "deployment",
            "DEPLOYMENTS",
            "deploy",
            " deployments ",
            "deployments.apps",
            "deployment.apps",
            "deploy.apps",
            "Deployment.apps",
            "deployments.v1.apps",
            "Deployment.v1.apps",
            "apps/v1/Deployment",
            "apps/Deployment",
            "apps/v1, Kind=Deployment",
            "apps/v1beta2/deployments",
            "deployments.app",
        ] {
            assert!(means(text, "apps", "Deployment"), "{text}");
        }
        for text in ["deploys", "deployments.batch", "v1/Deployment", "batch/v1/Deployment", "", "Deploymen", "rs"] {
            assert!(!means(text, "apps", "Deployment"), "{text}");
        }
    }

    #[test]
    fn core_kinds_have_an_empty_group() {
        for text in ["Pod", "po", "pods", "v1/Pod", "core/v1/Pod", "pods.v1.", "pods.v1", "/v1/Pod", "pod."] {
            assert!(means(text, "", "Pod"), "{text}");
        }
        assert!(!means("pods.apps", "", "Pod"));
        assert!(!means("pods.metrics.k8s.io", "", "Pod"));
        assert!(means("pods.metrics.k8s.io", "metrics.k8s.io", "PodMetrics"));
    }

    #[test]
    fn irregular_plurals_and_short_names() {
        for (text, group, kind) in [
            ("ingresses", NETWORKING, "Ingress"),
            ("ing", NETWORKING, "Ingress"),
            ("netpol", NETWORKING, "NetworkPolicy"),
            ("networkpolicies", NETWORKING, "NetworkPolicy"),
            ("endpoints", "", "Endpoints"),
            ("ep", "", "Endpoints"),
            ("sts", "apps", "StatefulSet"),
            ("quota", "", "ResourceQuota"),
            ("limits", "", "LimitRange"),
            ("hpa", "autoscaling", "HorizontalPodAutoscaler"),
            ("pdb", "policy", "PodDisruptionBudget"),
            ("crds", "apiextensions.k8s.io", "CustomResourceDefinition"),
            ("events.events.k8s.io", "events.k8s.io", "Event"),
            ("storageclasses", STORAGE, "StorageClass"),
            ("pc", "scheduling.k8s.io", "PriorityClass"),
        ] {
            assert!(means(text, group, kind), "{text}");
        }
    }

    #[test]
    fn custom_kinds_follow_the_plural_rules() {
        for text in ["Proxy", "proxies", "proxies.example.com", "example.com/v1/Proxy"] {
            assert!(means(text, "example.com", "Proxy"), "{text}");
        }
        assert!(means("gateways", "example.com", "Gateway"));
        assert!(means("boxes", "example.com", "Box"));
        assert!(!means("proxys", "example.com", "Proxy"));
    }

    #[test]
    fn no_spelling_of_the_table_means_two_kinds_of_one_group() {
        for a in BUILTIN {
            for b in BUILTIN.iter().filter(|b| b.group == a.group && b.kind != a.kind) {
                for word in [a.plural].iter().chain(a.short) {
                    assert!(!spells(word, b.group, b.kind), "{word} means {} and {}", a.kind, b.kind);
                }
            }
        }
    }

    #[test]
    fn resources_lead_to_kinds() {
        assert_eq!(kind_of("apps", "replicasets"), Some("ReplicaSet"));
        assert_eq!(kind_of("", "pods"), Some("Pod"));
        assert_eq!(kind_of("example.com", "pods"), None);
        assert!(is_resource_of("proxies", "example.com", "Proxy"));
        assert!(!is_resource_of("deploy", "apps", "Deployment"), "requests have plurals only");
    }
}
