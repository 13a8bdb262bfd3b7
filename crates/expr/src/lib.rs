//! CEL as the project speaks it: the standard macros and functions, and `quantity()`. Compiles with places for errors,
//! evaluates within a budget, and never panics. What an expression means for a case is the caller's business.

mod analysis;
mod budget;
mod compile;
mod evaluate;
mod quantity;

use std::collections::BTreeMap;
use std::ops::Range;

use cel::common::ast::IdedExpr;

pub use quantity::parse_quantity;

/// The longest expression, in bytes.
pub const MAX_SOURCE: usize = 8 * 1024;

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// One sentence.
    pub message: String,
    /// What would be right, where that is known.
    pub help: Option<String>,
    /// The bytes of the expression that it is about.
    pub range: Range<usize>,
}

/// An expression that can be evaluated. Cheap to share, not to make.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
    root: IdedExpr,
    /// What it looks at, by variable.
    uses: BTreeMap<String, analysis::Uses>,
}

/// What an expression that asks a question says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// It is true.
    Holds,
    /// It is false (no reason), or could not be answered yet, with the reason: a missing field, an error, a value that
    /// is not a truth value.
    DoesNotHold(Option<String>),
}

impl Evaluation {
    /// Whether it is true.
    pub fn holds(&self) -> bool {
        *self == Self::Holds
    }
}

impl Expression {
    /// Compiles an expression; any variable may be used.
    ///
    /// # Errors
    /// Syntax, an unknown function, or more than any honest expression needs.
    pub fn compile(source: &str) -> Result<Self, ExprError> {
        compile::compile(source, None)
    }

    /// The same, and only these variables may be used.
    ///
    /// # Errors
    /// As [`Self::compile`], and unknown variables.
    pub fn compile_with(source: &str, variables: &[&str]) -> Result<Self, ExprError> {
        compile::compile(source, Some(variables))
    }

    /// The text that it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Answers the question that the expression asks.
    pub fn evaluate(&self, variables: &[(&str, &serde_json::Value)]) -> Evaluation {
        match evaluate::run(self, variables) {
            Ok(cel::Value::Bool(true)) => Evaluation::Holds,
            Ok(cel::Value::Bool(false)) => Evaluation::DoesNotHold(None),
            Ok(other) => {
                let reason = format!("the expression is not true or false but {}", evaluate::kind(&other));
                Evaluation::DoesNotHold(Some(reason))
            }
            Err(reason) => Evaluation::DoesNotHold(Some(reason)),
        }
    }

    /// The value of the expression.
    ///
    /// # Errors
    /// Why there is none: a missing field, an error, or a value that JSON cannot hold.
    pub fn value(&self, variables: &[(&str, &serde_json::Value)]) -> Result<serde_json::Value, ExprError> {
        let error = |message| ExprError { message, help: None, range: 0..self.source.len() };
        let value = evaluate::run(self, variables).map_err(error)?;
        value.json().map_err(|_| error(format!("{} cannot be written as JSON", evaluate::kind(&value))))
    }
}
