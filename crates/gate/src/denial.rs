//! Why something was denied, in two voices: to failures and scripts with the exact lines to add, to agents in the words
//! of Kubernetes, which tell nothing about failures or grants.

use crate::stanza::{Package, failure_stanza, power_lines};
use crate::{Attributes, Hazard, Power, Rule};

/// How the grants file speaks of a failure on the cluster where it is denied something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The failure.
    pub(crate) id: String,
    /// Of its package.
    pub(crate) digest: String,
    /// It came as a file from somebody else.
    pub(crate) imported: bool,
    /// An existing cluster; none: one that a provisioner made.
    pub(crate) cluster: Option<String>,
    /// Whether an entry holds for it here. Without one it has the default, which an entry replaces.
    pub(crate) listed: bool,
}

/// Where the missing line belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The policy has only one side.
    Rule,
    /// Declared, not granted by the operator.
    Grant,
    /// Not declared by the failure itself.
    Declaration,
}

/// A request that a policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Where the missing line belongs.
    pub missing: Missing,
    /// What is missing.
    pub lack: Lack,
    attributes: Attributes,
    verb: String,
    /// What the failure declares, where the operator's grant is missing too.
    ungranted: Option<Box<(Power, Option<Entry>)>>,
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A rule.
    Rule(Box<Rule>),
    /// Words of `unsafe`.
    Hazards(Vec<Hazard>),
    /// Nothing that could be added: the object holds what the operator's limits allow.
    Limits,
}

impl Denial {
    pub(crate) fn rule(missing: Missing, attributes: &Attributes, verb: &str) -> Self {
        let verbs = vec![verb.to_owned()];
        let rule = if attributes.is_resource {
            let namespace = if attributes.namespace.is_empty() { "*" } else { &attributes.namespace };
            Rule {
                api_groups: vec![attributes.group.clone()],
                resources: vec![attributes.combined_resource()],
                resource_names: Some(attributes.name.clone()).filter(|n| !n.is_empty()).into_iter().collect(),
                verbs,
                namespaces: vec![namespace.to_owned()],
                non_resource_urls: Vec::new(),
            }
        } else {
            Rule { verbs, non_resource_urls: vec![attributes.path.clone()], ..Rule::default() }
        };
        Self::new(missing, Lack::Rule(Box::new(rule)), attributes, verb)
    }

    pub(crate) fn hazards(missing: Missing, attributes: &Attributes, lacking: Vec<Hazard>) -> Self {
        Self::new(missing, Lack::Hazards(lacking), attributes, &attributes.verb)
    }

    pub(crate) fn reserved(attributes: &Attributes) -> Self {
        Self::new(Missing::Rule, Lack::Limits, attributes, &attributes.verb)
    }

    fn new(missing: Missing, lack: Lack, attributes: &Attributes, verb: &str) -> Self {
        Self { missing, lack, attributes: attributes.clone(), verb: verb.to_owned(), ungranted: None }
    }

    /// The operator's grant is missing for what the failure declares, and for what this is about.
    pub(crate) fn ungranted(mut self, declared: Power, entry: Option<Entry>) -> Self {
        self.ungranted = Some(Box::new((declared, entry)));
        self
    }

    /// For those who can add the missing line: who asked for what, what is missing, and the lines.
    pub fn explain(&self, subject: &str, case_namespace: &str) -> String {
        let subject = if subject.is_empty() { "this request" } else { subject };
        let asked = format!("{subject} may not {} {}", self.verb, self.target());
        let lines = self.lines(case_namespace);
        if lines.is_empty() {
            format!("{asked}: it holds the limits of the grants file")
        } else {
            format!("{asked}: {lines}")
        }
    }

    /// Where which lines would allow it, as in "the operator's grants file lacks", a line break and the lines; empty
    /// where none would.
    pub fn lines(&self, case_namespace: &str) -> String {
        let power = match &self.lack {
            Lack::Rule(rule) => Power { rules: vec![(**rule).clone()], ..Power::default() },
            Lack::Hazards(words) => Power { hazards: words.iter().copied().collect(), ..Power::default() },
            Lack::Limits => return String::new(),
        };
        let own = power_lines(&power, case_namespace).trim_end().to_owned();
        let granted = self.ungranted.as_ref().map(|of| grant_lines(&power, &of.0, of.1.as_ref(), case_namespace));
        match (self.missing, granted) {
            (Missing::Rule, _) => format!("its policy lacks\n{own}"),
            (Missing::Grant, granted) => granted.unwrap_or_default(),
            (Missing::Declaration, None) => format!("`capabilities` of its metadata.yaml lacks\n{own}"),
            (Missing::Declaration, Some(granted)) => {
                format!("`capabilities` of its metadata.yaml lacks\n{own}\nand then {granted}")
            }
        }
    }

    /// In the words of Kubernetes.
    pub fn in_kubernetes_words(&self, user: &str) -> String {
        let a = &self.attributes;
        if !a.is_resource {
            return format!("forbidden: User \"{user}\" cannot {} path \"{}\"", self.verb, a.path);
        }
        let named = if a.name.is_empty() { String::new() } else { format!(" \"{}\"", a.name) };
        let subject = format!("{}{named}", a.qualified_resource());
        let violated = self.violated_pod_standards();
        if !violated.is_empty() {
            return format!(
                "{subject} is forbidden: violates PodSecurity \"baseline:latest\": {}",
                violated.join(", ")
            );
        }
        let scope = if a.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", a.namespace)
        };
        let (verb, resource, group) = (&self.verb, a.combined_resource(), &a.group);
        format!(
            "{subject} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}"
        )
    }

    /// The checks of the Pod Security Standards, as their admission plugin names them.
    fn violated_pod_standards(&self) -> Vec<&'static str> {
        let Lack::Hazards(words) = &self.lack else { return Vec::new() };
        let name = |word: &Hazard| match word {
            Hazard::PrivilegedPods => Some("privileged"),
            Hazard::HostPath => Some("hostPath volumes"),
            Hazard::HostNamespaces => Some("host namespaces"),
            _ => None,
        };
        words.iter().filter_map(name).collect()
    }

    /// One line for the record: what is missing, without who asked.
    pub fn reason(&self) -> String {
        match &self.lack {
            Lack::Rule(_) => "no rule allows it".to_owned(),
            Lack::Hazards(words) => format!("needs unsafe: {}", join(words)),
            Lack::Limits => "it holds the limits of the grants file".to_owned(),
        }
    }

    fn target(&self) -> String {
        let a = &self.attributes;
        if !a.is_resource {
            return a.path.clone();
        }
        let group = if a.group.is_empty() { String::new() } else { format!(".{}", a.group) };
        let name = if a.name.is_empty() { String::new() } else { format!(" \"{}\"", a.name) };
        let scope = if a.namespace.is_empty() {
            " in the cluster".to_owned()
        } else {
            format!(" in namespace {}", a.namespace)
        };
        format!("{}{group}{name}{scope}", a.combined_resource())
    }
}

/// The lines of the grants file that allow `power` besides what is declared already. An entry replaces the default, so
/// one that is yet to be written must have everything.
pub(crate) fn grant_lines(power: &Power, declared: &Power, entry: Option<&Entry>, case_namespace: &str) -> String {
    let Some(entry) = entry.filter(|entry| !entry.listed) else {
        let lines = power_lines(power, case_namespace);
        let whose = if entry.is_some() { "its entry in " } else { "" };
        return format!("{whose}the operator's grants file lacks\n{}", lines.trim_end());
    };
    let mut whole = declared.clone();
    let more = power.lacking(declared);
    whole.rules.extend(more.rules);
    whole.hazards.extend(more.hazards);
    let package = Package { id: &entry.id, digest: &entry.digest, imported: entry.imported };
    let stanza = failure_stanza(package, &whole, entry.cluster.as_deref(), case_namespace);
    format!("the operator's grants file lacks an entry for it\n{}", stanza.trim_end())
}

fn join(words: &[Hazard]) -> String {
    words.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(", ")
}
