//! The shapes of Kubernetes objects: field numbers, JSON names, types and how lists merge. One table serves protobuf
//! bodies, field validation, patches and managed fields. The tables are text files beside this one, one message a line:
//! `Name flags = number jsonName type; …`.
//!
//! Types: `s` string, `b` bool, `i` int32, `l` int64, `y` bytes, `q` Quantity, `x` IntOrString, `t` Time, `u` MicroTime,
//! `R` RawExtension, `F` FieldsV1, `J` anything (JSON only), else the name of a message. Before it: `[]` list, `{}` map of
//! strings, `*` optional (an explicit zero is kept). After it: `!` written even when empty, `@a,b` list merged by these
//! keys, `@=` set, `~` replaced as a whole, `^` merged with retained keys. A field named `_` is written inline. Messages:
//! `~` replaced as a whole, `&` carries apiVersion and kind.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The type of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `string`.
    String,
    /// `bool`.
    Bool,
    /// `int32`.
    Int32,
    /// `int64`.
    Int64,
    /// `[]byte`, base64 in JSON.
    Bytes,
    /// `resource.Quantity`.
    Quantity,
    /// `intstr.IntOrString`.
    IntOrString,
    /// `metav1.Time`, whole seconds.
    Time,
    /// `metav1.MicroTime`.
    MicroTime,
    /// `runtime.RawExtension`.
    Raw,
    /// `metav1.FieldsV1`.
    Fields,
    /// Anything; not decodable from protobuf.
    Any,
    /// A list of strings that protobuf wraps in a message (`ExtraValue`).
    Strings,
    /// A message, by name.
    Message(&'static str),
}

/// How often a field occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One,
    /// A list.
    List,
    /// A map with string keys.
    Map,
}

/// How a list merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// It is replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items are told apart by these fields; strategic merge patches use the first alone.
    Keys(Vec<&'static str>),
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Protobuf field number.
    pub number: u32,
    /// JSON name; `_` for an inlined message.
    pub name: &'static str,
    /// Type of the value, of an item, of a map's value.
    pub ty: Type,
    /// One, list or map.
    pub shape: Shape,
    /// Go has a pointer here: an explicit zero differs from absence.
    pub optional: bool,
    /// Written even when empty.
    pub always: bool,
    /// How a list merges.
    pub merge: Merge,
    /// A map or message that is replaced as a whole.
    pub atomic: bool,
    /// Strategic merge keeps only the keys that the patch names.
    pub retain_keys: bool,
}

/// One message.
#[derive(Debug)]
pub struct Message {
    /// Its Go name.
    pub name: &'static str,
    /// Replaced as a whole by server-side apply.
    pub atomic: bool,
    /// Carries apiVersion and kind though it is not a whole object.
    pub typed: bool,
    /// As written in protobuf.
    pub fields: Vec<Field>,
    /// As written in JSON: inlined messages are resolved.
    json: HashMap<&'static str, Field>,
}

impl Message {
    /// The field with this JSON name, inlined ones included.
    pub fn field(&self, json_name: &str) -> Option<&Field> {
        self.json.get(json_name)
    }

    /// The field with this protobuf number.
    pub fn number(&self, number: u32) -> Option<&Field> {
        self.fields.iter().find(|field| field.number == number)
    }

    /// All fields as JSON shows them.
    pub fn json_fields(&self) -> impl Iterator<Item = &Field> {
        self.json.values()
    }
}

static MESSAGES: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    let mut messages: HashMap<&'static str, Message> =
        [include_str!("meta.txt"), include_str!("core_pod.txt"), include_str!("core.txt"), include_str!("groups.txt")]
            .into_iter()
            .flat_map(str::lines)
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .filter_map(parse_message)
            .map(|message| (message.name, message))
            .collect();
    let flat: Vec<_> = messages.keys().map(|name| (*name, flatten(&messages, name))).collect();
    for (name, json) in flat {
        if let Some(message) = messages.get_mut(name) {
            message.json = json;
        }
    }
    messages
});

fn flatten(messages: &HashMap<&'static str, Message>, name: &str) -> HashMap<&'static str, Field> {
    let mut json = HashMap::new();
    for field in messages.get(name).map(|m| m.fields.as_slice()).unwrap_or_default() {
        match field.ty {
            Type::Message(inner) if field.name == "_" => json.extend(flatten(messages, inner)),
            _ => {
                json.insert(field.name, field.clone());
            }
        }
    }
    json
}

fn parse_message(line: &'static str) -> Option<Message> {
    let (head, body) = line.split_once(" = ")?;
    let mut words = head.split(' ');
    let name = words.next()?;
    let flags: Vec<_> = words.collect();
    let fields = body.split("; ").filter_map(parse_field).collect();
    Some(Message { name, atomic: flags.contains(&"~"), typed: flags.contains(&"&"), fields, json: HashMap::new() })
}

fn parse_field(text: &'static str) -> Option<Field> {
    let mut words = text.split(' ');
    let number = words.next()?.parse().ok()?;
    let name = words.next()?;
    let mut ty = words.next()?;
    let shape = match ty.get(..2) {
        Some("[]") => Shape::List,
        Some("{}") => Shape::Map,
        _ => Shape::One,
    };
    if shape != Shape::One {
        ty = &ty[2..];
    }
    let optional = ty.starts_with('*');
    ty = ty.strip_prefix('*').unwrap_or(ty);
    let end = ty.find(['!', '@', '~', '^']).unwrap_or(ty.len());
    let (base, mut flags) = ty.split_at(end);
    let mut field = Field {
        number,
        name,
        ty: type_of(base),
        shape,
        optional,
        always: false,
        merge: Merge::Atomic,
        atomic: false,
        retain_keys: false,
    };
    while let Some(flag) = flags.chars().next() {
        flags = &flags[1..];
        match flag {
            '!' => field.always = true,
            '~' => field.atomic = true,
            '^' => field.retain_keys = true,
            _ => {
                let end = flags.find(['!', '~', '^']).unwrap_or(flags.len());
                let (keys, rest) = flags.split_at(end);
                field.merge = if keys == "=" { Merge::Set } else { Merge::Keys(keys.split(',').collect()) };
                flags = rest;
            }
        }
    }
    Some(field)
}

fn type_of(text: &'static str) -> Type {
    match text {
        "s" => Type::String,
        "b" => Type::Bool,
        "i" => Type::Int32,
        "l" => Type::Int64,
        "y" => Type::Bytes,
        "q" => Type::Quantity,
        "x" => Type::IntOrString,
        "t" => Type::Time,
        "u" => Type::MicroTime,
        "R" => Type::Raw,
        "F" => Type::Fields,
        "J" => Type::Any,
        "[]s" => Type::Strings,
        name => Type::Message(name),
    }
}

/// The message of this name.
pub fn message(name: &str) -> Option<&'static Message> {
    MESSAGES.get(name)
}

/// All messages.
pub fn messages() -> impl Iterator<Item = &'static Message> {
    MESSAGES.values()
}

const META_KINDS: [&str; 4] = ["DeleteOptions", "CreateOptions", "Status", "Scale"];

/// The groups whose kinds the table describes, each with the message names that belong to it.
fn group_has(group: &str, kind: &str) -> bool {
    let kinds: &[&str] = match group {
        "" => &[
            "Pod",
            "PodTemplate",
            "Binding",
            "Namespace",
            "ConfigMap",
            "Secret",
            "ServiceAccount",
            "Service",
            "Endpoints",
            "ReplicationController",
            "Node",
            "Event",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "ResourceQuota",
            "LimitRange",
        ],
        "apps" => &["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ControllerRevision"],
        "batch" => &["Job", "CronJob"],
        "autoscaling" => &["HorizontalPodAutoscaler"],
        "networking.k8s.io" => &["Ingress", "IngressClass", "NetworkPolicy"],
        "policy" => &["PodDisruptionBudget", "Eviction"],
        "rbac.authorization.k8s.io" => &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"],
        "discovery.k8s.io" => &["EndpointSlice"],
        "coordination.k8s.io" => &["Lease"],
        "storage.k8s.io" => &["StorageClass"],
        "scheduling.k8s.io" => &["PriorityClass"],
        "node.k8s.io" => &["RuntimeClass"],
        "apiextensions.k8s.io" => &["CustomResourceDefinition"],
        "admissionregistration.k8s.io" => &[
            "ValidatingWebhookConfiguration",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
        "authentication.k8s.io" => &["TokenRequest", "TokenReview", "SelfSubjectReview"],
        "authorization.k8s.io" => {
            &["SelfSubjectAccessReview", "SubjectAccessReview", "LocalSubjectAccessReview", "SelfSubjectRulesReview"]
        }
        _ => &[],
    };
    kinds.contains(&kind)
}

/// The message of a whole object, by its apiVersion and kind.
pub fn of_kind(api_version: &str, kind: &str) -> Option<&'static Message> {
    if META_KINDS.contains(&kind) {
        return message(kind);
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (api_version, kind) {
        ("autoscaling/v1", "HorizontalPodAutoscaler") => message("V1HorizontalPodAutoscaler"),
        ("events.k8s.io/v1", "Event") => message("EventsEvent"),
        _ if group_has(group, kind) => message(kind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_named_exists() {
        for message in messages() {
            for field in &message.fields {
                if let Type::Message(name) = field.ty {
                    assert!(
                        super::message(name).is_some(),
                        "{}.{} is a {name}, which is not in the table",
                        message.name,
                        field.name
                    );
                }
            }
        }
    }

    #[test]
    fn no_number_or_name_is_used_twice() {
        for message in messages() {
            let mut numbers: Vec<_> = message.fields.iter().map(|f| f.number).collect();
            let mut names: Vec<_> = message.fields.iter().filter(|f| f.name != "_").map(|f| f.name).collect();
            numbers.sort_unstable();
            names.sort_unstable();
            assert!(numbers.windows(2).all(|w| w[0] != w[1]), "{} repeats a number", message.name);
            assert!(names.windows(2).all(|w| w[0] != w[1]), "{} repeats a name", message.name);
        }
    }

    #[test]
    fn flags_are_read() {
        let spec = message("PodSpec").unwrap();
        let containers = spec.field("containers").unwrap();
        assert_eq!(containers.merge, Merge::Keys(vec!["name"]));
        assert!(containers.always);
        assert!(spec.field("volumes").unwrap().retain_keys);
        let ports = message("Container").unwrap().field("ports").unwrap().clone();
        assert_eq!(ports.merge, Merge::Keys(vec!["containerPort", "protocol"]));
        assert!(message("Volume").unwrap().field("emptyDir").unwrap().optional);
        assert_eq!(of_kind("autoscaling/v1", "HorizontalPodAutoscaler").unwrap().name, "V1HorizontalPodAutoscaler");
        assert!(of_kind("example.com/v1", "Pod").is_none());
    }
}
