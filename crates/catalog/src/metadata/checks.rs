//! Symptoms and health checks out of the tree, their CEL compiled so that errors show at their place.

use std::time::Duration;

use expr::Expression;
use yaml::{At, Fields};

use super::{objects, read};
use crate::{Health, Quantifier, Select, Symptom};

pub(super) fn symptoms(at: &At<'_>) -> Option<Vec<Symptom>> {
    let symptoms = at.each(|at| {
        let keys = &["name", "select", "any", "all", "none", "log", "probe"];
        let fields = at.fields("symptom", keys)?;
        for kind in ["log", "probe"] {
            if let Some(at) = fields.optional(kind) {
                let message = format!("symptoms of the kind `{kind}` are not available in this version");
                return at.error_with_help(message, "use `select` with `any`, `all` or `none`");
            }
        }
        let (name, select, condition) = parts(&fields, &["object", "params"]);
        let (quantifier, condition) = condition?;
        Some(Symptom { name: name?, select: select?, quantifier, condition })
    })?;
    read::unique(at, symptoms.iter().map(|symptom| symptom.name.as_str()), "symptom")?;
    Some(symptoms)
}

pub(super) fn health(at: &At<'_>) -> Option<Vec<Health>> {
    let health = at.each(|at| {
        let fields = at.fields("health check", &["name", "select", "any", "all", "none", "for"])?;
        let (name, select, condition) = parts(&fields, &["object", "params", "baseline"]);
        let window = fields.or("for", Duration::ZERO, |at| at.duration(read::MAX_DURATION));
        let (quantifier, condition) = condition?;
        Some(Health { name: name?, select: select?, quantifier, condition, window: window? })
    })?;
    read::unique(at, health.iter().map(|check| check.name.as_str()), "health check")?;
    Some(health)
}

type Parts = (Option<String>, Option<Select>, Option<(Quantifier, String)>);

fn parts(fields: &Fields<'_>, variables: &[&str]) -> Parts {
    let name = fields.required("name").and_then(|at| at.nonempty());
    let select = fields.required("select").and_then(|at| objects::select(&at));
    (name, select, condition(fields, variables))
}

fn condition(fields: &Fields<'_>, variables: &[&str]) -> Option<(Quantifier, String)> {
    const QUANTIFIERS: &[(&str, Quantifier)] =
        &[("any", Quantifier::Any), ("all", Quantifier::All), ("none", Quantifier::None)];
    let found: Vec<_> = QUANTIFIERS.iter().filter_map(|(key, q)| fields.optional(key).map(|at| (*q, at))).collect();
    let [(quantifier, at)] = found.as_slice() else {
        return fields.at().error_with_help(
            "a check needs exactly one of `any`, `all`, `none`",
            "it says of how many of the selected objects the condition must be true",
        );
    };
    let text = at.text()?;
    match Expression::compile_with(&text, variables) {
        Ok(_) => Some((*quantifier, text)),
        Err(error) => at.error_in_text(error.range, error.message, error.help),
    }
}
