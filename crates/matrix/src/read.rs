//! A matrix file to [`Matrix`], every error at once.

mod execution;

use std::collections::{BTreeMap, HashMap};

use model::{Id, Objective};
use yaml::{At, Diagnostic, Diagnostics, Fields, did_you_mean};

use crate::{AgentUse, ClusterSpec, Exclude, Execution, FailureUse, Known, Matrix, expand};

const KEYS: &[&str] = &[
    "schema",
    "name",
    "description",
    "clusters",
    "failures",
    "agents",
    "objective",
    "agent_access",
    "exclude",
    "accept",
    "execution",
];
/// Provisioners of the formats that this version may not have yet.
const PROVISIONERS: &[&str] = &["embedded", "stub", "kind", "k0rdent"];

pub(crate) fn matrix(at: &At<'_>, known: &Known) -> Option<Matrix> {
    let fields = at.fields("matrix", KEYS)?;
    let schema = fields.schema();
    let name = fields.required("name").and_then(|at| at.parsed::<Id>());
    let description = fields.maybe("description", |at| at.text());
    let objective = fields.or("objective", Objective::Diagnose, |at| {
        let words: Vec<(&str, Objective)> = Objective::ALL.iter().map(|o| (o.as_str(), *o)).collect();
        at.one_of(&words)
    });
    let names = Names { known, objective };
    let clusters = list(&fields, "clusters", "cluster", &|at| cluster(at, known), |cluster| &cluster.id);
    let failures = list(&fields, "failures", "failure", &|at| names.failure(at), |failure| &failure.name);
    let agents = list(&fields, "agents", "agent", &|at| names.agent(at), |agent| &agent.name);
    let agent_access = fields.maybe("agent_access", |at| access(&at, &known.access));
    let sets = Sets { clusters: &clusters, failures: &failures, agents: &agents };
    let exclude = fields.list("exclude", |at| sets.exclude(at));
    let accept = fields.maybe("accept", |at| execution::accept(&at));
    let execution = fields.or("execution", Execution::default(), |at| execution::execution(&at));
    schema?;
    let matrix = Matrix {
        name: name?,
        description: description?,
        clusters: clusters.complete()?,
        failures: failures.complete()?,
        agents: agents.complete()?,
        objective: objective?,
        agent_access: agent_access?,
        exclude: exclude?,
        accept: accept?,
        execution: execution?,
        warnings: Diagnostics::default(),
    };
    sensible(&fields, &matrix).then_some(matrix)
}

/// Items that could be read, and whether there are others.
struct Read<T> {
    items: Vec<T>,
    complete: bool,
}

impl<T> Read<T> {
    fn complete(self) -> Option<Vec<T>> {
        self.complete.then_some(self.items)
    }
}

/// A list of named things: not empty, each name once.
fn list<T>(
    fields: &Fields<'_>,
    key: &str,
    what: &str,
    read: &dyn Fn(&At<'_>) -> Option<T>,
    name: impl Fn(&T) -> &Id,
) -> Read<T> {
    let mut found = Read { items: Vec::new(), complete: false };
    let Some(at) = fields.required(key) else { return found };
    let Some(items) = at.nonempty_list(&format!("at least one {what}")) else { return found };
    found.complete = !items.is_empty();
    let mut lines: HashMap<String, usize> = HashMap::new();
    for item in &items {
        let value = read(item);
        found.complete &= value.is_some();
        // What is wrong otherwise may be here twice all the same: all errors are told at once.
        let Some(written) = value.as_ref().map(|value| name(value).to_string()).or_else(|| written_name(item)) else {
            continue;
        };
        if let Some(first) = lines.get(&written) {
            let help = match what {
                "cluster" => "give each an id of its own".to_owned(),
                _ => format!("to use one twice, tell them apart: `{{id: …, name: {written}-2}}`"),
            };
            let message = format!("{what} `{written}` is here twice; it is first on line {first}");
            item.error_with_help::<()>(message, help);
            found.complete = false;
            continue;
        }
        lines.insert(written, item.source().location(item.span().start).0);
        found.items.extend(value);
    }
    found
}

/// The name that stands there, of an item that could not be read.
fn written_name(item: &At<'_>) -> Option<String> {
    let value = item.node().to_json();
    let name = [&value, &value["name"], &value["id"]].into_iter().find_map(|name| name.as_str());
    name.map(str::to_owned)
}

fn cluster(at: &At<'_>, known: &Known) -> Option<ClusterSpec> {
    if at.is_text() {
        let help = format!("write `{{id: {}, provisioner: embedded}}`", at.str()?);
        return at.error_with_help("a cluster is a mapping", help);
    }
    let fields = at.fields("cluster", &["id", "provisioner", "template", "kubeconfig", "context"])?;
    let id = fields.required("id").and_then(|at| at.parsed::<Id>());
    let provisioner = fields.required("provisioner").and_then(|at| provisioner(&at, known));
    let template = fields.maybe("template", |at| {
        let template = at.nonempty()?;
        // Where one does not belong at all is told below.
        let made = provisioner.as_deref().filter(|provisioner| *provisioner != "stub");
        match (made, &known.template) {
            (Some(provisioner), Some(check)) => match check(provisioner, &template) {
                Some(wrong) => at.error_with_help(wrong, "remove `template` for the provisioner's default"),
                None => Some(template),
            },
            _ => Some(template),
        }
    });
    let misplaced: &[&str] = match provisioner.as_deref() {
        Some("embedded" | "kind") => &["kubeconfig", "context"],
        Some("stub") => &["template"],
        _ => &[],
    };
    let mut fits = true;
    for key in misplaced {
        let Some(place) = fields.optional(key) else { continue };
        let (belongs, help) = if *key == "template" {
            ("clusters that are made", "an existing cluster is taken as it is")
        } else {
            ("existing clusters (provisioner `stub`)", "this one is made for the run")
        };
        place.error_with_help::<()>(format!("`{key}` goes with {belongs}"), format!("remove `{key}`; {help}"));
        fits = false;
    }
    let kubeconfig = fields.maybe("kubeconfig", |at| at.nonempty());
    let context = fields.maybe("context", |at| at.nonempty());
    let spec = ClusterSpec {
        id: id?,
        provisioner: provisioner?,
        template: template?,
        kubeconfig: kubeconfig?,
        context: context?,
    };
    fits.then_some(spec)
}

fn provisioner(at: &At<'_>, known: &Known) -> Option<String> {
    let name = at.nonempty()?;
    if known.provisioners.contains(&name) {
        return Some(name);
    }
    let available = known.provisioners.join(", ");
    if PROVISIONERS.contains(&name.as_str()) {
        let message = format!("provisioner `{name}` is not available in this version; available: {available}");
        return at.error_with_help(
            message,
            format!("write `provisioner: {}`", known.provisioners.first().map_or("embedded", String::as_str)),
        );
    }
    let help = did_you_mean(&name, "available", known.provisioners.iter().map(String::as_str)).unwrap_or_default();
    at.error_with_help(format!("there is no provisioner `{name}`"), help)
}

fn access(at: &At<'_>, known: &[String]) -> Option<String> {
    let name = at.nonempty()?;
    if known.is_empty() || known.contains(&name) {
        return Some(name);
    }
    let help = did_you_mean(&name, "possible are", known.iter().map(String::as_str)).unwrap_or_default();
    at.error_with_help(format!("there is no access `{name}`"), help)
}

/// Reads what names failures and agents.
struct Names<'a> {
    known: &'a Known,
    /// None when the objective itself is wrong.
    objective: Option<Objective>,
}

impl Names<'_> {
    fn failure(&self, at: &At<'_>) -> Option<FailureUse> {
        if !at.is_map() {
            let id = self.failure_id(at)?;
            return Some(FailureUse { name: id.clone(), id, params: BTreeMap::new() });
        }
        let fields = at.fields("failure", &["id", "name", "params"])?;
        let id = fields.required("id").and_then(|at| self.failure_id(&at));
        let name = fields.maybe("name", |at| at.parsed::<Id>());
        let params = fields.or("params", BTreeMap::new(), |at| self.params(&at, id.as_ref()));
        let id = id?;
        Some(FailureUse { name: name?.unwrap_or_else(|| id.clone()), id, params: params? })
    }

    fn failure_id(&self, at: &At<'_>) -> Option<Id> {
        let id = named(at, "failure", &self.known.failures, &self.known.unusable_failures)?;
        self.serves(at, self.known.failure_serves.as_ref(), id)
    }

    fn params(&self, at: &At<'_>, id: Option<&Id>) -> Option<BTreeMap<String, serde_json::Value>> {
        let entries = at.entries()?;
        let mut values = BTreeMap::new();
        for (name, _, value) in &entries {
            values.insert((*name).to_owned(), value.json()?);
        }
        let (Some(check), Some(id)) = (&self.known.params, id) else { return Some(values) };
        let problems = check(id.as_str(), &values);
        for (name, message) in &problems {
            let place = entries.iter().find(|(key, ..)| key == name).map_or(at, |(_, key, _)| key);
            place.error::<()>(format!("parameter `{name}` of `{id}`: {message}"));
        }
        problems.is_empty().then_some(values)
    }

    fn agent(&self, at: &At<'_>) -> Option<AgentUse> {
        if !at.is_map() {
            let id = self.agent_id(at)?;
            return Some(AgentUse { name: id.clone(), id, args: Vec::new(), control: false });
        }
        for (key, key_at, _) in at.entries()? {
            if matches!(key, "command" | "env" | "executor" | "sandbox") {
                let help =
                    "matrices come from strangers: how an agent is started is said by its preset alone; `args` append";
                key_at.error_with_help::<()>(format!("`{key}` cannot be set in a matrix"), help);
                return None;
            }
        }
        let fields = at.fields("agent", &["id", "name", "args", "control"])?;
        let id = fields.required("id").and_then(|at| self.agent_id(&at));
        let name = fields.maybe("name", |at| at.parsed::<Id>());
        let args = fields.list("args", At::spelt);
        let control = fields.or("control", false, |at| at.bool());
        let id = id?;
        Some(AgentUse { name: name?.unwrap_or_else(|| id.clone()), id, args: args?, control: control? })
    }

    fn agent_id(&self, at: &At<'_>) -> Option<Id> {
        let known = &self.known.agents;
        let text = at.str()?;
        if self.known.live_test && !known.iter().any(|id| id == text) && !self.known.unusable_agents.contains_key(text)
        {
            let near = did_you_mean(text, "there are the presets", known.iter().map(String::as_str));
            let help = near.unwrap_or_else(|| "there are no presets at all".to_owned());
            at.warn(format!("there is no preset of agent `{text}`, so run-live-test.sh runs it"), help);
            return at.parsed();
        }
        let id = named(at, "agent", known, &self.known.unusable_agents)?;
        self.serves(at, self.known.agent_serves.as_ref(), id)
    }

    fn serves(&self, at: &At<'_>, check: Option<&crate::ObjectiveCheck>, id: Id) -> Option<Id> {
        match (check, self.objective) {
            (Some(check), Some(objective)) => match check(id.as_str(), objective) {
                Some(message) => at.error(message),
                None => Some(id),
            },
            _ => Some(id),
        }
    }
}

/// An id that must be known; near matches where it is not.
fn named(at: &At<'_>, what: &str, known: &[String], unusable: &BTreeMap<String, String>) -> Option<Id> {
    let text = at.str()?;
    if let Some(why) = unusable.get(text) {
        return at.error_with_help(format!("{what} `{text}` cannot be used"), why.clone());
    }
    let is_known = known.iter().any(|one| one == text);
    if !is_known {
        let choice = format!("there are the {what}s");
        let help = did_you_mean(text, &choice, known.iter().map(String::as_str))
            .unwrap_or_else(|| format!("no {what}s were found at all"));
        return at.error_with_help(format!("there is no {what} `{text}`"), help);
    }
    at.parsed()
}

/// What the matrix has, for `exclude` to refer to.
struct Sets<'a> {
    clusters: &'a Read<ClusterSpec>,
    failures: &'a Read<FailureUse>,
    agents: &'a Read<AgentUse>,
}

impl Sets<'_> {
    fn exclude(&self, at: &At<'_>) -> Option<Exclude> {
        let fields = at.fields("item of exclude", &["cluster", "failure", "agent"])?;
        let clusters: Vec<&Id> = self.clusters.items.iter().map(|one| &one.id).collect();
        let failures: Vec<&Id> = self.failures.items.iter().map(|one| &one.name).collect();
        let agents: Vec<&Id> = self.agents.items.iter().map(|one| &one.name).collect();
        let cluster = fields.maybe("cluster", |at| member(&at, "cluster", &clusters, self.clusters.complete));
        let failure = fields.maybe("failure", |at| member(&at, "failure", &failures, self.failures.complete));
        let agent = fields.maybe("agent", |at| member(&at, "agent", &agents, self.agents.complete));
        let exclude = Exclude { cluster: cluster?, failure: failure?, agent: agent? };
        if exclude == (Exclude { cluster: None, failure: None, agent: None }) {
            return at.error_with_help("this would exclude every case", "name a cluster, a failure or an agent");
        }
        Some(exclude)
    }
}

/// A name of this matrix. Where its list had errors, nobody can tell, and nothing is said.
fn member(at: &At<'_>, what: &str, names: &[&Id], complete: bool) -> Option<Id> {
    let name: Id = at.parsed()?;
    if names.contains(&&name) || !complete {
        return Some(name);
    }
    let choice = format!("its {what}s are");
    let help = did_you_mean(name.as_str(), &choice, names.iter().map(|id| id.as_str())).unwrap_or_default();
    at.error_with_help(format!("this matrix has no {what} called `{name}`"), help)
}

/// What only the whole can tell.
fn sensible(fields: &Fields<'_>, matrix: &Matrix) -> bool {
    if matrix.agents.iter().all(|agent| agent.control) {
        let at = fields.optional("agents").unwrap_or_else(|| fields.at().clone());
        at.warn("every agent is a control, so nothing decides this run", "list an agent without `control: true`");
    }
    if expand::is_empty(matrix) {
        let at = fields.optional("exclude").unwrap_or_else(|| fields.at().clone());
        let one = Diagnostic::new("value", at.source(), at.span(), "every case is excluded");
        at.report::<()>(one.with_help("leave some to be run"));
        return false;
    }
    true
}
