//! Label selectors in the form that requests carry them (`a=b,c!=d,e in (x,y),!f`), applied to objects at hand. The
//! server filters watches already; this keeps the observer right whoever feeds it, and finds bad selectors at compile.

use serde_json::Value;

/// What every label map must satisfy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

impl Selector {
    /// Reads the query form. The error says what could not be read.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        split(text).into_iter().map(requirement).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the labels of `object` satisfy every requirement.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &Value) -> bool {
        let value = |key: &str| labels.get(key).and_then(Value::as_str);
        match self {
            Self::In(key, values) => value(key).is_some_and(|v| values.iter().any(|x| x == v)),
            // As in Kubernetes: an object without the key satisfies `!=` and `notin`.
            Self::NotIn(key, values) => value(key).is_none_or(|v| values.iter().all(|x| x != v)),
            Self::Exists(key) => value(key).is_some(),
            Self::DoesNotExist(key) => value(key).is_none(),
        }
    }
}

/// At the commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}

fn requirement(text: &str) -> Result<Requirement, String> {
    if let Some((before, values)) = text.strip_suffix(')').and_then(|t| t.split_once('(')) {
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        let words: Vec<&str> = before.split_whitespace().collect();
        return match words.as_slice() {
            [name, "in"] => Ok(Requirement::In(key(name)?, values)),
            [name, "notin"] => Ok(Requirement::NotIn(key(name)?, values)),
            _ => Err(format!("`{text}` is neither `key in (…)` nor `key notin (…)`")),
        };
    }
    if let Some((name, value)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(key(name)?, vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Ok(Requirement::In(key(name)?, vec![value.trim().to_owned()]));
    }
    match text.strip_prefix('!') {
        Some(name) => Ok(Requirement::DoesNotExist(key(name)?)),
        None => Ok(Requirement::Exists(key(text)?)),
    }
}

fn key(text: &str) -> Result<String, String> {
    let text = text.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if text.is_empty() || !text.chars().all(allowed) {
        return Err(format!("`{text}` is not a label's key"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(selector: &str, labels: Value) -> bool {
        Selector::parse(selector).expect("a selector").matches(&json!({"metadata": {"labels": labels}}))
    }

    #[test]
    fn every_operator() {
        let labels = || json!({"app": "web", "tier": "front"});
        for good in [
            "",
            "app=web",
            "app==web",
            "app = web , tier!=back",
            "other!=x",
            "app in (api, web)",
            "tier notin (back),app",
            "!other",
            "other notin (x)",
        ] {
            assert!(matches(good, labels()), "{good}");
        }
        for bad in ["app=api", "app!=web", "app in (api,x)", "app notin (web)", "!app", "other", "app=web,other"] {
            assert!(!matches(bad, labels()), "{bad}");
        }
        assert!(!matches("app=web", Value::Null), "an object without labels");
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["a b", "app within (x)", "=x", "app>3", "a in x)"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
