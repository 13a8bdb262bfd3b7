//! The checks of one case, compiled: what to watch, and which expression says what about it. Knows nothing of time.

use std::time::Duration;

use catalog::{Quantifier, Resolved, Select};
use expr::{Evaluation, Expression};
use serde_json::Value;

use crate::labels::Selector;

/// A check cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// Its CEL does not compile.
    #[error("check `{check}`: {message}")]
    Expression {
        /// The name of the check.
        check: String,
        /// What is wrong with it.
        message: String,
    },
    /// Its label selector cannot be read.
    #[error("check `{check}`: labelSelector: {message}")]
    Selector {
        /// The name of the check.
        check: String,
        /// What is wrong with it.
        message: String,
    },
}

/// One symptom or health check.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: String,
    /// Number in [`Checks::selects`].
    pub(crate) select: usize,
    /// The select names its object.
    pub(crate) named: bool,
    pub(crate) quantifier: Quantifier,
    pub(crate) expression: Expression,
    /// How long it must hold without a break.
    pub(crate) window: Duration,
}

impl Check {
    /// Whether the expression is true of one object, else why not where that is known.
    pub(crate) fn evaluate(&self, variables: &[(&str, &Value)]) -> Result<(), Option<String>> {
        match self.expression.evaluate(variables) {
            Evaluation::Holds => Ok(()),
            Evaluation::DoesNotHold(reason) => Err(reason),
        }
    }
}

/// Which objects a select means, among those that a watch tells of.
#[derive(Debug)]
pub(crate) struct Selection {
    name: Option<String>,
    labels: Selector,
}

impl Selection {
    pub(crate) fn selects(&self, object: &Value) -> bool {
        self.name.as_deref().is_none_or(|name| object["metadata"]["name"].as_str() == Some(name))
            && self.labels.matches(object)
    }
}

/// Every check of a resolved failure.
#[derive(Debug)]
pub struct Checks {
    pub(crate) selects: Vec<Select>,
    pub(crate) selectors: Vec<Selection>,
    pub(crate) symptoms: Vec<Check>,
    pub(crate) health: Vec<Check>,
    pub(crate) params: Value,
    /// By declaration nothing is wrong.
    pub(crate) fault_free: bool,
}

impl Checks {
    /// Compiles the checks of a failure, whose `$(…)` are replaced already.
    ///
    /// # Errors
    /// [`JudgeError`] for the first expression or selector that cannot be used.
    pub fn compile(resolved: &Resolved) -> Result<Self, JudgeError> {
        let mut checks = Self {
            selects: Vec::new(),
            selectors: Vec::new(),
            symptoms: Vec::new(),
            health: Vec::new(),
            params: resolved.params.clone(),
            fault_free: resolved.ground_truth.as_ref().is_some_and(catalog::GroundTruth::is_none),
        };
        for symptom in &resolved.symptoms {
            let check = checks.check(&symptom.name, &symptom.select, symptom.quantifier, &symptom.condition)?;
            checks.symptoms.push(check);
        }
        for health in &resolved.health {
            let check = checks.check(&health.name, &health.select, health.quantifier, &health.condition)?;
            checks.health.push(Check { window: health.window, ..check });
        }
        Ok(checks)
    }

    fn check(
        &mut self,
        name: &str,
        select: &Select,
        quantifier: Quantifier,
        condition: &str,
    ) -> Result<Check, JudgeError> {
        let expression = Expression::compile(condition)
            .map_err(|error| JudgeError::Expression { check: name.to_owned(), message: error.to_string() })?;
        Ok(Check {
            name: name.to_owned(),
            select: self.select(name, select)?,
            named: select.name.is_some(),
            quantifier,
            expression,
            window: Duration::ZERO,
        })
    }

    /// The number of a select; equal ones share it.
    fn select(&mut self, check: &str, select: &Select) -> Result<usize, JudgeError> {
        if let Some(known) = self.selects.iter().position(|known| known == select) {
            return Ok(known);
        }
        let query = select.label_selector_query().unwrap_or_default();
        let labels =
            Selector::parse(&query).map_err(|message| JudgeError::Selector { check: check.to_owned(), message })?;
        self.selects.push(select.clone());
        self.selectors.push(Selection { name: select.name.clone(), labels });
        Ok(self.selects.len() - 1)
    }

    /// What must be watched, without repetition; [`crate::Observer::observe`] counts in this order.
    pub fn selects(&self) -> Vec<Select> {
        self.selects.clone()
    }

    /// Whether there is anything that the host could witness.
    pub fn declares_anything(&self) -> bool {
        !self.symptoms.is_empty() || !self.health.is_empty()
    }

    /// Whether there is anything that a repair could be judged by.
    pub fn declares_health(&self) -> bool {
        !self.health.is_empty()
    }

    /// The longest window of the health checks: the least time in which all can be shown to hold anew.
    pub fn longest_window(&self) -> Duration {
        self.health.iter().map(|check| check.window).max().unwrap_or_default()
    }
}
