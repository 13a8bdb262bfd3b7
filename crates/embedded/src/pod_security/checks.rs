//! The checks of the Pod Security Standards, in the order and the words of Kubernetes' own
//! (`k8s.io/pod-security-admission/policy`).

use serde_json::Value;

use super::Level;
use crate::object;

type Failed = Option<(String, String)>;

/// A pod as the checks see it.
struct Pod<'a> {
    metadata: &'a Value,
    spec: &'a Value,
    containers: Vec<&'a Value>,
    windows: bool,
}

/// Reason and detail of each check of this level that fails.
pub(super) fn run(level: Level, metadata: &Value, spec: &Value) -> Vec<(String, String)> {
    let containers = ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .flat_map(|list| object::list(spec, &[list]))
        .collect();
    let pod = Pod { metadata, spec, containers, windows: object::text(spec, &["os", "name"]) == "windows" };
    let restricted = level == Level::Restricted;
    // By the checks' own ids; those of the restricted level stand for the baseline's about the same.
    let checks: [(bool, fn(&Pod<'_>) -> Failed); 16] = [
        (restricted, privilege_escalation),
        (true, app_armor),
        (!restricted, capabilities_baseline),
        (restricted, capabilities_restricted),
        (true, host_namespaces),
        (!restricted, host_path),
        (true, host_ports),
        (true, privileged),
        (true, proc_mount),
        (restricted, volumes),
        (restricted, run_as_non_root),
        (restricted, run_as_user),
        (!restricted, seccomp_baseline),
        (restricted, seccomp_restricted),
        (true, sysctls),
        (true, host_process),
    ];
    checks.into_iter().filter(|(asked, _)| *asked).filter_map(|(_, check)| check(&pod)).collect()
}

impl Pod<'_> {
    /// Names of the containers that are so.
    fn those(&self, is: impl Fn(&Value) -> bool) -> Vec<&str> {
        self.containers.iter().filter(|c| is(c)).map(|c| object::text(c, &["name"])).collect()
    }
}

fn failed(reason: &str, detail: String) -> Failed {
    Some((reason.to_owned(), detail))
}

fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

/// `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names.iter().copied()))
}

fn context<'a>(container: &'a Value, field: &str) -> &'a Value {
    object::at(container, &["securityContext", field])
}

fn unique<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut values: Vec<&str> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn privilege_escalation(pod: &Pod<'_>) -> Failed {
    let bad = pod.those(|c| context(c, "allowPrivilegeEscalation") != false);
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
    if bad.is_empty() || pod.windows { None } else { failed("allowPrivilegeEscalation != false", detail) }
}

fn app_armor(pod: &Pod<'_>) -> Failed {
    let unconfined = |value: &Value| object::text(value, &["appArmorProfile", "type"]) == "Unconfined";
    let mut setters = Vec::new();
    if unconfined(object::at(pod.spec, &["securityContext"])) {
        setters.push("pod".to_owned());
    }
    let bad = pod.those(|c| unconfined(object::at(c, &["securityContext"])));
    if !bad.is_empty() {
        setters.push(containers(&bad));
    }
    let forbidden: Vec<String> = object::at(pod.metadata, &["annotations"])
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("container.apparmor.security.beta.kubernetes.io/"))
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(_, value)| *value != "runtime/default" && !value.starts_with("localhost/") && !value.is_empty())
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let mut details = Vec::new();
    if !setters.is_empty() {
        let text = "must not set AppArmor profile type to \"Unconfined\"";
        details.push(format!("{} {text}", setters.join(" and ")));
    }
    if !forbidden.is_empty() {
        let word = plural("annotation", "annotations", forbidden.len());
        details.push(format!("{word} {}", forbidden.join(", ")));
    }
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", setters.len() + forbidden.len());
    if details.is_empty() { None } else { failed(reason, details.join("; ")) }
}

const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn added(container: &Value) -> impl Iterator<Item = &str> {
    object::list(container, &["securityContext", "capabilities", "add"]).iter().filter_map(Value::as_str)
}

fn capabilities_baseline(pod: &Pod<'_>) -> Failed {
    let forbidden = |name: &str| !BASELINE_CAPABILITIES.contains(&name);
    let bad = pod.those(|c| added(c).any(forbidden));
    let names = unique(pod.containers.iter().flat_map(|c| added(c)).filter(|name| forbidden(name)));
    let detail = format!("{} must not include {} in securityContext.capabilities.add", containers(&bad), quoted(names));
    if bad.is_empty() { None } else { failed("non-default capabilities", detail) }
}

fn capabilities_restricted(pod: &Pod<'_>) -> Failed {
    let keeps = |c: &Value| {
        !object::list(c, &["securityContext", "capabilities", "drop"]).iter().any(|capability| capability == "ALL")
    };
    let mut details = Vec::new();
    let missing = pod.those(keeps);
    if !missing.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&missing)));
    }
    let forbidden = |name: &str| name != "NET_BIND_SERVICE";
    let adding = pod.those(|c| added(c).any(forbidden));
    if !adding.is_empty() {
        let names = unique(pod.containers.iter().flat_map(|c| added(c)).filter(|name| forbidden(name)));
        let list = quoted(names);
        details.push(format!("{} must not include {list} in securityContext.capabilities.add", containers(&adding)));
    }
    if details.is_empty() || pod.windows { None } else { failed("unrestricted capabilities", details.join("; ")) }
}

fn host_namespaces(pod: &Pod<'_>) -> Failed {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| pod.spec[**field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    if set.is_empty() { None } else { failed("host namespaces", set.join(", ")) }
}

fn host_path(pod: &Pod<'_>) -> Failed {
    let bad: Vec<&str> = object::list(pod.spec, &["volumes"])
        .iter()
        .filter(|volume| !volume["hostPath"].is_null())
        .map(|volume| object::text(volume, &["name"]))
        .collect();
    let word = plural("volume", "volumes", bad.len());
    if bad.is_empty() { None } else { failed("hostPath volumes", format!("{word} {}", quoted(bad))) }
}

fn host_ports(pod: &Pod<'_>) -> Failed {
    fn used(container: &Value) -> impl Iterator<Item = i64> {
        object::list(container, &["ports"]).iter().filter_map(|port| port["hostPort"].as_i64()).filter(|n| *n != 0)
    }
    let bad = pod.those(|c| used(c).next().is_some());
    let mut ports: Vec<i64> = pod.containers.iter().flat_map(|c| used(c)).collect();
    ports.sort_unstable();
    ports.dedup();
    let list: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let detail = format!(
        "{} {} {} {}",
        containers(&bad),
        plural("uses", "use", bad.len()),
        plural("hostPort", "hostPorts", ports.len()),
        list.join(", ")
    );
    if bad.is_empty() { None } else { failed("hostPort", detail) }
}

fn privileged(pod: &Pod<'_>) -> Failed {
    let bad = pod.those(|c| context(c, "privileged") == true);
    let detail = format!("{} must not set securityContext.privileged=true", containers(&bad));
    if bad.is_empty() { None } else { failed("privileged", detail) }
}

fn proc_mount(pod: &Pod<'_>) -> Failed {
    let forbidden = |c: &Value| context(c, "procMount").as_str().is_some_and(|kind| kind != "Default");
    let bad = pod.those(forbidden);
    let kinds = unique(pod.containers.iter().filter(|c| forbidden(c)).filter_map(|c| context(c, "procMount").as_str()));
    let detail = format!("{} must not set securityContext.procMount to {}", containers(&bad), quoted(kinds));
    if bad.is_empty() { None } else { failed("procMount", detail) }
}

const SAFE_VOLUMES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected"];

fn volumes(pod: &Pod<'_>) -> Failed {
    let kind = |volume: &Value| {
        let keys = volume.as_object().into_iter().flatten().find(|(key, value)| *key != "name" && !value.is_null());
        keys.map(|(key, _)| key.clone()).filter(|key| key != "secret" && !SAFE_VOLUMES.contains(&key.as_str()))
    };
    let bad: Vec<(&str, String)> = object::list(pod.spec, &["volumes"])
        .iter()
        .filter_map(|volume| Some((object::text(volume, &["name"]), kind(volume)?)))
        .collect();
    let kinds = unique(bad.iter().map(|(_, kind)| kind.as_str()));
    let detail = format!(
        "{} {} {} restricted volume {} {}",
        plural("volume", "volumes", bad.len()),
        quoted(bad.iter().map(|(name, _)| *name)),
        plural("uses", "use", bad.len()),
        plural("type", "types", kinds.len()),
        quoted(kinds)
    );
    if bad.is_empty() { None } else { failed("restricted volume types", detail) }
}

fn run_as_non_root(pod: &Pod<'_>) -> Failed {
    let whole = object::at(pod.spec, &["securityContext", "runAsNonRoot"]);
    let mut setters = Vec::new();
    if *whole == false {
        setters.push("pod".to_owned());
    }
    let explicit = pod.those(|c| context(c, "runAsNonRoot") == false);
    if !explicit.is_empty() {
        setters.push(containers(&explicit));
    }
    if !setters.is_empty() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", setters.join(" and "));
        return failed("runAsNonRoot != true", detail);
    }
    let implicit = pod.those(|c| context(c, "runAsNonRoot").is_null());
    if *whole == true || implicit.is_empty() {
        return None;
    }
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&implicit));
    failed("runAsNonRoot != true", detail)
}

fn run_as_user(pod: &Pod<'_>) -> Failed {
    let mut setters = Vec::new();
    if *object::at(pod.spec, &["securityContext", "runAsUser"]) == 0 {
        setters.push("pod".to_owned());
    }
    let bad = pod.those(|c| *context(c, "runAsUser") == 0);
    if !bad.is_empty() {
        setters.push(containers(&bad));
    }
    if setters.is_empty() {
        None
    } else {
        failed("runAsUser=0", format!("{} must not set runAsUser=0", setters.join(" and ")))
    }
}

fn unconfined(value: &Value) -> bool {
    object::text(value, &["securityContext", "seccompProfile", "type"]) == "Unconfined"
}

/// Who sets the seccomp profile to `Unconfined`.
fn seccomp_setters(pod: &Pod<'_>) -> Option<String> {
    let mut setters = Vec::new();
    if unconfined(pod.spec) {
        setters.push("pod".to_owned());
    }
    let bad = pod.those(unconfined);
    if !bad.is_empty() {
        setters.push(containers(&bad));
    }
    (!setters.is_empty()).then(|| {
        format!("{} must not set securityContext.seccompProfile.type to \"Unconfined\"", setters.join(" and "))
    })
}

fn seccomp_baseline(pod: &Pod<'_>) -> Failed {
    seccomp_setters(pod).and_then(|detail| failed("seccompProfile", detail))
}

fn seccomp_restricted(pod: &Pod<'_>) -> Failed {
    if pod.windows {
        return None;
    }
    if let Some(detail) = seccomp_setters(pod) {
        return failed("seccompProfile", detail);
    }
    let unset = |value: &Value| object::text(value, &["securityContext", "seccompProfile", "type"]).is_empty();
    let implicit = pod.those(unset);
    if !unset(pod.spec) || implicit.is_empty() {
        return None;
    }
    let text = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
    failed("seccompProfile", format!("pod or {} {text}", containers(&implicit)))
}

const SAFE_SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
];

fn sysctls(pod: &Pod<'_>) -> Failed {
    let bad: Vec<&str> = object::list(pod.spec, &["securityContext", "sysctls"])
        .iter()
        .map(|sysctl| object::text(sysctl, &["name"]))
        .filter(|name| !SAFE_SYSCTLS.contains(name) && !matches!(*name, "net.ipv4.tcp_rmem" | "net.ipv4.tcp_wmem"))
        .collect();
    if bad.is_empty() { None } else { failed("forbidden sysctls", bad.join(", ")) }
}

fn host_process(pod: &Pod<'_>) -> Failed {
    let set = |value: &Value| *object::at(value, &["securityContext", "windowsOptions", "hostProcess"]) == true;
    let mut setters = Vec::new();
    if set(pod.spec) {
        setters.push("pod".to_owned());
    }
    let bad = pod.those(set);
    if !bad.is_empty() {
        setters.push(containers(&bad));
    }
    let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.join(" and "));
    if setters.is_empty() { None } else { failed("hostProcess", detail) }
}
