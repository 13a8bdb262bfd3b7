//! Why something was denied, in two voices: to failures and scripts with the exact lines to add, to agents in the words
//! of Kubernetes, which tell nothing about failures or grants.

use crate::{Attributes, Hazard, Rule};

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
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A rule.
    Rule(Box<Rule>),
    /// Words of `unsafe`.
    Hazards(Vec<Hazard>),
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
        Self { missing, lack: Lack::Rule(Box::new(rule)), attributes: attributes.clone(), verb: verb.to_owned() }
    }

    pub(crate) fn hazards(missing: Missing, attributes: &Attributes, lacking: Vec<Hazard>) -> Self {
        Self { missing, lack: Lack::Hazards(lacking), attributes: attributes.clone(), verb: attributes.verb.clone() }
    }

    /// For those who can add the missing line: who asked for what, what is missing, and the line.
    pub fn explain(&self, subject: &str, case_namespace: &str) -> String {
        let subject = if subject.is_empty() { "this request" } else { subject };
        let place = match self.missing {
            Missing::Rule => "its policy",
            Missing::Grant => "the operator's grants file",
            Missing::Declaration => "`capabilities` of its metadata.yaml",
        };
        let lines = match &self.lack {
            Lack::Rule(rule) => format!("rules:\n  {}", rule.to_yaml(case_namespace)),
            Lack::Hazards(words) => format!("unsafe: [{}]", join(words)),
        };
        format!("{subject} may not {} {}: {place} lacks\n{lines}", self.verb, self.target())
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

fn join(words: &[Hazard]) -> String {
    words.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(", ")
}
