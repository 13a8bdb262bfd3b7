//! What somebody may ask of a cluster. A policy only allows; what no rule allows is denied, with the lines to add.
//! The effective policy of a failure is what it declares intersected with what the operator grants.

use std::collections::BTreeSet;

use crate::denial::{Denial, Entry, Missing};
use crate::{Attributes, Hazard, Rule, hazard};

/// Subresources that run something in a container; Kubernetes' own check differs by transport, ours does not.
const EXEC_LIKE: [(&str, &str); 4] =
    [("pods", "exec"), ("pods", "attach"), ("pods", "portforward"), ("nodes", "proxy")];

/// Rules and words of `unsafe` that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Power {
    /// What may be asked.
    pub rules: Vec<Rule>,
    /// What may reach further.
    pub hazards: BTreeSet<Hazard>,
}

impl Power {
    /// The same power in one case: see [`Rule::in_case`].
    #[must_use]
    pub fn in_case(&self, namespace: &str) -> Self {
        Self { rules: self.rules.iter().map(|r| r.in_case(namespace)).collect(), hazards: self.hazards.clone() }
    }

    fn allows(&self, attributes: &Attributes, verb: &str) -> bool {
        self.rules.iter().any(|r| r.allows(attributes, verb))
    }
}

/// What one party may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    power: Power,
    /// Both sides of an intersection, only to say in a denial which one is missing.
    sides: Option<Box<(Power, Power)>>,
    /// How the grants file speaks of who asks.
    entry: Option<Entry>,
    /// Objects that may be looked at only, by group, resource and name.
    reserved: Vec<(String, String, String)>,
    subject: String,
}

impl Policy {
    /// A policy of these rules, without any hazard.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self::from_power(Power { rules, hazards: BTreeSet::new() })
    }

    /// A policy of this power.
    pub fn from_power(power: Power) -> Self {
        Self { power, ..Self::default() }
    }

    /// Everything: for the harness's own clean-up.
    pub fn everything() -> Self {
        let all = Rule::resources(&["*"], &["*"], &["*"], &["*"]);
        let rules = vec![all, Rule::paths(&["*"], &["*"])];
        Self::from_power(Power { rules, hazards: Hazard::ALL.into_iter().collect() })
    }

    /// What is both declared and granted, rule by rule. Both sides must be resolved with [`Power::in_case`].
    pub fn intersection(declared: Power, granted: Power) -> Self {
        let rules = declared.rules.iter().flat_map(|d| granted.rules.iter().filter_map(|g| d.intersect(g))).collect();
        let hazards = declared.hazards.intersection(&granted.hazards).copied().collect();
        let power = Power { rules: distinct(rules), hazards };
        Self { power, sides: Some(Box::new((declared, granted))), ..Self::default() }
    }

    /// Says in denials which lines of the grants file would allow it.
    #[must_use]
    pub(crate) fn with_entry(mut self, entry: Entry) -> Self {
        self.entry = Some(entry);
        self
    }

    /// Keeps these objects from being changed, whatever the rules say.
    #[must_use]
    pub(crate) fn with_reserved(mut self, objects: Vec<(String, String, String)>) -> Self {
        self.reserved = objects;
        self
    }

    /// Says who is asking in denials, as in "failure `oom-killed`".
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Who asks, for denials.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.power.rules
    }

    /// The words of `unsafe`.
    pub fn hazards(&self) -> &BTreeSet<Hazard> {
        &self.power.hazards
    }

    /// Decides a request by what it addresses.
    ///
    /// # Errors
    /// [`Denial`] says what is missing and where to add it.
    pub fn decide(&self, attributes: &Attributes) -> Result<(), Denial> {
        if always_allowed(attributes) {
            return Ok(());
        }
        let verb = required_verb(attributes);
        if attributes.is_write() && self.reserves(attributes) {
            return Err(Denial::reserved(attributes));
        }
        if !self.power.allows(attributes, verb) {
            let (missing, ungranted) = match &self.sides {
                None => (Missing::Rule, false),
                Some(sides) if sides.0.allows(attributes, verb) => (Missing::Grant, true),
                Some(sides) => (Missing::Declaration, !sides.1.allows(attributes, verb)),
            };
            return Err(self.with_lines(Denial::rule(missing, attributes, verb), ungranted));
        }
        self.decide_hazards(&hazard::of_request(attributes), attributes)
    }

    /// Decides the words of `unsafe` that a request or its object needs.
    pub(crate) fn decide_hazards(&self, needs: &BTreeSet<Hazard>, attributes: &Attributes) -> Result<(), Denial> {
        let lacking: Vec<Hazard> = needs.difference(&self.power.hazards).copied().collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let has_all = |power: &Power| lacking.iter().all(|hazard| power.hazards.contains(hazard));
        let (missing, ungranted) = match &self.sides {
            None => (Missing::Rule, false),
            Some(sides) if has_all(&sides.0) => (Missing::Grant, true),
            Some(sides) => (Missing::Declaration, !has_all(&sides.1)),
        };
        Err(self.with_lines(Denial::hazards(missing, attributes, lacking), ungranted))
    }

    fn reserves(&self, attributes: &Attributes) -> bool {
        let every = attributes.verb == "deletecollection";
        self.reserved.iter().any(|(group, resource, name)| {
            *group == attributes.group && *resource == attributes.resource && (every || *name == attributes.name)
        })
    }

    fn with_lines(&self, denial: Denial, ungranted: bool) -> Denial {
        let declared = self.sides.as_ref().map(|sides| sides.0.clone()).unwrap_or_default();
        if ungranted { denial.ungranted(declared, self.entry.clone()) } else { denial }
    }
}

/// Each rule once, in the order of their first.
fn distinct(rules: Vec<Rule>) -> Vec<Rule> {
    rules.into_iter().fold(Vec::new(), |mut out, rule| {
        if !out.contains(&rule) {
            out.push(rule);
        }
        out
    })
}

/// What is both declared and granted; neither side brings a hazard.
pub fn effective(declared: &[Rule], granted: &[Rule]) -> Policy {
    let power = |rules: &[Rule]| Power { rules: rules.to_vec(), hazards: BTreeSet::new() };
    Policy::intersection(power(declared), power(granted))
}

/// The verb that a rule must name: exec and its like need `create` whatever the HTTP method.
fn required_verb(attributes: &Attributes) -> &str {
    let target = (attributes.resource.as_str(), attributes.subresource.as_str());
    if attributes.is_resource && attributes.group.is_empty() && EXEC_LIKE.contains(&target) {
        "create"
    } else {
        &attributes.verb
    }
}

/// Discovery, version and health: every client asks for them before anything else, and they tell nothing of a case.
fn always_allowed(attributes: &Attributes) -> bool {
    if attributes.is_resource || !matches!(attributes.verb.as_str(), "get" | "head") {
        return false;
    }
    let first = attributes.path.split('/').nth(1).unwrap_or_default();
    matches!(first, "api" | "apis" | "version" | "openapi" | "healthz" | "livez" | "readyz")
}
