//! `$(case)` and `$(params.x)`: they replace whole values, and a parameter keeps its type. Anything else that looks like
//! them, such as `$(VAR)` in a container's command, belongs to somebody else and stays.

use serde_json::Value;

/// What a text is to substitution.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placeholder<'a> {
    /// The namespace of the case.
    Case,
    /// A parameter.
    Param(&'a str),
    /// A placeholder is a part of it, which nothing replaces.
    Inside(&'a str),
    /// Plain text.
    No,
}

impl<'a> Placeholder<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let start = match (text.find("$(case)"), text.find("$(params.")) {
            (Some(a), Some(b)) => a.min(b),
            (Some(a), None) | (None, Some(a)) => a,
            (None, None) => return Self::No,
        };
        let Some(length) = text[start..].find(')') else { return Self::No };
        let found = &text[start..=start + length];
        if found != text {
            return Self::Inside(found);
        }
        match found.strip_prefix("$(params.").and_then(|rest| rest.strip_suffix(')')) {
            Some(name) => Self::Param(name),
            None => Self::Case,
        }
    }
}

/// Replaces every placeholder in `value`.
///
/// # Errors
/// The first placeholder that names no parameter, or is a part of a text.
pub(crate) fn substitute(value: &mut Value, case: &str, params: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => {
            let replacement = match Placeholder::of(text) {
                Placeholder::No => return Ok(()),
                Placeholder::Case => Value::String(case.to_owned()),
                Placeholder::Param(name) => {
                    params.get(name).cloned().ok_or_else(|| format!("there is no parameter `{name}`"))?
                }
                Placeholder::Inside(found) => {
                    return Err(format!("`{found}` replaces whole values only, not a part of `{text}`"));
                }
            };
            *value = replacement;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| substitute(item, case, params)),
        Value::Object(map) => map.values_mut().try_for_each(|item| substitute(item, case, params)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_values_keep_the_type_of_the_parameter() {
        let mut value =
            json!({"ns": "$(case)", "n": ["$(params.n)"], "cmd": "echo $(date) $(VAR)", "key": {"a": "$(params.s)"}});
        substitute(&mut value, "c-1", &json!({"n": 3, "s": "$(case)"})).expect("known parameters");
        // A parameter's own text is data: it is not looked into.
        assert_eq!(value, json!({"ns": "c-1", "n": [3], "cmd": "echo $(date) $(VAR)", "key": {"a": "$(case)"}}));
    }

    #[test]
    fn unknown_and_partial_ones_are_errors() {
        let fails = |text: &str| substitute(&mut json!(text), "c", &json!({"a": 1})).expect_err("an error");
        assert!(fails("$(params.b)").contains("no parameter `b`"));
        assert!(fails("x-$(params.a)").contains("whole values"));
        assert!(fails("$(case)$(case)").contains("whole values"));
        assert_eq!(Placeholder::of("$(params.a"), Placeholder::No);
    }
}
