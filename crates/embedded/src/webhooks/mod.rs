//! Admission webhooks: which of them a write must pass, and what they said of it.
//!
//! The cluster is locked while a write is worked on, and nobody waits under that lock. So a write that needs a webhook's
//! word ends as *pending*, the call is made outside, and the write comes again and finds the word. Services are resolved
//! within the cluster; only URLs lead out of it.

mod call;
pub(crate) mod conditions;
mod select;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simulation::{Resource, resources};

pub(crate) use call::{Call, Outcome, make};
pub(crate) use select::matches as selects;

use crate::error::ApiError;
use crate::object;
use crate::registry::Info;
use crate::state::State;

/// Words that nobody has asked for again are forgotten when there are so many.
const KEPT: usize = 256;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
        }
    }
}

/// Starts calls for those who cannot wait for them: controllers.
pub(crate) type Launch = Box<dyn Fn(Call) + Send>;

/// What is known of calls.
#[derive(Default)]
pub(crate) struct Webhooks {
    /// What webhooks said, until it is asked for.
    words: HashMap<String, Outcome>,
    /// Calls that the client's request that is worked on waits for.
    wanted: Vec<Call>,
    /// Whose request is worked on; none: a controller's.
    pub(crate) client: Option<crate::Identity>,
    pub(crate) launch: Option<Launch>,
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhooks").field("words", &self.words.len()).field("wanted", &self.wanted.len()).finish()
    }
}

impl Webhooks {
    /// Calls that a client's request waits for.
    pub(crate) fn take_wanted(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.wanted)
    }

    /// Keeps what a webhook said.
    pub(crate) fn settle(&mut self, key: String, outcome: Outcome) {
        if self.words.len() >= KEPT {
            self.words.clear();
        }
        self.words.insert(key, outcome);
    }
}

/// One write on its way.
pub(crate) struct Attempt<'a> {
    pub(crate) info: &'a Arc<Info>,
    pub(crate) operation: Operation,
    pub(crate) subresource: &'a str,
    pub(crate) old: Option<&'a Value>,
    pub(crate) dry_run: bool,
}

const MUTATING: Resource = Resource {
    group: "admissionregistration.k8s.io",
    version: "v1",
    plural: "mutatingwebhookconfigurations",
    kind: "MutatingWebhookConfiguration",
    namespaced: false,
};
const VALIDATING: Resource = Resource {
    group: "admissionregistration.k8s.io",
    version: "v1",
    plural: "validatingwebhookconfigurations",
    kind: "ValidatingWebhookConfiguration",
    namespaced: false,
};

/// Lets mutating webhooks change the object.
pub(crate) fn mutate(state: &mut State, attempt: &Attempt<'_>, new: &mut Value) -> Result<(), ApiError> {
    for hook in hooks(state, &MUTATING, attempt, Some(new))? {
        let Some(outcome) = ask(state, &hook, attempt, Some(new))? else { continue };
        let patch = outcome.response["patch"].as_str().unwrap_or_default();
        if !patch.is_empty() {
            apply(attempt.info, &hook, patch, new)?;
        }
    }
    Ok(())
}

/// Asks validating webhooks.
pub(crate) fn validate(state: &mut State, attempt: &Attempt<'_>, new: Option<&Value>) -> Result<(), ApiError> {
    for hook in hooks(state, &VALIDATING, attempt, new)? {
        ask(state, &hook, attempt, new)?;
    }
    Ok(())
}

/// One webhook of a configuration that a write must pass.
#[derive(Debug)]
struct Hook {
    name: String,
    webhook: Value,
}

fn hooks(
    state: &State,
    resource: &Resource,
    attempt: &Attempt<'_>,
    new: Option<&Value>,
) -> Result<Vec<Hook>, ApiError> {
    let Some(table) = state.store.table_if_any(resource) else { return Ok(Vec::new()) };
    // Webhooks have no word in what is decided about webhooks; controllers' changes of what is there are not asked about.
    let own = attempt.info.resource.group == "admissionregistration.k8s.io";
    if own || state.webhooks.client.is_none() && attempt.operation != Operation::Create {
        return Ok(Vec::new());
    }
    let about = new.or(attempt.old);
    let space = about.map(object::namespace).unwrap_or_default();
    let namespace = state.store.get(&resources::NAMESPACES, "", space);
    let mut hooks = Vec::new();
    for webhook in table.iter(None).flat_map(|configuration| object::list(configuration, &["webhooks"])) {
        if select::matches(webhook, attempt, namespace.map(|n| &**n), new) && is_wanted(state, webhook, attempt, new)? {
            hooks.push(Hook { name: object::text(webhook, &["name"]).to_owned(), webhook: webhook.clone() });
        }
    }
    Ok(hooks)
}

/// Whether a webhook's own conditions let it be asked.
fn is_wanted(state: &State, webhook: &Value, attempt: &Attempt<'_>, new: Option<&Value>) -> Result<bool, ApiError> {
    let all = object::list(webhook, &["matchConditions"]);
    if all.is_empty() {
        return Ok(true);
    }
    conditions::hold(all, &request_of(state, attempt, new, "")).or_else(|why| {
        let name = new.or(attempt.old).map(object::name).unwrap_or_default();
        let refused = ApiError::forbidden(attempt.info, name, &why);
        if webhook["failurePolicy"] == "Ignore" { Ok(false) } else { Err(refused) }
    })
}

/// The answer of a webhook that allowed the write; none where its failure is to be ignored.
fn ask(
    state: &mut State,
    hook: &Hook,
    attempt: &Attempt<'_>,
    new: Option<&Value>,
) -> Result<Option<Outcome>, ApiError> {
    if attempt.dry_run && !matches!(hook.webhook["sideEffects"].as_str(), Some("None" | "NoneOnDryRun")) {
        let why = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(ApiError::bad_request(why));
    }
    let seconds = hook.webhook["timeoutSeconds"].as_i64().unwrap_or(10).clamp(1, 30);
    let (url, unreachable) = place(state, &hook.webhook["clientConfig"], seconds);
    let outcome = match unreachable {
        Some(why) => Outcome::failed(why),
        None => {
            let uid = state.random.uid();
            let request = request_of(state, attempt, new, &uid);
            let key = key_of(hook, attempt, &request);
            match state.webhooks.words.remove(&key) {
                Some(outcome) => outcome,
                // Of what controllers make, those who make pods know how to wait.
                None if state.webhooks.client.is_none() && attempt.info.resource != resources::PODS => {
                    return Ok(None);
                }
                None => {
                    let ca = hook.webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
                    let call = Call { key, url: url.clone(), seconds: seconds.unsigned_abs(), ca, request };
                    return Err(state.want(call));
                }
            }
        }
    };
    if let Some(error) = &outcome.error {
        if hook.webhook["failurePolicy"] == "Ignore" {
            return Ok(None);
        }
        let text = format!("failed calling webhook {:?}: failed to call webhook: Post \"{url}\": {error}", hook.name);
        return Err(ApiError::new(500, "InternalError", format!("Internal error occurred: {text}"))
            .with_details(json!({"causes": [{"message": text}]})));
    }
    for warning in object::list(&outcome.response, &["warnings"]).iter().filter_map(Value::as_str) {
        state.warn(warning.to_owned());
    }
    if outcome.response["allowed"] == true {
        return Ok(Some(outcome));
    }
    Err(denied(&hook.name, &outcome.response["status"]))
}

fn denied(name: &str, status: &Value) -> ApiError {
    let by = format!("admission webhook {name:?} denied the request");
    let message = match (object::text(status, &["message"]), object::text(status, &["reason"])) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0).max(400);
    let mut error = ApiError::new(code, "", message);
    error.reason = crate::registry::intern(object::text(status, &["reason"]));
    error
}

/// The URL of a webhook and, where it leads into the cluster, why nothing answers there.
fn place(state: &State, config: &Value, seconds: i64) -> (String, Option<String>) {
    if let Some(url) = config["url"].as_str() {
        let joint = if url.contains('?') { '&' } else { '?' };
        return (format!("{url}{joint}timeout={seconds}s"), None);
    }
    let service = &config["service"];
    let (space, name) = (object::text(service, &["namespace"]), object::text(service, &["name"]));
    let port = service["port"].as_i64().unwrap_or(443);
    let path = object::text(service, &["path"]);
    let path = if path.is_empty() || path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let url = format!("https://{name}.{space}.svc:{port}{path}?timeout={seconds}s");
    let Some(found) = state.store.get(&resources::SERVICES, space, name) else {
        return (url, Some(format!("service {name:?} not found")));
    };
    if !object::list(found, &["spec", "ports"]).iter().any(|p| p["port"] == port) {
        return (url, Some(format!("no service port {port} found for service {name:?}")));
    }
    let slices = state.store.list(&resources::ENDPOINT_SLICES, Some(space));
    let ready = slices
        .iter()
        .filter(|slice| object::text(slice, &["metadata", "labels", "kubernetes.io/service-name"]) == name)
        .flat_map(|slice| object::list(slice, &["endpoints"]))
        .any(|endpoint| endpoint["conditions"]["ready"] == true);
    let why = if ready {
        // None of the images that run here speaks TLS.
        "http: server gave HTTP response to HTTPS client".to_owned()
    } else {
        let address = object::text(found, &["spec", "clusterIP"]);
        format!("dial tcp {address}:{port}: connect: connection refused")
    };
    (url, Some(why))
}

/// `request` of an AdmissionReview.
pub(crate) fn request_of(state: &State, attempt: &Attempt<'_>, new: Option<&Value>, uid: &str) -> Value {
    let resource = &attempt.info.resource;
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let plural = json!({"group": resource.group, "version": resource.version, "resource": resource.plural});
    let about = new.or(attempt.old).cloned().unwrap_or_default();
    let user = state.webhooks.client.clone().unwrap_or_else(|| crate::Identity {
        name: "system:kube-controller-manager".to_owned(),
        groups: vec!["system:authenticated".to_owned()],
    });
    let options = match attempt.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
    };
    let mut request = json!({
        "uid": uid, "kind": kind, "resource": plural, "requestKind": kind, "requestResource": plural,
        "name": object::name(&about), "operation": attempt.operation.as_str(),
        "userInfo": {"username": user.name, "groups": user.groups}, "object": new, "oldObject": attempt.old,
        "dryRun": attempt.dry_run, "options": {"kind": options, "apiVersion": "meta.k8s.io/v1"},
    });
    if resource.namespaced {
        request["namespace"] = json!(object::namespace(&about));
    }
    if !attempt.subresource.is_empty() {
        request["subResource"] = json!(attempt.subresource);
        request["requestSubResource"] = json!(attempt.subresource);
    }
    request
}

/// The same for each try of one write: without what is drawn anew.
fn key_of(hook: &Hook, attempt: &Attempt<'_>, request: &Value) -> String {
    let mut same = request.clone();
    same["uid"] = Value::Null;
    if attempt.operation == Operation::Create {
        let metadata = object::metadata(&mut same["object"]);
        for key in ["uid", "creationTimestamp", "managedFields"] {
            metadata.remove(key);
        }
        if metadata.get("generateName").is_some_and(|prefix| prefix != "") {
            metadata.remove("name");
            same["name"] = Value::Null;
        }
    } else {
        object::metadata(&mut same["object"]).remove("managedFields");
    }
    // The volume of the account's token has a drawn name.
    let text = without_token_volumes(&same.to_string());
    let mut digest = Sha256::new();
    digest.update(hook.name.as_bytes());
    digest.update(hook.webhook["clientConfig"].to_string().as_bytes());
    digest.update(text.as_bytes());
    hex::encode(digest.finalize())
}

fn without_token_volumes(text: &str) -> String {
    const PREFIX: &str = "kube-api-access-";
    let mut parts = text.split(PREFIX);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        result.push_str(PREFIX);
        result.push_str(part.get(5..).unwrap_or_default());
    }
    result
}

/// Applies the JSON patch of a mutating webhook.
fn apply(info: &Info, hook: &Hook, patch: &str, new: &mut Value) -> Result<(), ApiError> {
    use base64::Engine as _;
    let bad = |why: String| {
        let text = format!("Internal error occurred: failed to apply patch of webhook {:?}: {why}", hook.name);
        ApiError::new(500, "InternalError", text)
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(patch).map_err(|error| bad(error.to_string()))?;
    let patch: json_patch::Patch = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    let managed = object::at(new, &["metadata", "managedFields"]).clone();
    let mut changed = new.clone();
    json_patch::patch(&mut changed, &patch).map_err(|error| bad(error.to_string()))?;
    let mut typed = crate::typed::convert(info, changed, &mut Vec::new())?;
    crate::defaults::apply(info, &mut typed);
    if managed.is_array() {
        object::metadata(&mut typed).insert("managedFields".into(), managed);
    }
    *new = typed;
    Ok(())
}

impl State {
    /// Has a call made; the error says that the write must come again.
    fn want(&mut self, call: Call) -> ApiError {
        let text = format!("the webhook at {} has not answered yet", call.url);
        match (&self.webhooks.client, &self.webhooks.launch) {
            (Some(_), _) => self.webhooks.wanted.push(call),
            (None, Some(launch)) => launch(call),
            (None, None) => {}
        }
        ApiError::new(503, simulation::PENDING, text)
    }
}
