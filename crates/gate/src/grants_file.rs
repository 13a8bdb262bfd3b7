//! Reads `grants.yaml`, every error at once with its place.

use std::collections::{BTreeMap, BTreeSet};

use yaml::{At, Diagnostics, Source};

use crate::grants::{AgentGrant, ClusterGrant, Executors, FailureGrant, Grants, NamedAccess};
use crate::{Access, Hazard, Rule};

const VERBS: [&str; 15] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "impersonate",
    "escalate",
    "bind",
    "approve",
    "use",
    "head",
    "*",
];

impl Grants {
    /// Reads a grants file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(source: &Source) -> Result<Self, Diagnostics> {
        yaml::read(source, |at| read(&at))
    }
}

fn read(at: &At<'_>) -> Option<Grants> {
    const KEYS: &[&str] = &["schema", "clusters", "failures", "agents", "access", "executors"];
    let fields = at.fields("grants file", KEYS)?;
    let schema = fields.schema();
    let clusters = fields.list("clusters", cluster);
    let failures = fields.list("failures", failure);
    let access = fields.list("access", named_access);
    let names: Vec<String> = access.iter().flatten().map(|a| a.name.clone()).collect();
    let agents = fields.list("agents", |at| agent(at, &names));
    let executors = fields.or("executors", Executors::default(), |at| executors(&at));
    schema?;
    Some(Grants {
        schema: None,
        clusters: clusters?,
        failures: failures?,
        agents: agents?,
        access: access?,
        executors: executors?,
    })
}

fn cluster(at: &At<'_>) -> Option<ClusterGrant> {
    let fields = at.fields("cluster", &["context", "server", "limits"])?;
    let context = fields.required("context").and_then(|at| at.nonempty());
    let server = fields.required("server").and_then(|at| {
        let server = at.nonempty()?;
        let https = server.starts_with("https://");
        if https { Some(server) } else { at.error_with_help("this is no API server", "write `https://host:port`") }
    });
    let limits = fields.or("limits", BTreeMap::new(), |at| limits(&at));
    Some(ClusterGrant { context: context?, server: server?, limits: limits? })
}

fn limits(at: &At<'_>) -> Option<BTreeMap<String, String>> {
    let mut limits = BTreeMap::new();
    let mut fine = true;
    for (key, key_at, value) in at.entries()? {
        if !matches!(key, "pods" | "cpu" | "memory") {
            key_at.error_with_help::<()>(format!("unknown limit `{key}`"), "there are pods, cpu and memory");
            fine = false;
        }
        match value.spelt().filter(|_| value.json().is_some_and(|v| !v.is_boolean())) {
            Some(quantity) if !wire::quantity::Quantity::parse(&quantity).is_some_and(|q| q.nanos() > 0) => {
                value.error_with_help::<()>(format!("`{quantity}` is no quantity"), "write `20`, `500m` or `8Gi`");
                fine = false;
            }
            Some(quantity) => drop(limits.insert(key.to_owned(), quantity)),
            None => fine = false,
        }
    }
    fine.then_some(limits)
}

fn failure(at: &At<'_>) -> Option<FailureGrant> {
    let fields = at.fields("failure", &["id", "digest", "clusters", "rules", "unsafe"])?;
    let id = fields.required("id").and_then(|at| at.nonempty());
    let digest = fields.maybe("digest", |at| digest(&at));
    let clusters = fields.or("clusters", Vec::new(), |at| places(&at));
    let rules = fields.list("rules", rule);
    let hazards = fields.list("unsafe", hazard);
    let hazards = hazards.map(BTreeSet::from_iter);
    Some(FailureGrant { id: id?, digest: digest?, clusters: clusters?, rules: rules?, hazards: hazards? })
}

/// Where a grant holds. An empty list would read as "nowhere", and hold everywhere.
fn places(at: &At<'_>) -> Option<Vec<String>> {
    let places = at.texts()?;
    if places.is_empty() {
        return at.error_with_help(
            "this names no cluster",
            "name some, or leave `clusters` out: the grant holds everywhere",
        );
    }
    Some(places)
}

fn digest(at: &At<'_>) -> Option<String> {
    let digest = at.text()?;
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        Some(digest)
    } else {
        at.error_with_help("this is no digest", "write `sha256:` and 64 hexadecimal digits")
    }
}

fn agent(at: &At<'_>, names: &[String]) -> Option<AgentGrant> {
    let fields = at.fields("agent", &["id", "clusters", "access", "require_sandbox"])?;
    let id = fields.required("id").and_then(|at| at.nonempty());
    let clusters = fields.or("clusters", Vec::new(), |at| places(&at));
    let access = fields.maybe("access", |at| access_name(&at, names));
    let require_sandbox = fields.or("require_sandbox", false, |at| at.bool());
    Some(AgentGrant { id: id?, clusters: clusters?, access: access?, require_sandbox: require_sandbox? })
}

fn access_name(at: &At<'_>, names: &[String]) -> Option<String> {
    let name = at.text()?;
    let known = || Access::NAMES.into_iter().chain(names.iter().map(String::as_str));
    if known().any(|k| k == name) {
        return Some(name);
    }
    let help = yaml::did_you_mean(&name, "possible are", known());
    match help {
        Some(help) => at.error_with_help(format!("there is no access `{name}`"), help),
        None => at.error(format!("there is no access `{name}`")),
    }
}

fn named_access(at: &At<'_>) -> Option<NamedAccess> {
    let fields = at.fields("access", &["name", "rules", "unsafe"])?;
    let name = fields.required("name").and_then(|at| {
        let name = at.nonempty()?;
        let taken = Access::NAMES.contains(&name.as_str());
        if taken { at.error(format!("`{name}` is a profile of the program; take another name")) } else { Some(name) }
    });
    let rules = fields.required("rules").and_then(|at| at.each(rule));
    let hazards = fields.list("unsafe", hazard).map(BTreeSet::from_iter);
    Some(NamedAccess { name: name?, rules: rules?, hazards: hazards? })
}

fn executors(at: &At<'_>) -> Option<Executors> {
    let fields = at.fields("set of executors", &["live_test_script"])?;
    let live_test_script = fields.maybe("live_test_script", |at| at.nonempty());
    Some(Executors { live_test_script: live_test_script? })
}

fn hazard(at: &At<'_>) -> Option<Hazard> {
    let words: Vec<(&str, Hazard)> = Hazard::ALL.into_iter().map(|h| (h.as_str(), h)).collect();
    at.one_of(&words)
}

fn rule(at: &At<'_>) -> Option<Rule> {
    const KEYS: &[&str] = &["apiGroups", "resources", "resourceNames", "verbs", "namespaces", "nonResourceURLs"];
    let fields = at.fields("rule", KEYS)?;
    let words = |key| fields.or(key, Vec::new(), |at| at.texts());
    let verbs = fields.required("verbs").and_then(|at| at.nonempty_list("what may be done"));
    let verbs = verbs.and_then(|verbs| {
        let known: Vec<(&str, &str)> = VERBS.iter().map(|v| (*v, *v)).collect();
        let read: Vec<Option<String>> = verbs.iter().map(|at| at.one_of(&known).map(str::to_owned)).collect();
        read.into_iter().collect()
    });
    let rule = Rule {
        api_groups: words("apiGroups")?,
        resources: words("resources")?,
        resource_names: words("resourceNames")?,
        verbs: verbs?,
        namespaces: words("namespaces")?,
        non_resource_urls: words("nonResourceURLs")?,
    };
    match (rule.resources.is_empty(), rule.non_resource_urls.is_empty()) {
        (true, true) => at.error("a rule needs `resources` or `nonResourceURLs`"),
        (false, _) if rule.api_groups.is_empty() => {
            at.error_with_help("a rule on resources needs `apiGroups`", "write `apiGroups: [\"\"]` for the core group")
        }
        _ => Some(rule),
    }
}
