//! `metadata.yaml` to [`Metadata`], every error at once.

use std::collections::HashSet;
use std::time::Duration;

use model::{FAULT_TYPES, Id};
use yaml::{At, Fields, did_you_mean};

use super::{Metadata, Prerequisite, RepairAccess, Workload, WrongFix, checks, objects};
use crate::params::ParamsSchema;
use crate::substitute::Placeholder;
use crate::{Capabilities, GroundTruth, Rule, Severity, UNSAFE_POWERS, VERBS, Version};

const KEYS: &[&str] = &[
    "schema",
    "id",
    "version",
    "name",
    "description",
    "expected_duration",
    "severity",
    "prerequisites",
    "tags",
    "params",
    "workload",
    "capabilities",
    "exclusive",
    "induce",
    "symptoms",
    "health",
    "ground_truth",
    "reference_fix",
    "repair_access",
    "wrong_fixes",
];

/// The longest durations that make sense in cluster time.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

pub(super) fn metadata(at: &At<'_>, folder: Option<&str>) -> Option<Metadata> {
    let fields = at.fields("metadata", KEYS)?;
    let schema = fields.schema();
    let id = id(&fields, folder);
    let version = fields.or("version", Version::default(), |at| version(&at));
    let name = fields.required("name").and_then(|at| at.nonempty());
    let description = fields.required("description").and_then(|at| at.nonempty());
    let expected_duration = fields.required("expected_duration").and_then(|at| at.duration(MAX_DURATION));
    let severity = fields.or("severity", Severity::default(), |at| at.one_of(Severity::WORDS));
    let prerequisites = fields.list("prerequisites", prerequisite);
    let tags = fields.list("tags", At::nonempty);
    let params = fields.or("params", ParamsSchema::default(), |at| ParamsSchema::read(&at));
    let workload = fields.or("workload", Workload::default(), |at| workload(&at));
    let capabilities = fields.or("capabilities", Capabilities::default(), |at| capabilities(&at));
    let exclusive = fields.or("exclusive", false, |at| at.bool());
    let induce = fields.or("induce", Vec::new(), |at| objects::steps(&at));
    let symptoms = fields.or("symptoms", Vec::new(), |at| checks::symptoms(&at));
    let health = fields.or("health", Vec::new(), |at| checks::health(&at));
    let ground_truth = fields.maybe("ground_truth", |at| ground_truth(&at));
    let reference_fix = fields.or("reference_fix", Vec::new(), |at| objects::steps(&at));
    let repair_access = fields.or("repair_access", RepairAccess::default(), |at| at.one_of(RepairAccess::WORDS));
    let wrong_fixes = fields.or("wrong_fixes", Vec::new(), |at| wrong_fixes(&at));
    if let Some(params) = &params {
        check_placeholders(&fields, params);
    }
    schema?;
    let metadata = Metadata {
        id: id?,
        version: version?,
        name: name?,
        description: description?,
        expected_duration: expected_duration?,
        severity: severity?,
        prerequisites: prerequisites?,
        tags: tags?,
        params: params?,
        workload: workload?,
        capabilities: capabilities?,
        exclusive: exclusive?,
        induce: induce?,
        symptoms: symptoms?,
        health: health?,
        ground_truth: ground_truth?,
        reference_fix: reference_fix?,
        repair_access: repair_access?,
        wrong_fixes: wrong_fixes?,
    };
    consistent(&fields, &metadata).then_some(metadata)
}

fn id(fields: &Fields<'_>, folder: Option<&str>) -> Option<Id> {
    let Some(at) = fields.optional("id") else {
        let Some(folder) = folder else { return fields.required("id").and(None) };
        return match folder.parse() {
            Ok(id) => Some(id),
            Err(error) => {
                let error: model::IdError = error;
                fields.at().error_with_help(
                    format!("the folder's name is the id, but {error}"),
                    "rename the folder, or write an `id` that equals it",
                )
            }
        };
    };
    let id: Id = at.parsed()?;
    match folder {
        Some(folder) if folder != id.as_str() => at.error_with_help(
            format!("the id is `{id}`, but the folder is called `{folder}`"),
            format!("write `id: {folder}`, or rename the folder to `{id}`"),
        ),
        _ => Some(id),
    }
}

fn version(at: &At<'_>) -> Option<Version> {
    if at.is_text() {
        at.parsed()
    } else {
        at.spelt().and_then(|text| {
            at.error_with_help(format!("`{text}` is not a semantic version"), "write three numbers, as in `1.0.0`")
        })
    }
}

fn prerequisite(at: &At<'_>) -> Option<Prerequisite> {
    let fields = at.fields("prerequisite", &["program", "apiVersion", "kind"])?;
    if let Some(program) = fields.optional("program") {
        if fields.has("apiVersion") || fields.has("kind") {
            return at.error_with_help(
                "a prerequisite is a program or a kind, not both",
                "write `{program: …}` and `{apiVersion: …, kind: …}` as two items",
            );
        }
        let name = program.nonempty()?;
        if name.contains(['/', '\\', ' ']) {
            return program.error_with_help(
                format!("`{name}` is not the name of a program"),
                "write only its name, such as `kubectl`",
            );
        }
        return Some(Prerequisite::Program(name));
    }
    let api_version = fields.required("apiVersion").and_then(|at| objects::api_version(&at));
    let kind = fields.required("kind").and_then(|at| objects::kind(&at));
    Some(Prerequisite::Kind { api_version: api_version?, kind: kind? })
}

fn workload(at: &At<'_>) -> Option<Workload> {
    let fields = at.fields("workload", &["manifests"])?;
    let manifests = fields.list("manifests", |at| {
        let path = at.nonempty()?;
        let inside = !path.starts_with('/')
            && !path.contains(['\\', '\0'])
            && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if inside {
            return Some(path);
        }
        at.error_with_help(
            format!("`{path}` is not a file of the failure's folder"),
            "write a path inside the folder, such as `workload.yaml`",
        )
    });
    Some(Workload { manifests: manifests? })
}

fn capabilities(at: &At<'_>) -> Option<Capabilities> {
    let fields = at.fields("capabilities", &["rules", "unsafe"])?;
    let rules = fields.list("rules", rule);
    let unsafe_ = fields.list("unsafe", |at| {
        let words: Vec<(&str, &str)> = UNSAFE_POWERS.iter().map(|word| (*word, *word)).collect();
        at.one_of(&words).map(str::to_owned)
    });
    Some(Capabilities { rules: rules?, unsafe_: unsafe_? })
}

fn rule(at: &At<'_>) -> Option<Rule> {
    const KEYS: &[&str] = &["apiGroups", "resources", "resourceNames", "verbs", "namespaces", "nonResourceURLs"];
    let fields = at.fields("rule", KEYS)?;
    let api_groups = fields.list("apiGroups", |at| {
        let group = at.text()?;
        if let Some((group, version)) = group.split_once('/') {
            let help = format!("write `{}`, without `{version}`", if group == "v1" { "\"\"" } else { group });
            return at.error_with_help("an apiGroup has no version", help);
        }
        match group.as_str() {
            "v1" | "core" => {
                at.error_with_help(format!("`{group}` is not an apiGroup"), "the core group is written `\"\"`")
            }
            _ => Some(group),
        }
    });
    let resources = fields.list("resources", resource);
    let resource_names = fields.list("resourceNames", At::nonempty);
    let verbs = fields.required("verbs").and_then(|at| {
        let items = at.nonempty_list("verbs such as `get`")?;
        let words: Vec<(&str, &str)> = VERBS.iter().map(|verb| (*verb, *verb)).collect();
        objects::all(items.iter().map(|at| at.one_of(&words).map(str::to_owned)))
    });
    let namespaces = fields.list("namespaces", At::nonempty);
    let non_resource_urls = fields.list("nonResourceURLs", At::nonempty);
    let rule = Rule {
        api_groups: api_groups?,
        resources: resources?,
        resource_names: resource_names?,
        verbs: verbs?,
        namespaces: namespaces?,
        non_resource_urls: non_resource_urls?,
    };
    match (rule.resources.is_empty(), rule.non_resource_urls.is_empty()) {
        (true, true) => {
            at.error_with_help("a rule needs `resources`", "write `resources: [pods]`, or `nonResourceURLs`")
        }
        (false, false) => at.error("a rule is about resources or about nonResourceURLs, not both"),
        (false, true) if rule.api_groups.is_empty() => at.error_with_help(
            "a rule about resources needs `apiGroups`",
            "write `apiGroups: [apps]`; the core group (pods, services, …) is `[\"\"]`",
        ),
        _ => Some(rule),
    }
}

fn resource(at: &At<'_>) -> Option<String> {
    let resource = at.nonempty()?;
    if resource.chars().any(|c| c.is_ascii_uppercase()) {
        let help = format!("resources are lower-case plurals: `{}s`", resource.to_lowercase().trim_end_matches('s'));
        return at.error_with_help(format!("`{resource}` is a kind, not a resource"), help);
    }
    Some(resource)
}

fn ground_truth(at: &At<'_>) -> Option<GroundTruth> {
    let fields = at.fields("ground_truth", &["fault_type", "root_causes", "also_accept", "repair_scope"])?;
    let fault_type = fields.required("fault_type").and_then(|at| {
        let text = at.text()?;
        if model::fault_type(&text).is_some() {
            return Some(text);
        }
        let words = FAULT_TYPES.iter().map(|fault| fault.id);
        let help = did_you_mean(&text, "the taxonomy has", words).unwrap_or_default();
        at.error_with_help(format!("`{text}` is not a fault type"), help)
    });
    let root_causes = fields.list("root_causes", objects::object_ref);
    let also_accept = fields.list("also_accept", objects::object_ref);
    let repair_scope = fields.list("repair_scope", objects::object_ref);
    let truth = GroundTruth {
        fault_type: fault_type?,
        root_causes: root_causes?,
        also_accept: also_accept?,
        repair_scope: repair_scope?,
    };
    let list = fields.optional("root_causes");
    match (truth.is_none(), truth.root_causes.is_empty()) {
        (false, true) => list.as_ref().unwrap_or(at).error_with_help(
            format!("fault type `{}` needs at least one root cause", truth.fault_type),
            "add `root_causes: [{apiVersion: …, kind: …, name: …}]`, or write `fault_type: none`",
        ),
        (true, false) => list.as_ref().unwrap_or(at).error_with_help(
            "where nothing is wrong (`fault_type: none`) there are no root causes",
            "leave `root_causes` out, or name the fault type",
        ),
        _ => Some(truth),
    }
}

fn wrong_fixes(at: &At<'_>) -> Option<Vec<WrongFix>> {
    let fixes = at.each(|at| {
        let fields = at.fields("wrong fix", &["name", "steps"])?;
        let name = fields.required("name").and_then(|at| at.nonempty());
        let steps = fields.required("steps").and_then(|at| {
            at.nonempty_list("at least one step")?;
            objects::steps(&at)
        });
        Some(WrongFix { name: name?, steps: steps? })
    })?;
    unique(at, fixes.iter().map(|fix| fix.name.as_str()), "wrong fix")?;
    Some(fixes)
}

/// Reports names that occur twice; items and names are in the same order.
pub(super) fn unique<'n>(at: &At<'_>, names: impl Iterator<Item = &'n str>, what: &str) -> Option<()> {
    let mut seen = HashSet::new();
    let mut fine = true;
    for (name, item) in names.zip(at.list()?) {
        if !seen.insert(name) {
            fine = false;
            item.error_with_help::<()>(format!("there are two {what}s called `{name}`"), "give each a name of its own");
        }
    }
    fine.then_some(())
}

/// What only the whole can tell.
fn consistent(fields: &Fields<'_>, metadata: &Metadata) -> bool {
    let mut fine = true;
    let mut complain = |key: &str, message: &str, help: &str| {
        fine = false;
        fields.optional(key).unwrap_or_else(|| fields.at().clone()).error_with_help::<()>(message, help);
    };
    if metadata.ground_truth_is_none() && !metadata.symptoms.is_empty() {
        complain(
            "symptoms",
            "where nothing is wrong (`fault_type: none`) there are no symptoms",
            "leave `symptoms` out",
        );
    }
    let judged = metadata.ground_truth.is_some();
    if judged && metadata.health.is_empty() {
        complain(
            "ground_truth",
            "a failure that is judged needs a health check",
            "add `health:`: checks that hold before the failure and not during it",
        );
    }
    if judged && !metadata.ground_truth_is_none() && metadata.symptoms.is_empty() {
        complain(
            "ground_truth",
            "a failure that is judged needs a symptom",
            "add `symptoms:`, so that the host can witness it",
        );
    }
    fine
}

/// `$(params.x)` must name a parameter, and replace a whole value.
fn check_placeholders(fields: &Fields<'_>, params: &ParamsSchema) {
    const TEMPLATED: &[&str] =
        &["capabilities", "induce", "symptoms", "health", "ground_truth", "reference_fix", "wrong_fixes"];
    for at in TEMPLATED.iter().filter_map(|key| fields.optional(key)) {
        at.walk_text(&mut |at, text| match Placeholder::of(text) {
            Placeholder::Param(name) if !params.has(name) => {
                let help = did_you_mean(name, "the parameters are", params.names())
                    .unwrap_or_else(|| "declare it under `params: {type: object, properties: …}`".to_owned());
                at.error_with_help::<()>(format!("there is no parameter `{name}`"), help);
            }
            Placeholder::Inside(found) => {
                let help = if text.contains('=') {
                    "in a labelSelector write `{matchLabels: {app: $(params.app)}}`"
                } else {
                    "make the whole value a parameter"
                };
                at.error_with_help::<()>(format!("`{found}` replaces whole values only, not a part of a text"), help);
            }
            _ => {}
        });
    }
}
