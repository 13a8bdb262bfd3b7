//! Symptoms and health checks: a CEL condition over what a select finds.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::label_selector;

/// Which objects a check looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Select {
    /// `apps/v1`, `v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Omitted: every name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Omitted: that of the case. After resolving it is there, but for kinds that live in no namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Text (`a=b,c!=d`) or a Kubernetes `LabelSelector`; after resolving always text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<Value>,
}

impl Select {
    /// The label selector as requests carry it: `a=b,c in (d,e)`.
    pub fn label_selector_query(&self) -> Option<String> {
        self.label_selector.as_ref().and_then(|selector| label_selector::to_query(selector).ok())
    }
}

/// Of how many of the selected objects the condition must be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    /// At least one.
    Any,
    /// Each, and there is one.
    All,
    /// No one.
    None,
}

/// A sign that the failure has taken hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
pub struct Symptom {
    /// Its name.
    pub name: String,
    /// What it looks at.
    pub select: Select,
    /// How many must satisfy the condition.
    pub quantifier: Quantifier,
    /// CEL; `object` and `params` are in scope.
    pub condition: String,
}

/// A check that holds before the failure and not during it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
pub struct Health {
    /// Its name.
    pub name: String,
    /// What it looks at.
    pub select: Select,
    /// How many must satisfy the condition.
    pub quantifier: Quantifier,
    /// CEL; `object`, `params` and `baseline` are in scope.
    pub condition: String,
    /// How long it must hold without a break, in cluster time.
    pub window: Duration,
}

/// A check as it is written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    select: Select,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    any: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    none: Option<String>,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    window: Option<String>,
}

impl Written {
    fn new(name: String, select: Select, quantifier: Quantifier, condition: String, window: Option<String>) -> Self {
        let mut written = Self { name, select, any: None, all: None, none: None, window };
        *match quantifier {
            Quantifier::Any => &mut written.any,
            Quantifier::All => &mut written.all,
            Quantifier::None => &mut written.none,
        } = Some(condition);
        written
    }

    fn condition(&self) -> Result<(Quantifier, String), String> {
        match (&self.any, &self.all, &self.none) {
            (Some(any), None, None) => Ok((Quantifier::Any, any.clone())),
            (None, Some(all), None) => Ok((Quantifier::All, all.clone())),
            (None, None, Some(none)) => Ok((Quantifier::None, none.clone())),
            _ => Err(format!("check `{}` needs exactly one of `any`, `all`, `none`", self.name)),
        }
    }
}

impl TryFrom<Written> for Symptom {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (quantifier, condition) = written.condition()?;
        Ok(Self { name: written.name, select: written.select, quantifier, condition })
    }
}

impl From<Symptom> for Written {
    fn from(symptom: Symptom) -> Self {
        Self::new(symptom.name, symptom.select, symptom.quantifier, symptom.condition, None)
    }
}

impl TryFrom<Written> for Health {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (quantifier, condition) = written.condition()?;
        let window = written.window.as_deref().map_or(Ok(Duration::ZERO), yaml::parse_duration)?;
        Ok(Self { name: written.name, select: written.select, quantifier, condition, window })
    }
}

impl From<Health> for Written {
    fn from(health: Health) -> Self {
        let window = (!health.window.is_zero()).then(|| yaml::format_duration(health.window));
        Self::new(health.name, health.select, health.quantifier, health.condition, window)
    }
}
